package engineio

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/netloop"
)

// Details of sessions that a request ended.
var (
	errPollOverlap = errors.New("engineio: overlap from client: a second GET")
	errPostOverlap = errors.New("engineio: overlap from client: a second POST")
	errPollGone    = errors.New("engineio: poll connection closed prematurely")
	errHook        = errors.New("a function of the application panicked")
	errContent     = errors.New("engineio: invalid content type of a POST")
)

// Requests of one client on several connections may be served in another order than they were sent.
const (
	overtaking = 50 * time.Millisecond // how long a client that closes has for the GET that its POST overtook
	overtaken  = 10 * time.Millisecond // a GET that is no older when an upgrade is committed counts as a later one
)

// poll is a GET that waits for something to send.
type poll struct {
	wake  chan struct{}
	began time.Duration
	noop  bool // answer at once; guarded by Session.mu
	late  bool // came with the commit of an upgrade; guarded by Session.mu
	lost  bool // no longer the session's: what becomes of it is nobody's concern
}

// Wake is called by the outbox when there is something to send.
func (p *poll) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// servePoll holds a GET until something can be sent.
func (s *Session) servePoll(w http.ResponseWriter, r *http.Request, q *query) {
	p := &poll{wake: make(chan struct{}, 1), began: s.engine.now()}
	s.mu.Lock()
	switch {
	case s.index.Load() != polling:
		s.mu.Unlock()
		s.engine.refuse(w, r, q, s.mismatch(q))
		return
	case s.poll != nil:
		s.mu.Unlock()
		s.overlap(w, r, errPollOverlap)
		return
	}
	s.poll = p
	s.outbox.Attach(p)
	if s.polled != nil {
		close(s.polled)
		s.polled = nil
	}
	if s.state == stateClosed { // between the look into the table and now
		p.Wake()
	}
	s.mu.Unlock()

	c := http.NewResponseController(w)
	// Deadlines that the server sets for requests must not end one that waits by design. Not every kind of
	// response writer has deadlines.
	if r.ContentLength == 0 { // else the server looks for the end of the body, which may never come
		_ = c.SetReadDeadline(time.Time{})
	}
	_ = c.SetWriteDeadline(time.Time{})
	for {
		select {
		case <-p.wake:
			if s.isLate(p) {
				s.engine.refuse(w, r, q, s.mismatch(q))
				return
			}
			if frames, finished, ok := s.answer(p); ok {
				s.writePoll(w, r, q, p, frames, finished)
				return
			}
		case <-r.Context().Done():
			if s.leave(p) {
				s.end(TransportError, errPollGone, discard, nil)
			}
			return
		}
	}
}

// awaitPoll gives the GET of a client that closes a moment to arrive. Clients have one under way nearly always; on a
// connection of its own it may be later than a POST that was sent after it, and would find the session unknown.
func (s *Session) awaitPoll() {
	s.mu.Lock()
	if s.poll != nil || s.state != stateOpen {
		s.mu.Unlock()
		return
	}
	polled := make(chan struct{})
	s.polled = polled
	s.mu.Unlock()
	select {
	case <-polled:
	case <-time.After(overtaking):
	}
}

func (s *Session) isLate(p *poll) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.late
}

// leave makes a poll none of the session's and says whether it was.
func (s *Session) leave(p *poll) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.poll != p {
		return false
	}
	s.poll = nil
	s.outbox.Detach()
	return true
}

// overlap answers a request of a kind of which another one is under way: a client that does that has lost count.
func (s *Session) overlap(w http.ResponseWriter, r *http.Request, err error) {
	s.engine.totals.rejected("overlap")
	s.end(TransportError, err, discard, nil)
	s.engine.answer(w, r, http.StatusBadRequest, nil)
}

