package engineio

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"example.com/chorus/internal/frame"
)

// Handshake is what the first request of a session said.
type Handshake struct {
	Header     http.Header // without Host
	Host       string
	URL        string // the request target, as sent
	Query      map[string]string
	RemoteAddr string
	Secure     bool // over TLS
	Time       time.Time
}

// connect makes a session whose first packets wait in its outbox, and shows it to the owner before anybody else
// can know of it. It returns nil when the engine is closing.
func (e *Engine) connect(r *http.Request, q *query, id string) *Session {
	s := &Session{
		engine:    e,
		id:        id,
		protocol:  uint8(q.protocol),
		base64:    q.base64,
		stripe:    e.stripe(),
		opened:    e.now(),
		handshake: pack(r, q.all),
	}
	s.index.Store(uint32(q.index()))
	s.outbox.Init(&e.options.Outbox, &s.stripe.drops)
	_ = s.outbox.Push(e.openPacket(s, q), outboxControl)
	if p := e.options.InitialPacket; p != nil {
		_ = s.outbox.Push(p, outboxControl)
	}
	if !e.register(s) {
		s.outbox.Close()
		return nil
	}
	e.totals.opened(q.index())
	defer s.failUnattached()
	s.attach(e.options.Connect(s))
	return s
}

// failUnattached gives up a session whose owner panicked before it had one: nothing else would ever end it.
func (s *Session) failUnattached() {
	s.mu.Lock()
	failed := !s.attached
	s.mu.Unlock()
	if failed {
		s.end(TransportError, errHook, abort, nil)
	}
}

func (e *Engine) openPacket(s *Session, q *query) *frame.Frame {
	upgrades := `[]`
	if !q.upgrade && e.options.WebSocket && e.options.AllowUpgrades {
		upgrades = `["websocket"]`
	}
	b := frame.Begin(160)
	b = append(b, `0{"sid":"`...)
	b = append(b, s.id...)
	b = append(b, `","upgrades":`...)
	b = append(b, upgrades...)
	b = append(b, `,"pingInterval":`...)
	b = strconv.AppendInt(b, e.options.PingInterval.Milliseconds(), 10)
	b = append(b, `,"pingTimeout":`...)
	b = strconv.AppendInt(b, e.options.PingTimeout.Milliseconds(), 10)
	b = append(b, `,"maxPayload":`...)
	b = strconv.AppendInt(b, int64(e.options.MaxPayload), 10)
	return frame.Text(append(b, '}'))
}

func (e *Engine) openPolling(w http.ResponseWriter, r *http.Request, q *query, came time.Time) {
	id, no := e.newID(r)
	if no != nil {
		e.refuse(w, r, q, no)
		return
	}
	release := sync.OnceFunc(func() { e.release(id) }) // once: somebody else may have it by then
	defer release()
	s := e.connect(r, q, id)
	if s == nil {
		release()
		e.refuse(w, r, q, refuseHandshake(ErrDraining))
		return
	}
	s.servePoll(w, r, q)
	e.options.Trace.opened(polling, came)
}

func (e *Engine) openWebSocket(w http.ResponseWriter, r *http.Request, q *query, came time.Time) {
	id, no := e.newID(r)
	if no != nil {
		e.refuse(w, r, q, no)
		return
	}
	release := sync.OnceFunc(func() { e.release(id) }) // once: somebody else may have it by then
	defer release()
	ws, no := e.upgrade(w, r, q)
	if no != nil {
		release() // before the answer: the client may try again with it
		e.refuse(w, r, q, no)
	}
	if ws == nil {
		return
	}
	started := false
	defer func() {
		if !started { // nobody else closes it, also after a panic
			ws.conn.Close()
		}
	}()
	s := e.connect(r, q, id)
	if s == nil { // the engine began to close after it had admitted the handshake
		e.totals.handshake(webSocket, "draining")
		return
	}
	started = true
	s.startWebSocket(ws)
	e.options.Trace.opened(webSocket, came)
}
