package engineio

import (
	"fmt"
	"net/http"
	"strings"

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
	protocol  int
	upgrade   bool // asks to become a WebSocket
	base64    bool // takes no binary messages
	jsonp     bool
}

func parseQuery(r *http.Request) *query {
	q := &query{all: make(map[string]string)}
	for k, v := range r.URL.Query() {
		q.all[k] = v[len(v)-1] // the last one wins
	}
	q.sid, q.hasSID = q.all["sid"], q.all["sid"] != ""
	q.transport = q.all["transport"]
	q.protocol = 3 // also of clients that do not say it
	if q.all["EIO"] == "4" {
		q.protocol = 4
	}
	q.base64 = q.all["b64"] != ""
	_, q.jsonp = q.all["j"]
	q.upgrade = websocket.IsWebSocketUpgrade(r)
	return q
}

func (q *query) index() int {
	if q.upgrade {
		return webSocket
	}
	return polling
}

// verify checks a request in the order of the reference server: transport, origin, then the session or what a
// handshake must be.
func (e *Engine) verify(r *http.Request) (*query, *Session, *refusal) {
	q := parseQuery(r)
	if q.transport != "polling" && q.transport != "websocket" ||
		q.transport == "polling" && !e.options.Polling || q.transport == "websocket" && !e.options.WebSocket {
		return q, nil, errTransport.because("transport", q.transport)
	}
	if origin := r.Header.Get("Origin"); !validHeaderValue(origin) {
		return q, nil, errRequest.because("name", invalidOrigin, "origin", origin)
	}
	if q.jsonp && !q.upgrade { // no client that is left asks for scripts; it could not read the answer
		return q, nil, errRequest.because("name", handshakeError, "jsonp", true)
	}
	if q.hasSID {
		s, no := e.verifySession(q)
		if no == nil && q.upgrade {
			no = e.verifyOrigin(r)
		}
		return q, s, no
	}
	return q, nil, e.verifyHandshake(r, q)
}

func (e *Engine) verifySession(q *query) (*Session, *refusal) {
	s := e.session(q.sid)
	if s == nil {
		no := errSID
		if tag, _, tagged := strings.Cut(q.sid, "_"); tagged && tag != e.options.RouteTag && e.options.RouteTag != "" {
			no = errElsewhere
		}
		return nil, no.because("sid", q.sid)
	}
	if !q.upgrade && q.transport != s.Transport() || q.upgrade && (q.transport != "websocket" || !e.options.AllowUpgrades) {
		return nil, s.mismatch(q)
	}
	if q.protocol != s.Protocol() {
		return nil, errMismatch.because("name", protocolMismatch, "protocol", q.protocol, "previousProtocol", s.Protocol())
	}
	return s, nil
}

func (s *Session) mismatch(q *query) *refusal {
	return errMismatch.because("name", transportMismatch, "transport", q.transport, "previousTransport", s.Transport())
}

// maxHandshake is how many bytes the target and the headers of a handshake may have, since a session keeps them;
// the reference server's is the same.
const maxHandshake = 16 << 10

func handshakeSize(r *http.Request) int {
	n := len(r.RequestURI)
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(": \r\n") + len(v)
		}
	}
	return n
}

// verifyHandshake asks those who cost the least first.
func (e *Engine) verifyHandshake(r *http.Request, q *query) *refusal {
	if n := handshakeSize(r); n > maxHandshake {
		return &refusal{code: codeHeaders, text: fmt.Sprintf("handshake has %d bytes of headers, limit %d", n, maxHandshake),
			result: "bad_request", reason: "too_large"}
	}
	if r.Method != http.MethodGet {
		return errMethod.because("method", r.Method)
	}
	if (q.transport == "websocket") != q.upgrade {
		return errRequest.because("name", handshakeError)
	}
	if q.upgrade {
		if no := e.verifyOrigin(r); no != nil {
			return no
		}
	}
	if e.options.MaxSessions > 0 && e.full() {
		return e.refuseFull()
	}
	if e.options.Admit != nil {
		if err := e.options.Admit(r); err != nil {
			return refuseHandshake(err)
		}
	}
	if e.options.AllowRequest != nil {
		if err := e.options.AllowRequest(r); err != nil {
			return forbid(err.Error())
		}
	}
	if q.protocol == 3 && !e.options.AllowEIO3 {
		return errRevision.because("protocol", q.protocol)
	}
	return nil
}

func (e *Engine) verifyOrigin(r *http.Request) *refusal {
	if e.options.CheckOrigin(r) {
		return nil
	}
	return errOrigin.because("message", errOrigin.text, "origin", r.Header.Get("Origin"))
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
