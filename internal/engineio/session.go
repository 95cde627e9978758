package engineio

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/netloop"
	"example.com/chorus/internal/outbox"
)

const outboxControl = outbox.Control

// pollWait is how long a closing polling session waits for the request that takes its last packets.
const pollWait = 30 * time.Second

// Details of closed sessions.
var (
	errHandler   = errors.New("engineio: handler takes no messages")
	errHeartbeat = errors.New("engineio: invalid heartbeat direction")
	errPacket    = errors.New("engineio: malformed packet")
	errNotUTF8   = errors.New("engineio: text is not UTF-8")
)

type state uint8

const (
	stateOpen    state = iota
	stateClosing       // Closed was called; the last frames leave
	stateClosed        // the transport is gone
)

// ending says what becomes of the frames that wait when a session ends.
type ending uint8

const (
	flush   ending = iota // they are sent, then the close packet
	discard               // only the close packet is sent
	abort                 // nothing can be sent
)

// Session is one Engine.IO connection. All methods are safe for concurrent use.
type Session struct {
	outbox    outbox.Outbox
	engine    *Engine
	stripe    *stripe
	id        string
	protocol  uint8
	base64    bool // polling clients that take no binary messages
	handshake packed
	handler   Handler
	opened    time.Duration
	index     atomic.Uint32 // the transport
	resumes   atomic.Uint32 // calls of Resume
	pongs     atomic.Int32  // pongs, of WebSocket or of protocol 3, that wait in the outbox

	mu        sync.Mutex
	state     state
	attached  bool         // handler may be told of the end
	paused    bool         // reading waits for Resume
	answering int32        // GETs whose answer is being written
	ended     func()       // tells it, if the session ended before
	conn      netloop.Conn // of the WebSocket
	poll      *poll        // the GET that waits
	post      *post        // the POST that is read or handled
	candidate *candidate
	resumed   chan struct{} // closed when a POST that pauses goes on
	polled    chan struct{} // closed when a GET waits
	beat      beat

	spoke spoke // guarded by the wheel

	_ [32]byte // to a multiple of 64 bytes, so that the outbox begins where a line of the cache does
}

// ID returns the session id, which is a secret of the client.
func (s *Session) ID() string { return s.id }

// Transport returns "polling" or "websocket".
func (s *Session) Transport() string { return transportNames[s.index.Load()] }

// Protocol returns the revision of Engine.IO that the client speaks, 4 or 3.
func (s *Session) Protocol() int { return int(s.protocol) }

// Handshake returns what the first request said, made anew for the caller.
func (s *Session) Handshake() *Handshake { return s.handshake.unpack() }

// Send queues a frame and never blocks. A volatile frame is dropped (ErrDropped) when the client is not ready
// for it: no GET pending on polling, kernel buffer full on WebSocket. A frame that is not volatile and does not
// fit makes room by dropping queued volatile ones; if that is not enough the session is closed as SlowConsumer
// (ErrSlow), or the frame is dropped (ErrDropped) when Limits.DropVolatile is set.
func (s *Session) Send(f *frame.Frame, volatile bool) error {
	kind := outbox.Data
	if volatile {
		kind = outbox.Volatile
	}
	switch s.outbox.Push(f, kind) {
	case nil:
		return nil
	case outbox.ErrDropped:
		return ErrDropped
	case outbox.ErrFull:
		// The caller may hold locks that Closed wants. When the engine is closing it ends every session itself.
		s.engine.run(func() { s.end(SlowConsumer, ErrSlow, abort, nil) })
		return ErrSlow
	}
	return ErrClosed
}

// SendControl queues a frame of the protocol itself, which is never dropped to make room and needs none: the caller
// bounds how many there can be.
func (s *Session) SendControl(f *frame.Frame) error {
	if s.outbox.Push(f, outboxControl) != nil {
		return ErrClosed
	}
	return nil
}

// SendWait is Send for one receiver: it waits for room until ctx ends.
func (s *Session) SendWait(ctx context.Context, f *frame.Frame) error {
	err := s.outbox.PushWait(ctx, f)
	if err == outbox.ErrClosed {
		return ErrClosed
	}
	return err
}

// Close ends the session: what is queued is sent first, then the transport is closed. Closed is called with
// the reason at once; later Sends return ErrClosed.
func (s *Session) Close(reason Reason, detail error) { s.end(reason, detail, flush, nil) }

// Ready reports whether Close could end the transport at once: nothing is queued and, on polling, a request waits.
func (s *Session) Ready() bool {
	_, queued := s.outbox.Len()
	s.mu.Lock()
	defer s.mu.Unlock()
	return queued == 0 && (s.index.Load() == webSocket || s.poll != nil)
}

