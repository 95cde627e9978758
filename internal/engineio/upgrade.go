package engineio

import (
	"net/http"
	"time"

	"example.com/chorus/internal/frame"
)

// noopInterval is how often a waiting GET is ended while a client that was probed wants to leave polling.
const noopInterval = 100 * time.Millisecond

var probeAnswer = frame.Packet("3probe")

// candidate is a WebSocket that wants to take over a polling session. Until it does, its reader writes to it
// directly. A session that closes keeps it: a client that was about to commit has paused its polling for good.
type candidate struct {
	ws      *socket
	timeout *time.Timer
	noop    *time.Timer
	wait    chan struct{} // closed when the commit may go on; guarded by Session.mu, as is noop
}

func (c *candidate) stopLocked() {
	c.timeout.Stop()
	if c.noop != nil {
		c.noop.Stop()
	}
	if c.wait != nil {
		close(c.wait)
		c.wait = nil
	}
}

// serveUpgrade makes a request for a WebSocket the candidate of its session. When there is one, or nothing to
// upgrade, it is accepted and closed, which leaves the session alone.
func (s *Session) serveUpgrade(w http.ResponseWriter, r *http.Request, q *query) {
	ws, no := s.engine.upgrade(w, r, q)
	if no != nil {
		s.engine.refuse(w, r, q, no)
	}
	if ws == nil {
		return
	}
	c := &candidate{ws: ws}
	s.mu.Lock()
	accepted := s.state == stateOpen && s.candidate == nil && s.index.Load() == polling
	if accepted {
		s.candidate = c
		c.timeout = time.AfterFunc(s.engine.options.UpgradeTimeout, func() { s.failCandidate(c, "timeout") })
	}
	s.mu.Unlock()
	if !s.engine.serve(ws.conn, func() {
		if !accepted || !s.readCandidate(c) {
			ws.sayGoodbye()
			ws.skip()
		}
	}) {
		s.failCandidate(c, "closed")
	}
}

// readCandidate reads the candidate's probe and, once it is committed, the session's messages. It returns false
// when the candidate is none any more.
func (s *Session) readCandidate(c *candidate) bool {
	for {
		binary, data, err := c.ws.next()
		switch {
		case err != nil:
			s.failCandidate(c, "closed")
			return false
		case !binary && string(data) == "2probe":
			if !s.probe(c) {
				return false
			}
		case !binary && string(data) == "5":
			if !s.commit(c) {
				return false
			}
			s.read(c.ws)
			return true
		default:
			s.failCandidate(c, "probe_failed")
			return false
		}
	}
}

// probe answers a probe and begins to end waiting GETs, so that the client can leave polling.
func (s *Session) probe(c *candidate) bool {
	s.mu.Lock()
	if s.candidate != c {
		s.mu.Unlock()
		return false
	}
	if c.noop == nil {
		c.noop = time.AfterFunc(noopInterval, func() { s.endPoll(c) })
	}
	s.mu.Unlock()
	if err := c.ws.conn.WriteNow(probeAnswer.WebSocket()); err != nil {
		s.failCandidate(c, "closed")
		return false
	}
	return true
}

// endPoll answers a waiting GET with a noop packet, again and again while c is a candidate.
func (s *Session) endPoll(c *candidate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.candidate != c {
		return
	}
	if s.poll != nil {
		s.poll.noop = true
		s.poll.Wake()
	}
	c.noop.Reset(noopInterval)
}

// postGrace is how long the commit of an upgrade waits for the body of a POST. Clients have none under way by then.
const postGrace = 100 * time.Millisecond

// commit makes the candidate the session's transport. What a POST brought is handled first, and what a GET took
// is answered first, so that nothing is reordered. A POST whose body does not come is given up.
func (s *Session) commit(c *candidate) bool {
	s.mu.Lock()
	for s.candidate == c && (s.post != nil || s.answering > 0) {
		wait := make(chan struct{})
		c.wait = wait
		p := s.post
		s.mu.Unlock()
		grace := time.AfterFunc(postGrace, func() { s.dropPost(p, c) })
		<-wait
		grace.Stop()
		s.mu.Lock()
	}
	if s.candidate != c {
		s.mu.Unlock()
		return false
	}
	c.stopLocked()
	s.candidate = nil
	p := s.poll
	if p != nil {
		p.late = s.engine.now()-p.began <= overtaken
	}
	s.poll = nil
	s.index.Store(webSocket)
	closing := s.state == stateClosing
	if closing { // what waits leaves here, since the client makes no GET any more
		s.outbox.Refinish(closeFrame(0))
		s.beat.endBy = s.engine.now() + s.engine.options.WriteTimeout + linger
	}
	s.takeConnLocked(c.ws)
	s.expectPongLocked() // the ping may have been lost with the transport, but not its deadline
	s.mu.Unlock()
	if p != nil {
		p.Wake() // finds out that it is none any more
	}
	t := &s.engine.totals
	if closing { // it was counted as a polling session that ended
		s.engine.remove(s)
		t.upgrade("closed")
		return true
	}
	t.open[polling].Add(-1)
	t.open[webSocket].Add(1)
	t.upgrade("ok")
	return true
}

// letCandidateGoOnLocked lets a commit that waits look again.
func (s *Session) letCandidateGoOnLocked() {
	if c := s.candidate; c != nil && c.wait != nil {
		close(c.wait)
		c.wait = nil
	}
}

// failCandidate gives up a candidate; the session stays on polling and may be upgraded again.
func (s *Session) failCandidate(c *candidate, result string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.candidate == c {
		s.dropCandidateLocked(result)
	}
}

// dropCandidateLocked leaves the candidate, if there is one, to its reader, which says goodbye.
func (s *Session) dropCandidateLocked(result string) {
	c := s.candidate
	if c == nil {
		return
	}
	s.engine.totals.upgrade(result)
	s.candidate = nil
	c.stopLocked()
	_ = c.ws.conn.SetReadDeadline(time.Now()) // a connection that is gone fails its reader too
}