// answer takes what a GET is to be answered with; ok is false when there is nothing yet.
func (s *Session) answer(p *poll) (frames []*frame.Frame, finished, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.poll == p && s.state != stateClosed {
		frames, finished = s.outbox.Take(nil, s.engine.options.MaxPayload, (*frame.Frame).PollingSize)
		if len(frames) == 0 {
			if !p.noop {
				if s.outbox.Release() {
					p.Wake() // something came in between
				}
				return nil, false, false
			}
			frames = []*frame.Frame{noopPacket}
		}
	} else { // an upgrade was committed, or the session was given up
		frames = []*frame.Frame{closePacket}
		p.lost = true
	}
	if s.poll == p {
		s.poll = nil
		s.outbox.Detach()
	}
	s.answering++
	return frames, finished, true
}

// writePoll answers a GET. A handshake's has some more headers.
func (s *Session) writePoll(w http.ResponseWriter, r *http.Request, q *query, p *poll, frames []*frame.Frame, finished bool) {
	n, err := 0, errHook // unless writing comes to its end
	defer func() { s.answered(p, frames, n, finished, err) }()
	if !q.hasSID {
		s.engine.setCookie(w.Header(), s.id)
		s.engine.initialHeaders(w.Header(), r)
	}
	n, err = s.writePayload(w, r, frames)
}

// answered looks after a GET whose answer was written, or was not.
func (s *Session) answered(p *poll, frames []*frame.Frame, n int, finished bool, err error) {
	if err == nil {
		t, messages := &s.engine.totals, 0
		for _, f := range frames {
			if m := f.Messages(); m > 0 {
				messages += m
				t.packets.Add(f.PollingSize())
			}
			f.Written()
		}
		t.bytesOut.Add(uint64(n))
		t.deliveries.Add(uint64(messages))
		t.flushes.Add(1)
		t.perFlush.Add(len(frames))
	}
	s.mu.Lock()
	s.answering--
	s.letCandidateGoOnLocked()
	if finished {
		s.closedLocked()
	}
	s.mu.Unlock()
	if err != nil && !p.lost {
		s.end(TransportError, fmt.Errorf("engineio: answer a poll: %w", err), discard, nil)
	}
	if finished {
		s.engine.remove(s)
	}
}

// writePayload writes the body of a GET's answer and returns how many bytes it had on the wire.
func (s *Session) writePayload(w http.ResponseWriter, r *http.Request, frames []*frame.Frame) (n int, err error) {
	body := s.payload(frames)
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Now().Add(s.engine.options.WriteTimeout))
	if encoding := s.engine.encoding(r, body, frames); encoding != "" {
		// The client decides how long writing takes: compressing is done by then.
		small := s.engine.squeezer.squeeze(encoding, body)
		defer s.engine.squeezer.free(small)
		s.engine.options.Trace.compressed(polling)(float64(small.Len()) / float64(body.size))
		w.Header().Set("Content-Encoding", encoding)
		setHeaders(w, body.contentType, -1)
		s.engine.writeStatus(w, r, http.StatusOK)
		n, err = w.Write(small.Bytes())
	} else {
		setHeaders(w, body.contentType, body.size)
		s.engine.writeStatus(w, r, http.StatusOK)
		n, err = body.writeTo(w)
	}
	if err != nil {
		return n, err
	}
	if err := c.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return n, err
	}
	_ = c.SetWriteDeadline(time.Time{}) // the connection may serve other handlers
	return n, nil
}

// post is a POST that is read or handled.
type post struct {
	abort      func() // makes reading fail
	reading    bool   // there may be more to read; guarded by Session.mu
	overlapped bool   // guarded by Session.mu
	dropped    bool   // an upgrade is committed without it; guarded by Session.mu
}

// dropPost gives up a POST whose body does not come, for the sake of an upgrade.
func (s *Session) dropPost(p *post, c *candidate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p != nil && s.post == p && p.reading && s.candidate == c {
		p.dropped = true
		p.abort()
	}
}

