package engineio

import (
	"bufio"
	"net"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"

	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/netloop"
	"example.com/chorus/internal/wsread"
)

// maxPongs is how many may wait, and how many a candidate gets; further pings are not answered.
const maxPongs = 64

// closeFrame is a WebSocket close frame. Code 0 stands for none: so the reference server closes.
func closeFrame(code uint16) *frame.Frame { return frame.Raw(wsread.CloseFrame(code)) }

var (
	plainClose = closeFrame(0)
	goingAway  = closeFrame(1001) // RFC 6455, section 7.4.1
)

// upgrader turns requests into WebSockets.
type upgrader struct {
	gorilla   websocket.Upgrader
	deflating websocket.Upgrader // for clients whose offer of compression is accepted
	formats   formats
	plain     wsread.Config
	deflated  wsread.Config
}

func (u *upgrader) init(e *Engine) {
	u.formats.init(e.options.PerMessageDeflate, e.options.Trace.compressed(webSocket))
	u.plain.Limit, u.deflated.Limit, u.deflated.Deflate = e.options.MaxPayload, e.options.MaxPayload, true
	u.gorilla = websocket.Upgrader{
		HandshakeTimeout: e.options.WriteTimeout,
		WriteBufferPool:  &sync.Pool{},
		CheckOrigin:      func(*http.Request) bool { return true }, // verify asked
		Error:            func(http.ResponseWriter, *http.Request, int, error) {},
	}
	u.deflating = u.gorilla
	u.deflating.EnableCompression = true
}

// upgrade answers 101. It returns nil when that failed, with the refusal that is to be answered if that can be.
func (e *Engine) upgrade(w http.ResponseWriter, r *http.Request, q *query) (*socket, *refusal) {
	header := e.switchingHeaders(w, r, !q.hasSID)
	if offered := websocket.Subprotocols(r); len(offered) > 0 { // browsers insist on an answer
		header["Sec-Websocket-Protocol"] = offered[:1]
	}
	u := &e.upgrader
	upgrader, config, asked := &u.gorilla, &u.plain, r
	deflated := e.options.PerMessageDeflate != nil && offersDeflate(r.Header)
	if deflated {
		upgrader, config, asked = &u.deflating, &u.deflated, offerDeflate(r)
	}
	h := &hijacker{ResponseWriter: w}
	if _, err := upgrader.Upgrade(h, asked, header); err != nil {
		if h.conn != nil {
			_ = h.conn.Close()
			return nil, nil
		}
		return nil, errRequest.because("name", handshakeError, "error", err)
	}
	ws := &socket{config: config, format: u.formats.of(q, deflated)}
	ws.conn = e.loop.Adopt(h.conn, ws)
	return ws, nil
}

// hijacker remembers the connection: gorilla's part ends with the answer.
type hijacker struct {
	http.ResponseWriter
	conn net.Conn
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn = c
	return c, rw, nil
}

// socket is a WebSocket: a candidate of its session, or its transport.
type socket struct {
	conn      netloop.Conn
	config    *wsread.Config
	format    *frame.Format // of what is written
	stream    wsread.Stream
	session   *Session
	candidate *candidate      // nil: the transport; of the reading goroutine, but a commit writes it under Session.mu
	verdict   netloop.Verdict // about the last message
}

var (
	_ netloop.Reader = (*socket)(nil)
	_ wsread.Handler = (*socket)(nil)
)

// Receive implements netloop.Reader.
func (ws *socket) Receive(b []byte) netloop.Verdict {
	ws.verdict = netloop.Continue
	if err := ws.stream.Feed(b, ws.config, ws); err != nil {
		ws.failed(err)
		return netloop.Skip
	}
	if ws.verdict == netloop.Skip {
		ws.stream = wsread.Stream{}
	}
	return ws.verdict
}

// Message implements wsread.Handler.
func (ws *socket) Message(binary bool, data []byte) bool {
	s := ws.session
	if c := ws.candidate; c != nil {
		ws.verdict = s.candidateMessage(c, binary, data)
	} else {
		s.stripe.bytesIn[webSocket].Add(uint64(len(data)))
		s.stripe.messagesIn.Add(len(data))
		ws.verdict = s.packet(binary, data)
	}
	return ws.verdict == netloop.Continue
}

// Pong implements wsread.Handler.
func (ws *socket) Pong(b []byte) {
	if c := ws.candidate; c != nil {
		if c.pongs++; c.pongs <= maxPongs && ws.conn.WriteNow(b) != nil {
			ws.conn.Close() // perhaps a part of it was written
		}
		return
	}
	ws.session.queuePong(frame.Raw(b))
}

// failed ends what the WebSocket was for, as the error deserves.
func (ws *socket) failed(err *wsread.Error) {
	s, last := ws.session, frame.Raw(err.LastWords)
	if err.TooBig {
		s.engine.totals.tooLarge.Add(1)
	}
	switch {
	case ws.candidate != nil:
		s.failCandidate(ws.candidate, "closed", last)
	case err.Farewell: // the peer wants to hear no more than the answer to its close frame
		s.end(TransportClose, err, discard, last)
	default:
		s.end(TransportError, err, flush, last)
	}
}

// WriteFailed implements netloop.Reader.
func (ws *socket) WriteFailed(err error) {
	ws.session.end(TransportError, err, abort, nil)
	ws.conn.Close()
}

// Ended implements netloop.Reader.
func (ws *socket) Ended(err error) {
	s := ws.session
	s.mu.Lock()
	c := ws.candidate // a connection that pauses can end while its commit goes on
	if c != nil && s.candidate == c {
		s.dropCandidateLocked("closed", plainClose)
	}
	s.mu.Unlock()
	if c == nil {
		s.end(TransportClose, err, abort, nil)
		s.mu.Lock()
		s.closedLocked()
		s.mu.Unlock()
	}
	s.engine.live.Done()
}

// startWebSocket begins to write and to read a new session's WebSocket.
func (s *Session) startWebSocket(ws *socket) {
	ws.session = s
	s.mu.Lock()
	s.takeConnLocked(ws)
	gone := s.state == stateClosed
	s.mu.Unlock()
	if gone {
		ws.conn.Close()
	} else if !s.engine.serve(ws) { // the engine is closing
		s.end(ServerShutdown, nil, abort, nil)
		s.abandon()
	}
}

// takeConnLocked makes a WebSocket the consumer of the outbox.
func (s *Session) takeConnLocked(ws *socket) {
	s.conn = ws.conn
	ws.conn.Start(&s.outbox, ws.format)
}

// queuePong queues an answer to a ping. Few may wait, since a client that never reads could ask for any number.
func (s *Session) queuePong(f *frame.Frame) {
	if s.pongs.Add(1) > maxPongs {
		s.pongs.Add(-1)
		return
	}
	_ = s.outbox.Push(f.WithWritten(func() { s.pongs.Add(-1) }), outboxControl)
}
