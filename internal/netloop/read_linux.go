//go:build amd64 || arm64

package netloop

import (
	"io"
	"os"
	"runtime"
	"syscall"

	"example.com/chorus/internal/epoll"
)

const (
	readSize  = 64 << 10 // at most so much of one connection before the next has its turn
	eventSize = 256
)

// read is the goroutine that reads. It never waits for a connection, so there are no deadlines: who sends half a
// message is ended by the heartbeat.
func (s *shard) read() {
	events := make([]syscall.EpollEvent, eventSize)
	buf := make([]byte, readSize)
	var asking []*fast
	for {
		n := s.poller.Wait(events)
		s.reads.answer()
		asked := false
		for _, ev := range events[:n] {
			if ev.Fd == epoll.Woken {
				asked = true
				continue
			}
			s.mu.Lock()
			c := s.slots[ev.Fd]
			s.mu.Unlock()
			c.ready(ev.Events, buf)
		}
		if n == len(events) {
			runtime.Gosched() // more waits: whom this round woke comes first, else thousands of workers pile up
		}
		if !asked {
			continue
		}
		// Behind the events, so that none is meant for a connection that had the slot before.
		s.poller.Calm()
		s.mu.Lock()
		asking, s.asking = s.asking, asking[:0]
		stopping := s.stopping
		s.mu.Unlock()
		for _, c := range asking {
			c.grant()
		}
		clear(asking)
		if stopping {
			return
		}
	}
}

// ready serves one event of the poller.
func (c *fast) ready(events uint32, buf []byte) {
	if events&syscall.EPOLLOUT != 0 {
		s := c.shard
		s.fds.Lock()
		c.watch(c.events &^ syscall.EPOLLOUT)
		s.fds.Unlock()
		s.add(c)
	}
	if !c.listening { // paused: what the poller reports all the same is the end
		if events&(syscall.EPOLLERR|syscall.EPOLLHUP) != 0 {
			c.end(c.failure())
		}
		return
	}
	if events&^uint32(syscall.EPOLLOUT) == 0 {
		return
	}
	n, err := epoll.Receive(c.fd, buf)
	switch {
	case err == syscall.EAGAIN:
	case err != nil:
		c.end(os.NewSyscallError("read", err))
	case n == 0 && c.skipping: // the last words are still to leave; once they have, the poller reports the end all the same
		c.listen(false)
	case n == 0:
		c.end(io.EOF)
	case !c.skipping:
		c.receive(buf[:n])
	}
}

// failure returns why a connection failed.
func (c *fast) failure() error {
	if e, err := syscall.GetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_ERROR); err == nil && e != 0 {
		return os.NewSyscallError("read", syscall.Errno(e))
	}
	return io.EOF
}

// receive gives bytes to the reader.
func (c *fast) receive(b []byte) {
	verdict := c.reader.Receive(b)
	for verdict == Pause && !c.pause() {
		verdict = c.reader.Receive(nil)
	}
	if verdict == Skip {
		c.skipping = true
	}
	c.listen(verdict != Pause)
}

// listen says whether the poller is to report what arrives.
func (c *fast) listen(on bool) {
	if on == c.listening {
		return
	}
	c.listening = on
	c.shard.fds.Lock()
	defer c.shard.fds.Unlock()
	events := c.events &^ syscall.EPOLLIN
	if on {
		events |= syscall.EPOLLIN
	}
	c.watch(events)
}

// grant does what a connection wants.
func (c *fast) grant() {
	s := c.shard
	s.mu.Lock()
	wishes := c.wishes
	c.wishes = 0
	s.mu.Unlock()
	if c.slot == noSlot { // it ended meanwhile
		return
	}
	if wishes&wishClose != 0 {
		c.end(errClosed)
		return
	}
	if wishes&wishPart != 0 {
		c.skipping = true
		_ = c.WriteNow(c.words) // the peer is gone, or reads it
		c.finish()
		c.listen(true)
	}
	if wishes&wishResume != 0 && !c.skipping {
		c.receive(nil)
	}
}
