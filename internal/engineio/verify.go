package engineio

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/gorilla/websocket"
)

// The transports, as indices of Stats.
const (
	polling = iota
	webSocket
)

var transportNames = [2]string{"polling", "websocket"}

// query is what the query parameters and headers of a request say.
type query struct {
	all       map[string]string
	sid       string
	hasSID    bool
	transport string
	revision4 bool
	upgrade   bool // asks to become a WebSocket
}

func parseQuery(r *http.Request) *query {
	q := &query{all: make(map[string]string)}
	for k, v := range r.URL.Query() {
		q.all[k] = v[len(v)-1] // the last one wins
	}
	q.sid, q.hasSID = q.all["sid"], q.all["sid"] != ""
	q.transport = q.all["transport"]
	q.revision4 = q.all["EIO"] == "4"
	q.upgrade = websocket.IsWebSocketUpgrade(r)
	return q
}

func (q *query) index() int {
	if q.upgrade {
		return webSocket
	}
	return polling
}

// refusal is an answer that is not the one hoped for.
type refusal struct {
	code   int // of the protocol; -1: the server takes no handshakes now
	text   string
	result string // Stats.Handshakes
	reason string // Stats.Rejected
}

var (
	errTransport = &refusal{code: 0, text: "Transport unknown", result: "unknown_transport"}
	errSID       = &refusal{code: 1, text: "Session ID unknown", reason: "unknown_sid"}
	errMethod    = &refusal{code: 2, text: "Bad handshake method", result: "bad_request", reason: "bad_method"}
	errRequest   = &refusal{code: 3, text: "Bad request", result: "bad_request"}
	errForbidden = &refusal{code: 4, text: "Forbidden", result: "forbidden"}
	errRevision  = &refusal{code: 5, text: "Unsupported protocol version", result: "bad_request"}
)

func (r *refusal) status() int {
	switch r.code {
	case -1:
		return http.StatusServiceUnavailable
	case 4:
		return http.StatusForbidden
	}
	return http.StatusBadRequest
}

// verify checks a request in the order of the reference server: transport, origin, then the session or what a
// handshake must be.
func (e *Engine) verify(r *http.Request) (*query, *Session, *refusal) {
	q := parseQuery(r)
	if q.transport != "polling" && q.transport != "websocket" ||
		q.transport == "polling" && !e.options.Polling || q.transport == "websocket" && !e.options.WebSocket {
		return q, nil, errTransport
	}
	if !validHeaderValue(r.Header.Get("Origin")) {
		return q, nil, errRequest
	}
	if q.hasSID {
		s, no := e.verifySession(q)
		if no == nil && q.upgrade && !e.options.CheckOrigin(r) {
			no = errForbidden
		}
		return q, s, no
	}
	if r.Method != http.MethodGet {
		return q, nil, errMethod
	}
	if (q.transport == "websocket") != q.upgrade {
		return q, nil, errRequest
	}
	if q.upgrade && !e.options.CheckOrigin(r) {
		return q, nil, errForbidden
	}
	if !q.revision4 {
		return q, nil, errRevision
	}
	return q, nil, e.admit(r)
}

func (e *Engine) verifySession(q *query) (*Session, *refusal) {
	s := e.session(q.sid)
	switch {
	case s == nil:
		return nil, errSID
	case !q.upgrade && q.transport != s.Transport(),
		q.upgrade && (q.transport != "websocket" || !e.options.AllowUpgrades),
		!q.revision4:
		return nil, errRequest
	}
	return s, nil
}

func (e *Engine) admit(r *http.Request) *refusal {
	e.mu.Lock()
	closing := e.closing
	e.mu.Unlock()
	if closing {
		return refuseHandshake(ErrDraining)
	}
	if e.options.Admit == nil {
		return nil
	}
	if err := e.options.Admit(r); err != nil {
		return refuseHandshake(err)
	}
	return nil
}

func refuseHandshake(err error) *refusal {
	result := "limit"
	if errors.Is(err, ErrDraining) {
		result = "draining"
	}
	return &refusal{code: -1, text: err.Error(), result: result}
}

// refuse counts and answers a refused request. Refused upgrades are answered without JSON and with the end of
// the connection, as the reference server does; every one of them is 400, but for the protocol's own 503.
func (e *Engine) refuse(w http.ResponseWriter, q *query, no *refusal) {
	if no.result != "" && !q.hasSID {
		e.totals.handshake(q.index(), no.result)
	}
	if no.reason != "" {
		e.totals.rejected(no.reason)
	}
	h, status, body := w.Header(), no.status(), no.text
	if no.code < 0 {
		h.Set("Retry-After", "1")
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
		body = `{"code":` + strconv.Itoa(no.code) + `,"message":"` + no.text + `"}`
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the client is gone, or reads it
}

// validHeaderValue holds header values to the characters that HTTP allows.
func validHeaderValue(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
