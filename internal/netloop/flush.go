package netloop

import (
	"example.com/chorus/internal/frame"
)

const (
	turn      = 64 << 10  // bytes of joined frames that one connection may send before the next has its turn
	arenaSize = 256 << 10 // joined frames of one batch; a turn fits in any format
	batchSize = 256       // connections
	maxFrames = 16 << 10  // frames of one batch
)

type frames []*frame.Frame

// write is one non-waiting send.
type write struct {
	conn        *Conn
	fd          int // negative: closed meanwhile
	b           []byte
	first, last int // its frames
	finished    bool
	sent        int // bytes that the kernel took
}

// submitter sends a batch without waiting.
type submitter interface {
	// submit tries each write whose fd is not negative once and sets how much was sent. An error of one
	// connection is a write of nothing: who sends the rest will meet the error again.
	submit(batch []write)
	close()
}

// flush sends what waits for the connections of a list.
func (s *shard) flush(c *Conn) {
	for c != nil {
		next := c.next
		c.next = nil // c may be added again as soon as it is released
		if c.fd < 0 {
			s.drain(c, nil, nil, false)
		} else {
			s.collect(c)
		}
		c = next
	}
	s.send()
}

// collect adds a connection's queue to the batch.
func (s *shard) collect(c *Conn) {
	first := len(s.frames)
	var finished bool
	s.frames, finished = c.queue.Take(s.frames, turn, (*frame.Frame).Size)
	b, ok := s.join(c.format, s.frames[first:])
	if !ok { // the arena is full of the connections before
		mine := append(frames(nil), s.frames[first:]...)
		s.frames = s.frames[:first]
		s.send()
		first, s.frames = 0, append(s.frames, mine...)
		b, _ = s.join(c.format, s.frames)
	}
	s.batch = append(s.batch, write{conn: c, b: b, first: first, last: len(s.frames), finished: finished})
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
			deliveries += written(fs)
			w.conn.sent(w.finished)
		case w.fd < 0:
			w.conn.queue.Close()
		default:
			s.fallBehind(w, fs)
		}
	}
	s.count(bytes, deliveries, flushes)
	clear(s.batch)
	clear(s.frames)
	s.batch, s.frames, s.arena = s.batch[:0], s.frames[:0], s.arena[:0]
}

// fallBehind leaves the rest of a write to a goroutine.
func (s *shard) fallBehind(w *write, fs frames) {
	rest := w.b[w.sent:]
	if len(fs) > 1 { // in the arena
		rest = append([]byte(nil), rest...)
	}
	fs = append(frames(nil), fs...)
	w.conn.queue.Stall(true)
	s.drain(w.conn, rest, fs, w.finished)
}

func (s *shard) drain(c *Conn, rest []byte, fs frames, finished bool) {
	s.loop.drainers.Go(func() { c.drain(rest, fs, finished) })
}

// written tells frames that they left and returns how many messages they are.
func written(fs frames) (messages int) {
	for _, f := range fs {
		messages += f.Messages()
		f.Written()
	}
	return messages
}
