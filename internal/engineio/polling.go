package engineio

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/chorus/internal/frame"
)

// Details of sessions that a request ended.
var (
	errPollOverlap = errors.New("engineio: overlap from client: a second GET")
	errPostOverlap = errors.New("engineio: overlap from client: a second POST")
	errPollGone    = errors.New("engineio: poll connection closed prematurely")
	errContent     = errors.New("engineio: invalid content type of a POST")
)

// poll is a GET that waits for something to send.
type poll struct {
	wake chan struct{}
	noop bool // answer at once; guarded by Session.mu
}

// Wake is called by the outbox when there is something to send.
func (p *poll) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// servePoll holds a GET until something can be sent.
func (s *Session) servePoll(w http.ResponseWriter, r *http.Request) {
	p := &poll{wake: make(chan struct{}, 1)}
	s.mu.Lock()
	switch {
	case s.index.Load() != polling:
		s.mu.Unlock()
		s.engine.refuse(w, &query{hasSID: true}, errRequest)
		return
	case s.poll != nil:
		s.mu.Unlock()
		s.overlap(w, errPollOverlap)
		return
	}
	s.poll = p
	s.outbox.Attach(p)
	if s.state == stateClosed { // between the look into the table and now
		p.Wake()
	}
	s.mu.Unlock()

	c := http.NewResponseController(w)
	// Deadlines that the server sets for requests must not end one that waits by design. Not every kind of
	// response writer has deadlines.
	_ = c.SetReadDeadline(time.Time{})
	_ = c.SetWriteDeadline(time.Time{})
	for {
		select {
		case <-p.wake:
			if frames, finished, ok := s.answer(p); ok {
				s.writePoll(w, r, frames, finished)
				return
			}
		case <-r.Context().Done():
			s.mu.Lock()
			if s.poll == p {
				s.poll = nil
				s.outbox.Detach()
			}
			s.mu.Unlock()
			s.end(TransportError, errPollGone, discard, nil)
			return
		}
	}
}

// overlap answers a request of a kind of which another one is under way: a client that does that has lost count.
func (s *Session) overlap(w http.ResponseWriter, err error) {
	s.engine.totals.rejected("overlap")
	s.end(TransportError, err, discard, nil)
	w.WriteHeader(http.StatusBadRequest)
}

// answer takes what a GET is to be answered with; ok is false when there is nothing yet.
func (s *Session) answer(p *poll) (frames []*frame.Frame, finished, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.poll == p && s.state != stateClosed {
		frames, finished = s.outbox.Take(nil, s.engine.options.MaxPayload, (*frame.Frame).PollingSize)
		switch {
		case len(frames) > 0:
		case p.noop:
			frames = []*frame.Frame{noopPacket}
		default:
			s.outbox.Release()
			return nil, false, false
		}
	} else { // an upgrade was committed, or the session was given up
		frames = []*frame.Frame{closePacket}
	}
	if s.poll == p {
		s.poll = nil
		s.outbox.Detach()
	}
	s.answering++
	return frames, finished, true
}

// writePoll answers a GET.
func (s *Session) writePoll(w http.ResponseWriter, r *http.Request, frames []*frame.Frame, finished bool) {
	n, err := s.writePayload(w, r, frames)
	if err == nil {
		messages := 0
		for _, f := range frames {
			messages += f.Messages()
			f.Written()
		}
		t := &s.engine.totals
		t.bytesOut.Add(uint64(n))
		t.deliveries.Add(uint64(messages))
		t.flushes.Add(1)
	}
	s.mu.Lock()
	s.answering--
	s.letCandidateGoOnLocked()
	if finished {
		s.closedLocked()
	}
	s.mu.Unlock()
	if err != nil {
		s.end(TransportError, fmt.Errorf("engineio: answer a poll: %w", err), discard, nil)
	}
	if finished {
		s.engine.remove(s)
	}
}

