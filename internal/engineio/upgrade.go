package engineio

import (
	"net/http"
	"time"

	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/netloop"
)

// noopInterval is how often a waiting GET is ended while a client that was probed wants to leave polling.
const noopInterval = 100 * time.Millisecond

var probeAnswer = frame.Packet("3probe")

// candidate is a WebSocket that wants to take over a polling session. Until it does, what it is told passes the outbox.
// A session that closes keeps it: a client that was about to commit has paused its polling for good.
type candidate struct {
	ws      *socket
	began   time.Duration // on the engine's clock
	timeout *time.Timer
	noop    *time.Timer
	wait    chan struct{} // closed when the commit may go on; guarded by Session.mu, as is noop
	pongs   int           // that it got
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
	c := &candidate{ws: ws, began: s.engine.now()}
	ws.session, ws.candidate = s, c
	s.mu.Lock()
	accepted := s.state == stateOpen && s.candidate == nil && s.index.Load() == polling
	if accepted {
		s.candidate = c
		c.timeout = time.AfterFunc(s.engine.options.UpgradeTimeout, func() { s.failCandidate(c, "timeout", plainClose) })
	}
	s.mu.Unlock()
	if !accepted { // before anything that it says is read
		ws.conn.Part(plainClose.WebSocket())
	}
	if !s.engine.serve(ws) {
		s.failCandidate(c, "closed", plainClose)
	}
}

// candidateMessage handles what a candidate says: a probe, and the word that commits the upgrade.
func (s *Session) candidateMessage(c *candidate, binary bool, data []byte) netloop.Verdict {
	switch {
	case !binary && string(data) == "2probe":
		return s.probe(c)
	case !binary && string(data) == "5":
		return s.commit(c)
	}
	s.failCandidate(c, "probe_failed", plainClose)
	return netloop.Skip
}

// probe answers a probe and begins to end waiting GETs, so that the client can leave polling.
func (s *Session) probe(c *candidate) netloop.Verdict {
	s.mu.Lock()
	if s.candidate != c {
		s.mu.Unlock()
		return netloop.Skip
	}
	if c.noop == nil {
		c.noop = time.AfterFunc(noopInterval, func() { s.endPoll(c) })
	}
	s.mu.Unlock()
	if err := c.ws.conn.WriteNow(probeAnswer.WebSocket()); err != nil {
		s.failCandidate(c, "closed", plainClose)
		return netloop.Skip
	}
	return netloop.Continue
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
func (s *Session) commit(c *candidate) netloop.Verdict {
	s.mu.Lock()
	if s.candidate == c && s.busyLocked() {
		s.mu.Unlock()
		s.engine.live.Go(func() { // which the candidate's connection keeps from ending
			s.awaitRequests(c)
			s.commitAndUnlock(c)
			c.ws.conn.Resume()
		})
		return netloop.Pause
	}
	return s.commitAndUnlock(c)
}

func (s *Session) busyLocked() bool { return s.post != nil || s.answering > 0 }

// awaitRequests returns, with s.mu locked, when no request is under way or c is no candidate any more.
func (s *Session) awaitRequests(c *candidate) {
	s.mu.Lock()
	for s.candidate == c && s.busyLocked() {
		wait := make(chan struct{})
		c.wait = wait
		p := s.post
		s.mu.Unlock()
		grace := time.AfterFunc(postGrace, func() { s.dropPost(p, c) })
		<-wait
		grace.Stop()
		s.mu.Lock()
	}
}

func (s *Session) commitAndUnlock(c *candidate) netloop.Verdict {
	if s.candidate != c {
		s.mu.Unlock()
		return netloop.Skip
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
	c.ws.candidate = nil
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
		return netloop.Continue
	}
	t.open[polling].Add(-1)
	t.open[webSocket].Add(1)
	t.upgrade("ok")
	s.engine.options.Trace.upgraded(s.engine.now() - c.began)
	return netloop.Continue
}

// letCandidateGoOnLocked lets a commit that waits look again.
func (s *Session) letCandidateGoOnLocked() {
	if c := s.candidate; c != nil && c.wait != nil {
		close(c.wait)
		c.wait = nil
	}
}

// failCandidate gives up a candidate; the session stays on polling and may be upgraded again.
func (s *Session) failCandidate(c *candidate, result string, last *frame.Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.candidate == c {
		s.dropCandidateLocked(result, last)
	}
}

// dropCandidateLocked gives up the candidate, if there is one.
func (s *Session) dropCandidateLocked(result string, last *frame.Frame) {
	c := s.candidate
	if c == nil {
		return
	}
	s.engine.totals.upgrade(result)
	s.candidate = nil
	c.stopLocked()
	c.ws.conn.Part(last.WebSocket())
}
