//go:build amd64 || arm64

package netloop

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/chorus/internal/epoll"
	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/outbox"
)

const noSlot = -1

// wish is what a connection wants of its shard's reading goroutine.
type wish uint8

const (
	wishResume wish = 1 << iota
	wishPart
	wishClose
)

// fast is a connection that its shard reads and writes. Only the reading goroutine closes the descriptor.
type fast struct {
	// What every write needs comes first: most of a write's own time goes into fetching it from memory.
	queue  *outbox.Outbox
	format *frame.Format
	stall  *stall // what the kernel did not take; only the writing goroutine changes it, under shard.fds, and reads it without the lock
	fd     int
	closed bool // guarded by shard.fds
	slot   int32
	shard  *shard
	reader Reader

	// Guarded by shard.mu.
	wishes  wish
	early   bool // a Resume came before its Pause
	paused  bool
	entered bool // it has a slot, or was closed before it could

	skipping  bool // of the reading goroutine
	listening bool // of the reading goroutine: the poller reports what arrives

	// Guarded by shard.fds.
	events uint32      // what the poller reports
	linger *time.Timer // closes a connection that was finished

	words []byte // of Part

	_ [16]byte // to a multiple of 64 bytes, as lines of the cache have them
}

// stall is the rest of a write that waits for the kernel.
type stall struct {
	rest     []byte // nothing: the kernel takes again, a backlog is being written
	frames   frames
	finished bool
	began    time.Time
	progress atomic.Int64 // when the kernel took something last, in ns since then
	timer    *time.Timer
}

var (
	_ Conn            = (*fast)(nil)
	_ outbox.Consumer = (*fast)(nil)
)

func (c *fast) Read() {
	s := c.shard
	if !s.enter(c) {
		c.reader.Ended(errClosed)
		return
	}
	s.fds.Lock()
	defer s.fds.Unlock()
	if c.closed {
		return
	}
	c.events |= syscall.EPOLLIN // there may be a stall already
	err := s.poller.Control(syscall.EPOLL_CTL_ADD, c.fd, c.slot, c.events)
	if err != nil { // no memory for it, or its limit
		s.ask(c, wishClose)
	}
}

// watch changes what the poller reports. shard.fds is held.
func (c *fast) watch(events uint32) {
	if c.closed || c.events == events {
		return
	}
	c.events = events
	// A descriptor that is in the set can be changed.
	_ = c.shard.poller.Control(syscall.EPOLL_CTL_MOD, c.fd, c.slot, events)
}

func (c *fast) Resume() {
	s := c.shard
	s.mu.Lock()
	if !c.paused {
		c.early = true
		s.mu.Unlock()
		return
	}
	c.paused = false
	s.mu.Unlock()
	s.ask(c, wishResume)
}

// pause says whether the connection pauses, or was resumed already.
func (c *fast) pause() bool {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	c.paused = !c.early
	c.early = false
	return c.paused
}

func (c *fast) WriteNow(b []byte) error {
	n, err := epoll.Send(c.fd, b)
	switch {
	case err != nil:
		return os.NewSyscallError("write", err)
	case n < len(b):
		return io.ErrShortWrite
	}
	return nil
}

func (c *fast) Start(q *outbox.Outbox, format *frame.Format) {
	c.queue, c.format = q, format
	q.Attach(c)
}

// Wake is called by the outbox when there is something to send.
func (c *fast) Wake() { c.shard.add(c) }

func (c *fast) Part(last []byte) {
	c.words = last
	c.shard.ask(c, wishPart)
}

func (c *fast) Close() {
	s := c.shard
	s.mu.Lock()
	unread := !c.entered // and never will be
	c.entered = true
	s.mu.Unlock()
	if !unread {
		s.ask(c, wishClose)
		return
	}
	s.fds.Lock()
	c.closed = true
	_ = syscall.Close(c.fd)
	s.fds.Unlock()
}

// finish says that nothing more will be written.
func (c *fast) finish() {
	c.shard.fds.Lock()
	defer c.shard.fds.Unlock()
	if c.closed || c.linger != nil {
		return
	}
	_ = syscall.Shutdown(c.fd, syscall.SHUT_WR) // a connection that is gone already fails its reader too
	c.linger = time.AfterFunc(c.shard.loop.options.Linger, c.Close)
}

// errClosed is why a connection ended that its owner closed.
var errClosed = errors.New("netloop: connection was closed")

// end closes the descriptor. It is called by the reading goroutine, once.
func (c *fast) end(err error) {
	s := c.shard
	s.fds.Lock()
	c.closed = true
	// Closing would do that too, but not while a child process that is about to start has a copy of the descriptor.
	_ = s.poller.Control(syscall.EPOLL_CTL_DEL, c.fd, c.slot, 0)
	_ = syscall.Close(c.fd)
	if c.linger != nil {
		c.linger.Stop()
	}
	if c.stall != nil {
		c.stall.timer.Stop()
	}
	s.fds.Unlock()
	s.exit(c)
	c.reader.Ended(err)
}

// tooSlow fails a connection that took nothing for the write timeout.
func (c *fast) tooSlow(st *stall) {
	timeout := c.shard.loop.options.WriteTimeout
	if left := timeout - time.Since(st.began) + time.Duration(st.progress.Load()); left > 0 {
		c.shard.fds.Lock()
		if c.stall == st && !c.closed {
			st.timer.Reset(left)
		}
		c.shard.fds.Unlock()
		return
	}
	c.queue.Close()
	c.reader.WriteFailed(fmt.Errorf("write: nothing was taken for %v: %w", timeout, os.ErrDeadlineExceeded))
}
