package engineio

import (
	"time"

	"example.com/chorus/internal/frame"
)

var (
	pingFrame = frame.Packet("2")
	pongFrame = frame.Packet("3")
)

// beat holds the moments at which something becomes due, on the engine's clock; 0 is never. A wheel looks at them
// when the first of them is. It is guarded by Session.mu.
type beat struct {
	pingAt    time.Duration // the next ping
	pinged    time.Duration // when the last ping was queued
	pongBy    time.Duration // the answer to the last ping; in protocol 3 the client's next ping
	resumeBy  time.Duration // the handler reads again; the pong's deadline does not run meanwhile
	endBy     time.Duration // the transport of a closing session is gone
	started   bool
	refreshed bool // the pong's deadline was moved once since the ping
}

// patience is how long a pong may take, or in protocol 3 the client's next ping.
func (s *Session) patience() time.Duration {
	o := &s.engine.options
	if s.protocol == 3 {
		return o.PingInterval + o.PingTimeout
	}
	return o.PingTimeout
}

// startBeatLocked starts the heartbeat of a session, or the clock of one that is closing already.
func (s *Session) startBeatLocked() {
	if s.protocol == 3 {
		s.beat.pongBy = s.engine.now() + s.patience()
	} else {
		s.beat.pingAt = s.engine.now() + s.engine.options.PingInterval
	}
	s.beat.started = true
	s.armLocked()
}

// armLocked tells the wheel which moment is the next.
func (s *Session) armLocked() {
	b := &s.beat
	if !b.started {
		return
	}
	var next time.Duration
	soonest := func(t time.Duration) {
		if t != 0 && (next == 0 || t < next) {
			next = t
		}
	}
	switch s.state {
	case stateOpen:
		soonest(b.pingAt)
		soonest(b.resumeBy)
		if b.resumeBy == 0 {
			soonest(b.pongBy)
		}
	case stateClosing:
		soonest(b.endBy)
	}
	if next == 0 {
		s.engine.wheel.forget(s)
		return
	}
	s.engine.wheel.visit(s, next)
}

// tick does what is due.
func (s *Session) tick() {
	s.mu.Lock()
	b, now := &s.beat, s.engine.now()
	due := func(t time.Duration) bool { return t != 0 && t <= now }
	switch {
	case s.state == stateClosing && due(b.endBy):
		s.mu.Unlock()
		s.abandon()
		return
	case s.state != stateOpen:
	case due(b.resumeBy):
		s.mu.Unlock()
		s.end(SlowHandler, errHandler, discard, nil)
		return
	case b.resumeBy == 0 && due(b.pongBy):
		s.mu.Unlock()
		s.end(PingTimeout, nil, discard, nil)
		return
	case due(b.pingAt):
		b.pingAt, b.pinged, b.pongBy, b.refreshed = 0, now, now+s.patience(), false
		// It waits like any packet; there is at most one, so it needs no bound.
		_ = s.outbox.Push(pingFrame, outboxControl)
	}
	s.armLocked()
	s.mu.Unlock()
}

// heard notes that a packet arrived and says whether the session is open. A pong starts the interval anew; the
// first other packet while a pong is due moves its deadline once. In protocol 3 only a client's ping counts.
func (s *Session) heard(beat bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stateOpen {
		return false
	}
	b := &s.beat
	switch {
	case s.protocol == 3:
		if beat {
			s.expectPongLocked()
		}
	case beat:
		now := s.engine.now()
		if b.pongBy != 0 { // else nobody asked for it
			s.engine.options.Trace.pong(s.index.Load(), now-b.pinged)
		}
		b.pingAt, b.pongBy = now+s.engine.options.PingInterval, 0
		s.armLocked()
	case b.pongBy != 0 && !b.refreshed:
		b.refreshed = true
		s.expectPongLocked()
	}
	return true
}

// expectPongLocked gives a pong, or a client's ping, that is due the whole time again.
func (s *Session) expectPongLocked() {
	if s.beat.pongBy != 0 {
		s.beat.pongBy = s.engine.now() + s.patience()
	}
	s.armLocked()
}
