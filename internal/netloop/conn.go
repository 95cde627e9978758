package netloop

import (
	"errors"
	"net"
	"os"
	"time"

	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/outbox"
)

// Conn is a connection whose writing side belongs to a loop once it was started. Reading it, and closing it,
// is its owner's part: the one goroutine that reads must call Close when it is done.
type Conn struct {
	net.Conn
	shard  *shard
	queue  *outbox.Outbox
	format *frame.Format
	next   *Conn        // in the shard's list
	write  func([]byte) // what Write does
	failed func(error)
	fd     int  // negative: no descriptor to write to without waiting
	closed bool // guarded by shard.fds
}

var _ outbox.Consumer = (*Conn)(nil)

// Intercept hands what is given to Write to f from now on, and makes write deadlines the loop's: nothing may
// pass the queue.
func (c *Conn) Intercept(f func([]byte)) { c.write = f }

// Start makes the connection the consumer of q, whose frames leave in the given format. failed is called at most once, from a goroutine of the loop,
// when a write failed or timed out. When the last frame of q has left, the connection finishes.
func (c *Conn) Start(q *outbox.Outbox, format *frame.Format, failed func(error)) {
	c.queue, c.format, c.failed = q, format, failed
	q.Attach(c)
}

// WriteNow writes to a connection that was not started.
func (c *Conn) WriteNow(b []byte) error {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(c.shard.loop.options.WriteTimeout)); err != nil {
		return err
	}
	_, err := c.Conn.Write(b)
	return err
}

// Wake is called by the outbox when there is something to send.
func (c *Conn) Wake() { c.shard.add(c) }

// Write passes b on, to the function given to Intercept if there is one.
func (c *Conn) Write(b []byte) (int, error) {
	if c.write == nil {
		return c.Conn.Write(b)
	}
	c.write(b)
	return len(b), nil
}

// SetDeadline sets the read deadline and, before Intercept, the write deadline.
func (c *Conn) SetDeadline(t time.Time) error {
	if c.write == nil {
		return c.Conn.SetDeadline(t)
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline does nothing after Intercept.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.write == nil {
		return c.Conn.SetWriteDeadline(t)
	}
	return nil
}

// Close closes the connection at once.
func (c *Conn) Close() error {
	c.shard.fds.Lock()
	c.closed = true
	c.shard.fds.Unlock()
	return c.Conn.Close()
}

// Finish says that nothing more will be written. The peer has the loop's linger time to read what is under
// way and to hang up, then reading fails: closing with unread input at once would reset the connection, and
// the peer might never see the last words.
func (c *Conn) Finish() {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite() // a connection that is gone already fails its reader too
	}
	_ = c.Conn.SetReadDeadline(time.Now().Add(c.shard.loop.options.Linger))
}

// sent looks after a connection whose write was complete.
func (c *Conn) sent(finished bool) {
	switch {
	case finished:
		c.Finish()
	case c.queue.Release():
		c.shard.add(c)
	}
}

// drain writes the rest of a write, then all that is queued, and gives the connection back to its shard.
func (c *Conn) drain(rest []byte, fs frames, finished bool) {
	var joined []byte
	for {
		if len(rest) > 0 {
			if err := c.writeAll(rest); err != nil {
				c.queue.Close()
				c.failed(err)
				return
			}
			c.shard.count(len(rest), written(fs), 1)
		}
		if finished {
			c.Finish()
			return
		}
		clear(fs)
		fs, finished = c.queue.Take(fs[:0], turn, (*frame.Frame).Size)
		switch len(fs) {
		case 0:
			c.queue.Stall(false)
			if !c.queue.Release() {
				return
			}
			rest = nil
		case 1:
			rest = fs[0].Encode(c.format)
		default:
			joined = joined[:0]
			for _, f := range fs {
				joined = append(joined, f.Encode(c.format)...)
			}
			rest = joined
		}
		if c.fd < 0 { // this goroutine says nothing about the kernel's buffer, a backlog does
			backlog, _ := c.queue.Len()
			c.queue.Stall(backlog > 0)
		}
	}
}

// writeAll waits as long as the peer takes something within the write timeout.
func (c *Conn) writeAll(b []byte) error {
	for len(b) > 0 {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.shard.loop.options.WriteTimeout)); err != nil {
			return err
		}
		n, err := c.Conn.Write(b)
		b = b[n:]
		if err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return err
		}
	}
	return nil
}