// servePost handles the packets of a POST in their order.
func (s *Session) servePost(w http.ResponseWriter, r *http.Request, q *query) {
	c := http.NewResponseController(w)
	p := &post{reading: true, abort: func() { _ = c.SetReadDeadline(time.Now()) }}
	s.mu.Lock()
	switch first := s.post; {
	case s.index.Load() != polling:
		s.mu.Unlock()
		s.engine.refuse(w, r, q, s.mismatch(q))
		return
	case first != nil:
		first.overlapped = true
		first.abort() // its handler cannot return before the unlock
		s.mu.Unlock()
		s.overlap(w, r, errPostOverlap)
		return
	}
	// While a POST is under way no pong can come, so a body that takes longer than the heartbeat allows cannot be
	// of use.
	_ = c.SetReadDeadline(time.Now().Add(s.engine.options.PingInterval + s.engine.options.PingTimeout))
	s.post = p
	s.mu.Unlock()

	defer func() { // also when the application panics
		if s.endPost(p) {
			panic(http.ErrAbortHandler) // resets the connection
		}
	}()
	status := s.handlePost(c, r, p)
	if s.endPost(p) { // before the answer: with it the client may send the next one
		return
	}
	var body []byte
	switch {
	case status == http.StatusOK:
		body = posted
		setHeaders(w, "text/html", len(body))
	case status == http.StatusBadRequest && r.ProtoMajor == 1: // the rest of the body is of no use
		w.Header().Set("Connection", "close")
	}
	s.engine.answer(w, r, status, body)
}

// posted is the body of the answer to a POST.
var posted = []byte("ok")

// endPost makes a POST none of the session's and says whether its connection is to be reset.
func (s *Session) endPost(p *post) (reset bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.post == p {
		s.post = nil
		s.letCandidateGoOnLocked()
	}
	return p.overlapped || p.dropped
}

// handlePost returns the status of the answer. Malformed packets are answered like others.
func (s *Session) handlePost(c *http.ResponseController, r *http.Request, p *post) int {
	octets := strings.HasPrefix(r.Header.Get("Content-Type"), octetStream)
	if octets && s.protocol != 3 {
		s.engine.totals.rejected("mismatch")
		s.end(TransportError, errContent, discard, nil)
		return http.StatusBadRequest
	}
	buf := buffers.Get().(*[]byte)
	defer freeBuffer(buf)
	body, tooLarge, err := s.readPost(c, r, p, (*buf)[:0])
	*buf = body
	if err != nil {
		_ = c.SetReadDeadline(time.Now())
		s.postFailed(p, fmt.Errorf("engineio: data request closed prematurely: %w", err))
		return http.StatusBadRequest
	}
	if tooLarge { // the session lives on
		s.engine.totals.rejected("too_large")
		s.engine.totals.tooLarge.Add(1)
		return http.StatusRequestEntityTooLarge
	}
	s.stripe.bytesIn[polling].Add(uint64(len(body)))
	for packet, err := range s.packets(body, octets) {
		if err != nil {
			s.endByMistake(ParseError, err)
			break
		}
		s.stripe.messagesIn.Add(len(packet.Data))
		verdict := s.packet(packet.Binary, packet.Data)
		if verdict == netloop.Pause {
			verdict = s.awaitResume()
		}
		if verdict == netloop.Skip {
			break
		}
	}
	return http.StatusOK
}

// postFailed ends the session whose POST did not come, unless it goes on without, or is ended by who aborted it.
func (s *Session) postFailed(p *post, err error) {
	s.mu.Lock()
	aborted := p.dropped || p.overlapped
	s.mu.Unlock()
	if !aborted {
		s.end(TransportError, err, discard, nil)
	}
}

// readPost appends the body to b.
func (s *Session) readPost(c *http.ResponseController, r *http.Request, p *post, b []byte) (body []byte, tooLarge bool, err error) {
	limit := s.engine.options.MaxPayload
	if r.ContentLength > int64(limit) {
		return b, true, nil
	}
	body, err = readAll(io.LimitReader(r.Body, int64(limit)+1), b)
	if tooLarge = len(body) > limit; err != nil || tooLarge {
		return body, tooLarge, err // the deadline is also for the server, which may look for the end of the body
	}
	s.mu.Lock()
	p.reading, p.dropped = false, false // it came after all
	_ = c.SetReadDeadline(time.Time{})
	s.mu.Unlock()
	return body, false, nil
}
