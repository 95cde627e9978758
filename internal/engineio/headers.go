package engineio

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// writeStatus begins an answer: every answer but 101 does it here.
func (e *Engine) writeStatus(w http.ResponseWriter, r *http.Request, status int) {
	if f := e.options.Headers; f != nil {
		f(w.Header(), r)
	}
	w.WriteHeader(status)
}

// answer writes a short answer, which leaves when the handler returns: a client that does not read must not hold it for
// longer. The server ends the deadline with the request.
func (e *Engine) answer(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	// Not every kind of response writer has deadlines.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(e.options.WriteTimeout))
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	e.writeStatus(w, r, status)
	_, _ = w.Write(body) // the client is gone, or reads it
}

// nodeHeader names the route tag to a balancer that learns from it which server has which sessions. Only the answer of a
// handshake has it: any other may have come through another node, of which the balancer would learn a falsehood.
const nodeHeader = "Chorus-Node"

// initialHeaders adds what only the answer of a handshake has.
func (e *Engine) initialHeaders(h http.Header, r *http.Request) {
	if tag := e.options.RouteTag; tag != "" {
		h.Set(nodeHeader, tag)
	}
	if f := e.options.InitialHeaders; f != nil {
		f(h, r)
	}
}

// setCookie adds the cookie by which balancers may know the session.
func (e *Engine) setCookie(h http.Header, sid string) {
	if e.options.Cookie == nil {
		return
	}
	c := *e.options.Cookie
	c.Value = sid
	if v := c.String(); v != "" {
		h.Add("Set-Cookie", v)
	}
}

// setHeaders sets what every answer 200 of polling has. A negative size is that of a body which is sent in chunks.
func setHeaders(w http.ResponseWriter, contentType string, size int) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	if size >= 0 {
		h.Set("Content-Length", strconv.Itoa(size))
	}
}

// notIn101 are the headers of an answer 101 that are not the application's.
var notIn101 = []string{"Connection", "Upgrade", "Content-Length", "Content-Type", "Transfer-Encoding", "Sec-Websocket-Accept",
	"Sec-Websocket-Extensions", "Sec-Websocket-Protocol"}

// switchingHeaders returns the headers of an answer 101 besides those of the handshake itself: what middlewares
// set, then what the hooks do to it. gorilla writes names as they are, so those that HTTP does not allow are
// left out, as net/http does.
func (e *Engine) switchingHeaders(w http.ResponseWriter, r *http.Request, handshake bool) http.Header {
	h := w.Header().Clone()
	if h == nil {
		h = make(http.Header)
	}
	if handshake {
		e.initialHeaders(h, r)
	}
	if f := e.options.Headers; f != nil {
		f(h, r)
	}
	for _, name := range notIn101 {
		h.Del(name)
	}
	for name := range h {
		if !validHeaderName(name) {
			delete(h, name)
		}
	}
	return h
}

func validHeaderName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c >= 0x7f || c <= ' ' || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return name != ""
}
