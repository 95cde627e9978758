package engineio

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
)

// maxID is the length of the longest id that an application may generate.
const maxID = 64

var errTaken = errors.New("engineio: generated id is in use")

// newID generates and reserves the id of a new session.
func (e *Engine) newID(r *http.Request) (string, *refusal) {
	id, err := e.generateID(r)
	if err == nil {
		if e.options.RouteTag != "" {
			id = e.options.RouteTag + "_" + id
		}
		err = e.reserve(id)
	}
	switch {
	case errors.Is(err, errFull):
		return "", e.refuseFull()
	case errors.Is(err, ErrDraining):
		return "", refuseHandshake(err)
	case err != nil:
		return "", errRequest.because("name", idGenerationError, "error", err)
	}
	return id, nil
}

// generateID returns 20 characters that nobody can guess, or what the application thinks of.
func (e *Engine) generateID(r *http.Request) (string, error) {
	if e.options.GenerateID == nil {
		var b [15]byte
		rand.Read(b[:]) // never fails
		return base64.RawURLEncoding.EncodeToString(b[:]), nil
	}
	id, err := e.options.GenerateID(r)
	if err != nil {
		return "", fmt.Errorf("engineio: generate id: %w", err)
	}
	if len(id) == 0 || len(id) > maxID {
		return "", fmt.Errorf("engineio: generated id has %d characters, want 1 to %d", len(id), maxID)
	}
	for i := range len(id) {
		c := id[i]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return "", fmt.Errorf("engineio: generated id has the character %q", c)
		}
	}
	return id, nil
}

// reserve keeps an id for a session that is about to be opened. Nobody finds a session by it before.
func (e *Engine) reserve(id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return ErrDraining
	}
	if _, taken := e.sessions[id]; taken {
		return errTaken
	}
	if e.fullLocked() {
		return errFull
	}
	e.sessions[id] = nil
	return nil
}

// fullLocked reports whether there are as many sessions as there may be; handshakes under way count.
func (e *Engine) fullLocked() bool {
	return e.options.MaxSessions > 0 && len(e.sessions) >= e.options.MaxSessions
}

// full is what a handshake that has yet to be admitted asks: it should not wait for a place that there is not.
func (e *Engine) full() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.fullLocked()
}

// release gives up an id under which no session was opened.
func (e *Engine) release(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s, ok := e.sessions[id]; ok && s == nil {
		delete(e.sessions, id)
	}
}