// attach sets the handler of a new session and starts its heartbeat.
func (s *Session) attach(h Handler) {
	s.mu.Lock()
	s.handler, s.attached = h, true
	ended := s.ended
	s.startBeatLocked()
	s.mu.Unlock()
	if ended != nil {
		ended()
	}
}

// end closes an open session; for others it does nothing and returns false. last is the close packet when it is not the
// usual one of the transport.
func (s *Session) end(reason Reason, detail error, how ending, last *frame.Frame) bool {
	s.mu.Lock()
	if s.state != stateOpen {
		s.mu.Unlock()
		return false
	}
	s.state = stateClosing
	transport := int(s.index.Load())
	age := s.engine.now() - s.opened
	tell := func() { s.handler.Closed(reason, detail) }
	if !s.attached {
		s.ended, tell = tell, func() {}
	}
	s.goOnLocked()
	if s.post != nil && s.post.reading { // nobody waits for the rest
		s.post.abort()
	}
	gone := s.endTransportLocked(reason, how, last)
	conn := s.conn
	hangUp := s.state == stateClosed && conn != nil
	s.armLocked()
	s.mu.Unlock()

	if hangUp {
		conn.Close()
	}
	if gone {
		s.engine.remove(s)
	}
	s.engine.totals.closed(transport, reason)
	if f := s.engine.options.Trace.Closed; f != nil {
		f(transportNames[transport], reason, age)
	}
	tell()
	return true
}

// endByMistake ends the session of a client that broke the protocol. A WebSocket gets what waits and then the close
// frame; a polling client has no request left to hope for, as with the reference server.
func (s *Session) endByMistake(reason Reason, detail error) {
	how := flush
	if s.index.Load() == polling {
		how = discard // a pending GET is answered all the same
	}
	s.end(reason, detail, how, nil)
}

// endTransportLocked queues the last frames and says whether the session can be forgotten.
func (s *Session) endTransportLocked(reason Reason, how ending, last *frame.Frame) (forget bool) {
	now, o := s.engine.now(), &s.engine.options
	if how != flush {
		s.outbox.Discard()
	}
	if s.index.Load() == webSocket {
		s.beat.endBy = now + o.WriteTimeout + linger
		switch {
		case last != nil:
		case reason == ServerShutdown:
			last = goingAway
		default:
			last = plainClose
		}
		// An outbox that overflowed is closed, and its connection takes nothing.
		if how == abort || !s.outbox.Finish(last) {
			s.outbox.Close()
			s.closedLocked()
		}
		return true
	}
	s.beat.endBy = now + pollWait
	_, queued := s.outbox.Len()
	var finished bool
	switch {
	case s.poll == nil && how != flush:
		s.outbox.Close()
		s.closedLocked()
		return true
	case s.poll != nil && queued == 0:
		if last == nil {
			last = closePacket
		}
		finished = s.outbox.FinishApart(last)
	default: // official clients do not hear messages that come in one payload with the close packet
		finished = s.outbox.FinishApart(noopPacket, closePacket)
	}
	if !finished {
		s.closedLocked()
	}
	return !finished
}

// Leave closes the session because this node goes away: what is queued is sent, then the close packet to a polling client,
// and a WebSocket gets the close frame 1001. No close packet goes over a WebSocket: Node's server sends none there, official
// clients ignore it, and python-engineio would not come back after it. A polling client that is between two requests has 2 seconds to
// fetch what waits for it. It reports whether the session was open.
func (s *Session) Leave() bool { return s.endSoon(ServerShutdown, flush) }

// Handler returns what Options.Connect made for the session; nil before that.
func (s *Session) Handler() Handler {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handler
}

// shutdown ends the session because the engine closes, which does not wait for a polling client that is between two requests and
// has nothing to fetch.
func (s *Session) shutdown(reason Reason) {
	how := flush
	s.mu.Lock()
	if _, n := s.outbox.Len(); n == 0 && s.index.Load() == polling {
		how = discard // a pending GET is answered all the same
	}
	s.mu.Unlock()
	s.endSoon(reason, how)
}

// endSoon ends the session and gives a polling client only a moment to fetch its last packets.
func (s *Session) endSoon(reason Reason, how ending) bool {
	open := s.end(reason, nil, how, nil)
	s.mu.Lock()
	if s.state == stateClosing && s.index.Load() == polling {
		s.beat.endBy = s.engine.now() + linger
		s.armLocked()
	}
	s.mu.Unlock()
	return open
}

// abandon ends a closing session at once.
func (s *Session) abandon() {
	s.outbox.Close()
	s.mu.Lock()
	conn := s.conn
	s.closedLocked()
	s.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
	s.engine.remove(s)
}

func (s *Session) closedLocked() {
	s.state = stateClosed
	s.dropCandidateLocked("closed", plainClose)
	if s.poll != nil {
		s.poll.Wake() // finds out
	}
	s.engine.wheel.forget(s)
}

func (s *Session) isOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == stateOpen
}