func (s *Session) writePayload(w http.ResponseWriter, r *http.Request, frames []*frame.Frame) (int, error) {
	size := len(frames) - 1
	for _, f := range frames {
		size += f.PollingSize()
	}
	setHeaders(w, r, "text/plain; charset=UTF-8", size)
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Now().Add(s.engine.options.WriteTimeout))
	for i, f := range frames {
		if i > 0 {
			if _, err := w.Write([]byte{frame.Separator}); err != nil {
				return 0, err
			}
		}
		if _, err := w.Write(f.Polling()); err != nil {
			return 0, err
		}
	}
	if err := c.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	_ = c.SetWriteDeadline(time.Time{}) // the connection may serve other handlers
	return size, nil
}

// setHeaders sets what every answer 200 of polling has.
func setHeaders(w http.ResponseWriter, r *http.Request, contentType string, size int) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(size))
	h.Set("Cache-Control", "no-store")
	if ua := r.UserAgent(); strings.Contains(ua, ";MSIE") || strings.Contains(ua, "Trident/") {
		h.Set("X-XSS-Protection", "0")
	}
}

// post is a POST that is read or handled.
type post struct {
	abort      func() // makes reading fail
	overlapped bool   // guarded by Session.mu
}

// servePost handles the packets of a POST in their order.
func (s *Session) servePost(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	p := &post{abort: func() { _ = c.SetReadDeadline(time.Now()) }}
	s.mu.Lock()
	switch first := s.post; {
	case s.index.Load() != polling:
		s.mu.Unlock()
		s.engine.refuse(w, &query{hasSID: true}, errRequest)
		return
	case first != nil:
		first.overlapped = true
		s.mu.Unlock()
		s.overlap(w, errPostOverlap)
		first.abort()
		return
	}
	s.post = p
	s.mu.Unlock()

	status := s.handlePost(c, r)

	s.mu.Lock()
	s.post = nil
	s.letCandidateGoOnLocked()
	overlapped := p.overlapped
	s.mu.Unlock()
	switch {
	case overlapped:
		panic(http.ErrAbortHandler) // resets the connection
	case status != http.StatusOK:
		w.WriteHeader(status)
	default:
		setHeaders(w, r, "text/html", 2)
		_, _ = io.WriteString(w, "ok") // the client is gone, or reads it
	}
}

// handlePost returns the status of the answer. Malformed packets are answered like others.
func (s *Session) handlePost(c *http.ResponseController, r *http.Request) int {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/octet-stream") {
		s.end(TransportError, errContent, discard, nil)
		return http.StatusBadRequest
	}
	buf := buffers.Get().(*[]byte)
	defer freeBuffer(buf)
	body, tooLarge, err := s.readPost(c, r, (*buf)[:0])
	*buf = body
	if err != nil {
		s.end(TransportError, fmt.Errorf("engineio: data request closed prematurely: %w", err), discard, nil)
		return http.StatusBadRequest
	}
	if tooLarge { // the session lives on
		s.engine.totals.rejected("too_large")
		return http.StatusRequestEntityTooLarge
	}
	s.stripe.bytesIn[polling].Add(uint64(len(body)))
	for packet, valid := range packets(body) {
		if !valid {
			s.end(ParseError, errNotUTF8, flush, nil)
			break
		}
		if !s.packet(false, packet) {
			break
		}
	}
	return http.StatusOK
}

// readPost appends the body to b. While a POST is under way no pong can come, so a body that takes longer than
// the heartbeat allows cannot be of use.
func (s *Session) readPost(c *http.ResponseController, r *http.Request, b []byte) (body []byte, tooLarge bool, err error) {
	o := &s.engine.options
	if r.ContentLength > int64(o.MaxPayload) {
		return b, true, nil
	}
	_ = c.SetReadDeadline(time.Now().Add(o.PingInterval + o.PingTimeout))
	body, err = readAll(io.LimitReader(r.Body, int64(o.MaxPayload)+1), b)
	_ = c.SetReadDeadline(time.Time{})
	return body, len(body) > o.MaxPayload, err
}
