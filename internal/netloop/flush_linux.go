//go:build amd64 || arm64

package netloop

import (
	"syscall"
	"time"

	"example.com/chorus/internal/epoll"
	"example.com/chorus/internal/frame"
)

const (
	arenaSize = 256 << 10 // joined frames of one batch; a turn fits in any format
	batchSize = 256       // connections
	maxFrames = 16 << 10  // frames of one batch
)

// write is one non-waiting send.
type write struct {
	conn        *fast
	fd          int // negative: closed meanwhile
	b           []byte
	first, last int // its frames
	sent        int // bytes that the kernel took
	finished    bool
	released    bool // nothing waits behind it: if it is sent whole, there is nothing to look after
}

// submitter sends a batch without waiting.
type submitter interface {
	// submit tries each write whose fd is not negative once and sets how much was sent. An error of one
	// connection is a write of nothing: who sends the rest will meet the error again.
	submit(batch []write)
	close()
}

// oneByOne makes one system call for each write.
type oneByOne struct{}

func (oneByOne) submit(batch []write) {
	for i := range batch {
		w := &batch[i]
		if w.fd < 0 {
			continue
		}
		w.sent, _ = epoll.Send(w.fd, w.b)
	}
}

func (oneByOne) close() {}

// ahead is for how many connections flush fetches memory at the same time.
const ahead = 16

// flush sends what waits for the connections of a list.
func (s *shard) flush(list []*fast) {
	for ; len(list) > 0; list = list[min(ahead, len(list)):] {
		near := list[:min(ahead, len(list))]
		for _, c := range near {
			c.queue.Fetch()
		}
		for _, c := range near {
			s.collect(c)
		}
	}
	s.send()
}

// collect adds to the batch what a connection has to send: the rest of its last write, or its queue.
func (s *shard) collect(c *fast) {
	first := len(s.frames)
	w := write{conn: c, first: first}
	if st := c.stall; st != nil && len(st.rest) > 0 {
		w.b, w.finished = st.rest, st.finished
		s.frames = append(s.frames, st.frames...)
	} else {
		s.frames, w.released, w.finished = c.queue.TakeReleasing(s.frames, turn, (*frame.Frame).Size)
		b, ok := s.join(c.format, s.frames[first:])
		if !ok { // the arena is full of the connections before
			mine := append(frames(nil), s.frames[first:]...)
			clear(s.frames[first:])
			s.frames = s.frames[:first]
			s.send()
			w.first, s.frames = 0, append(s.frames, mine...)
			b, _ = s.join(c.format, s.frames)
		}
		w.b = b
	}
	w.last = len(s.frames)
	s.batch = append(s.batch, w)
	if len(s.batch) == batchSize || len(s.frames) >= maxFrames {
		s.send()
	}
}

// join returns the bytes of frames: those of a single one as they are, those of several from the arena.
func (s *shard) join(format *frame.Format, fs frames) (b []byte, ok bool) {
	if len(fs) < 2 {
		if len(fs) == 0 {
			return nil, true
		}
		return fs[0].Encode(format), true
	}
	start := len(s.arena)
	for _, f := range fs {
		b := f.Encode(format)
		if len(s.arena)+len(b) > cap(s.arena) {
			s.arena = s.arena[:start]
			return nil, false
		}
		s.arena = append(s.arena, b...)
	}
	return s.arena[start:len(s.arena):len(s.arena)], true
}

// send submits the batch and looks after what became of it.
func (s *shard) send() {
	if len(s.batch) == 0 {
		return
	}
	s.fds.Lock()
	for i := range s.batch {
		w := &s.batch[i]
		w.fd = w.conn.fd
		if w.conn.closed || len(w.b) == 0 {
			w.fd = -1
		}
	}
	s.submit.submit(s.batch)
	s.fds.Unlock()

	bytes, deliveries, flushes := 0, 0, 0
	for i := range s.batch {
		w := &s.batch[i]
		fs := s.frames[w.first:w.last]
		bytes += w.sent
		switch {
		case w.sent == len(w.b):
			if w.sent > 0 {
				flushes++
			}
			deliveries += s.tally.written(fs)
			if !w.released { // else the connection need not be fetched from memory once more
				w.conn.sent(w.finished)
			}
		case w.fd < 0:
			w.conn.queue.Close()
		default:
			s.fallBehind(w, fs)
		}
	}
	s.totals.take(&s.tally)
	s.totals.count(bytes, deliveries, flushes)
	clear(s.batch)
	clear(s.frames)
	s.batch, s.frames, s.arena = s.batch[:0], s.frames[:0], s.arena[:0]
}

// sent looks after a connection whose write was complete. What waits behind a stall goes on at once.
func (c *fast) sent(finished bool) {
	if finished {
		c.recovered()
		c.finish()
		return
	}
	if c.stall != nil {
		if _, n := c.queue.Len(); n > 0 {
			c.stall.rest, c.stall.frames = nil, nil
			c.stall.moved()
			c.shard.add(c)
			return
		}
		c.queue.Stall(false)
		c.recovered()
	}
	if c.queue.Release() {
		c.shard.add(c)
	}
}

// recovered ends a stall.
func (c *fast) recovered() {
	if c.stall == nil {
		return
	}
	c.shard.fds.Lock()
	defer c.shard.fds.Unlock()
	c.stall.timer.Stop()
	c.stall = nil
}

// moved notes that the kernel took something.
func (st *stall) moved() { st.progress.Store(int64(time.Since(st.began))) }

// fallBehind keeps the rest of a write until the kernel takes more.
func (s *shard) fallBehind(w *write, fs frames) {
	c := w.conn
	woken := c.queue.Hold() && w.released // and so in the shard's list
	rest := w.b[w.sent:]
	s.fds.Lock()
	defer s.fds.Unlock()
	if c.closed {
		c.queue.Close()
		return
	}
	st := c.stall
	if st == nil {
		st = &stall{began: time.Now()}
		st.timer = time.AfterFunc(s.loop.options.WriteTimeout, func() { c.tooSlow(st) })
		c.stall = st
	}
	if w.sent > 0 {
		st.moved()
	}
	if len(st.rest) == 0 {
		if len(fs) > 1 { // in the arena
			rest = append([]byte(nil), rest...)
		}
		st.frames, st.finished = append(frames(nil), fs...), w.finished
	}
	st.rest = rest
	if !woken { // else its turn comes anyway, and the poller must not put it into the list once more
		c.watch(c.events | syscall.EPOLLOUT)
	}
}
