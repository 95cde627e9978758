package engineio

import (
	"bufio"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/netloop"
)

const (
	readBuffer = 512      // of a connection, held for its whole life
	keepBuffer = 64 << 10 // a larger message buffer does not go back into the pool
	maxPongs   = 64       // that wait; further pings are not answered
)

// buffers hold messages while they are read and handled.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, readBuffer); return &b }}

func freeBuffer(b *[]byte) {
	if cap(*b) <= keepBuffer {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// closeFrame is a WebSocket close frame. Code 0 stands for none: so the reference server closes.
func closeFrame(code uint16) *frame.Frame {
	if code == 0 {
		return plainClose
	}
	return frame.Raw(binary.BigEndian.AppendUint16([]byte{0x88, 2}, code))
}

var plainClose = frame.Raw([]byte{0x88, 0})

// upgrader turns requests into WebSockets.
type upgrader struct {
	gorilla   websocket.Upgrader
	deflating websocket.Upgrader // for clients whose offer of compression is accepted
	formats   formats
}

func (u *upgrader) init(e *Engine) {
	u.formats.init(e.options.PerMessageDeflate)
	u.gorilla = websocket.Upgrader{
		HandshakeTimeout: e.options.WriteTimeout,
		ReadBufferSize:   readBuffer,
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
	deflated := e.options.PerMessageDeflate != nil && offersDeflate(r.Header)
	upgrader, asked := &u.gorilla, r
	if deflated {
		upgrader, asked = &u.deflating, offerDeflate(r)
	}
	h := &hijacker{ResponseWriter: w, loop: e.loop}
	g, err := upgrader.Upgrade(h, asked, header)
	if err != nil {
		if h.conn != nil {
			_ = h.conn.Close()
			return nil, nil
		}
		return nil, errRequest.because("name", handshakeError, "error", err)
	}
	ws := &socket{conn: h.conn, gorilla: g, limit: e.options.MaxPayload, format: u.formats.of(q, deflated)}
	ws.conn.Intercept(ws.intercept)
	g.SetReadLimit(int64(ws.limit))
	g.SetPingHandler(func(payload string) error {
		ws.pong(append([]byte{0x8a, byte(len(payload))}, payload...))
		return nil
	})
	ws.pong = func(b []byte) { _ = ws.conn.WriteNow(b) } // a failure shows when reading
	return ws, nil
}

// hijacker gives gorilla the loop's connection, so that nothing that it writes later passes the queue.
type hijacker struct {
	http.ResponseWriter
	loop *netloop.Loop
	conn *netloop.Conn
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn = h.loop.Wrap(c)
	return h.conn, rw, nil
}

// socket reads messages from a WebSocket. It is used by its reader alone, but for conn.
type socket struct {
	conn      *netloop.Conn
	gorilla   *websocket.Conn
	limit     int           // bytes of a message, inflated
	format    *frame.Format // of what is written
	pong      func(frame []byte)
	buf       *[]byte
	lastWords *frame.Frame // close frame that the last error asks for
}

// intercept takes what gorilla would write: only close frames, for an error that the next read returns.
func (ws *socket) intercept(b []byte) {
	ws.lastWords = frame.Raw(append([]byte(nil), b...))
}

// next returns the next message, which is valid until next is called again.
func (ws *socket) next() (binary bool, data []byte, err error) {
	ws.release()
	kind, r, err := ws.gorilla.NextReader()
	if err != nil {
		return false, nil, ws.failed(err)
	}
	ws.buf = buffers.Get().(*[]byte)
	// gorilla's limit counts what came, which may inflate to any size.
	data, err = readAll(io.LimitReader(r, int64(ws.limit)+1), *ws.buf)
	*ws.buf = data
	if err == nil && len(data) > ws.limit {
		err = websocket.ErrReadLimit
	}
	if err != nil {
		ws.release()
		return false, nil, ws.failed(err)
	}
	if kind == websocket.BinaryMessage {
		return true, data, nil
	}
	if !utf8.Valid(data) {
		ws.release()
		ws.lastWords = closeFrame(websocket.CloseInvalidFramePayloadData)
		return false, nil, errNotUTF8
	}
	return false, data, nil
}

func (ws *socket) failed(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, websocket.ErrReadLimit):
		ws.lastWords = closeFrame(websocket.CloseMessageTooBig)
	case errors.As(err, &corrupt), err == io.ErrUnexpectedEOF: // a connection that ends has errors of its own
		ws.lastWords = closeFrame(websocket.CloseInvalidFramePayloadData)
	}
	return err
}

func (ws *socket) release() {
	if ws.buf != nil {
		freeBuffer(ws.buf)
		ws.buf = nil
	}
}

// hungUp says whether err is the peer's farewell, or silence, and not a mistake.
func (ws *socket) hungUp(err error) bool {
	var closed *websocket.CloseError
	return ws.lastWords == nil || errors.As(err, &closed)
}

// sayGoodbye closes a connection that was never started.
func (ws *socket) sayGoodbye() {
	words := ws.lastWords
	if words == nil {
		words = plainClose
	}
	_ = ws.conn.WriteNow(words.WebSocket()) // the peer is gone, or reads it
	ws.conn.Finish()
}

// skip throws away what the peer sends until it hangs up or Conn.Finish's time is over.
func (ws *socket) skip() {
	ws.release()
	_, _ = io.Copy(io.Discard, ws.conn.Conn)
}

// readAll appends what r has to b, growing it only as data arrives.
func readAll(r io.Reader, b []byte) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}

