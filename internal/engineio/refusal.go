package engineio

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
)

// Names of bad requests in ConnectionError.Context.
const (
	handshakeError    = "TRANSPORT_HANDSHAKE_ERROR"
	transportMismatch = "TRANSPORT_MISMATCH"
	protocolMismatch  = "PROTOCOL_MISMATCH"
	invalidOrigin     = "INVALID_ORIGIN"
	idGenerationError = "ID_GENERATION_ERROR"
)

// refusal is an answer that is not the one hoped for.
type refusal struct {
	code    int // of the protocol, or one of ours
	text    string
	result  string // Stats.Handshakes
	reason  string // Stats.Rejected
	context map[string]any
}

// Refusals that the protocol does not know.
const (
	codeBusy    = -1 // the server takes no handshakes now
	codeHeaders = -2 // the request is too large to be kept
)

var (
	errTransport = &refusal{code: 0, text: "Transport unknown", result: "unknown_transport"}
	errSID       = &refusal{code: 1, text: "Session ID unknown", reason: "unknown_sid"}
	errElsewhere = &refusal{code: 1, text: "Session ID unknown", reason: "wrong_node"} // by its tag
	errMethod    = &refusal{code: 2, text: "Bad handshake method", result: "bad_request", reason: "bad_method"}
	errRequest   = &refusal{code: 3, text: "Bad request", result: "bad_request"}
	errMismatch  = &refusal{code: 3, text: "Bad request", reason: "mismatch"}
	errForbidden = &refusal{code: 4, text: "Forbidden", result: "forbidden"}
	errOrigin    = &refusal{code: 4, text: "Forbidden", result: "cors"}
	errRevision  = &refusal{code: 5, text: "Unsupported protocol version", result: "bad_request"}
)

// because returns the refusal with the particulars that ConnectionError tells: names, each with its value.
func (r *refusal) because(particulars ...any) *refusal {
	c := *r
	c.context = maps.Clone(r.context)
	if c.context == nil {
		c.context = make(map[string]any, len(particulars)/2)
	}
	for i := 0; i < len(particulars); i += 2 {
		c.context[particulars[i].(string)] = particulars[i+1]
	}
	return &c
}

// forbid refuses with a text of the application.
func forbid(text string) *refusal {
	no := *errForbidden
	if text != "" {
		no.text = text
	}
	return no.because("message", no.text)
}

func refuseHandshake(err error) *refusal {
	result := "limit"
	if errors.Is(err, ErrDraining) {
		result = "draining"
	}
	return &refusal{code: codeBusy, text: err.Error(), result: result}
}

// refuseFull refuses a handshake beyond Options.MaxSessions.
func (e *Engine) refuseFull() *refusal {
	e.totals.full.Add(1)
	return refuseHandshake(errFull)
}

func (r *refusal) status() int {
	switch r.code {
	case codeBusy:
		return http.StatusServiceUnavailable
	case codeHeaders:
		return http.StatusRequestHeaderFieldsTooLarge
	case 4:
		return http.StatusForbidden
	}
	return http.StatusBadRequest
}

// refuse counts, reports and answers a refused request. Refused upgrades are answered without JSON and with the
// end of the connection, as the reference server does; every one of them is 400, but for those that the protocol does not know.
func (e *Engine) refuse(w http.ResponseWriter, r *http.Request, q *query, no *refusal) {
	if no.result != "" && !q.hasSID {
		e.totals.handshake(q.index(), no.result)
	}
	if no.reason != "" {
		e.totals.rejected(no.reason)
	}
	if f := e.options.ConnectionError; f != nil && no.code >= 0 {
		f(ConnectionError{Request: r, Code: no.code, Message: no.text, Context: no.context})
	}
	h, status, body := w.Header(), no.status(), []byte(no.text)
	if no.code == codeBusy {
		h.Set("Retry-After", "1")
	}
	if no.result == "draining" { // the next attempt is another server's
		h.Set("Connection", "close")
	}
	switch {
	case q.upgrade:
		if status == http.StatusForbidden {
			status = http.StatusBadRequest
		}
		h.Set("Connection", "close")
		h.Set("Content-Type", "text/html")
	case no.code < 0:
		h.Set("Content-Type", "text/plain; charset=UTF-8")
	default:
		h.Set("Content-Type", "application/json")
		body = no.json()
	}
	e.answer(w, r, status, body)
}

func (r *refusal) json() []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // as the reference server writes it
	_ = enc.Encode(struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{r.code, r.text}) // a buffer takes everything
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