// startWebSocket begins to write and to read a new session's WebSocket.
func (s *Session) startWebSocket(ws *socket) {
	s.mu.Lock()
	s.takeConnLocked(ws)
	gone := s.state == stateClosed
	s.mu.Unlock()
	if gone {
		_ = ws.conn.Close()
	} else if !s.engine.serve(ws.conn, func() { s.read(ws) }) { // the engine is closing
		s.end(ServerShutdown, nil, abort, nil)
		s.abandon()
	}
}

// takeConnLocked makes a WebSocket the consumer of the outbox.
func (s *Session) takeConnLocked(ws *socket) {
	s.conn = ws.conn
	ws.pong = s.pong
	ws.conn.Start(&s.outbox, ws.format, func(err error) {
		s.end(TransportError, err, abort, nil)
		_ = ws.conn.Close()
	})
}

// pong queues a WebSocket pong.
func (s *Session) pong(b []byte) { s.queuePong(frame.Raw(b)) }

// queuePong queues an answer to a ping. Few may wait, since a client that never reads could ask for any number.
func (s *Session) queuePong(f *frame.Frame) {
	if s.pongs.Add(1) > maxPongs {
		s.pongs.Add(-1)
		return
	}
	_ = s.outbox.Push(f.WithWritten(func() { s.pongs.Add(-1) }), outboxControl)
}

// read is the reader of a WebSocket: messages until it fails, then what is left until the peer hangs up.
func (s *Session) read(ws *socket) {
	defer func() {
		s.mu.Lock()
		s.closedLocked()
		s.mu.Unlock()
	}()
	for {
		binary, data, err := ws.next()
		if err != nil {
			if !s.readFailed(ws, err) {
				return
			}
			break
		}
		s.stripe.bytesIn[webSocket].Add(uint64(len(data)))
		if !s.packet(binary, data) {
			break
		}
	}
	ws.skip()
}

// readFailed ends the session as the error deserves, and says whether the peer may still read.
func (s *Session) readFailed(ws *socket, err error) bool {
	switch {
	case ws.lastWords == nil: // the connection broke
		s.end(TransportClose, err, abort, nil)
		return false
	case ws.hungUp(err): // the peer wants to hear no more than the answer to its close frame
		s.end(TransportClose, err, discard, ws.lastWords)
	default:
		s.end(TransportError, err, flush, ws.lastWords)
	}
	return true
}
