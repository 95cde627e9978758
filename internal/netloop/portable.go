package netloop

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/outbox"
)

const (
	smallRead = 512      // bytes that a portable connection holds while it waits
	largeRead = 64 << 10 // what it reads into while more than that comes
)

var largeBuffers = sync.Pool{New: func() any { b := make([]byte, largeRead); return &b }}

// portable is a connection that one goroutine reads. Another one writes while there is something to write.
type portable struct {
	loop   *Loop
	conn   net.Conn
	reader Reader
	queue  *outbox.Outbox
	format *frame.Format
	resume chan struct{}
	over   chan struct{} // it was finished, or closed

	mu      sync.Mutex
	parting []byte // last words that the reading goroutine is to write
}

var (
	_ Conn            = (*portable)(nil)
	_ outbox.Consumer = (*portable)(nil)
)

func newPortable(l *Loop, c net.Conn, r Reader) *portable {
	return &portable{loop: l, conn: c, reader: r, resume: make(chan struct{}, 1), over: make(chan struct{}, 1)}
}

func (c *portable) Read() {
	c.loop.mu.Lock()
	c.loop.conns[c] = struct{}{}
	c.loop.mu.Unlock()
	c.loop.goroutines.Go(c.read)
}

// read is the goroutine that owns the connection.
func (c *portable) read() {
	err := c.receive()
	c.mu.Lock()
	last := c.parting
	c.mu.Unlock()
	if last != nil {
		_ = c.WriteNow(last) // the peer is gone, or reads it
		c.finish()
		err = nil
	}
	if err == nil {
		if _, err = io.Copy(io.Discard, c.conn); err == nil {
			<-c.over // the last words are still to leave
			err = io.EOF
		}
	}
	_ = c.conn.Close()
	c.loop.mu.Lock()
	delete(c.loop.conns, c)
	c.loop.mu.Unlock()
	c.reader.Ended(err)
}

// receive reads until something fails, or until the reader wants no more, which is no error.
func (c *portable) receive() error {
	small := make([]byte, smallRead)
	var large *[]byte
	defer func() {
		if large != nil {
			largeBuffers.Put(large)
		}
	}()
	for {
		b := small
		if large != nil {
			b = *large
		}
		n, err := c.conn.Read(b)
		if n > 0 {
			verdict := c.reader.Receive(b[:n])
			for ; verdict == Pause; verdict = c.reader.Receive(nil) {
				<-c.resume
			}
			if verdict == Skip {
				return nil
			}
		}
		switch full := n == len(b); {
		case large == nil && full:
			large = largeBuffers.Get().(*[]byte)
		case large != nil && !full:
			largeBuffers.Put(large)
			large = nil
		}
		if err != nil {
			return err
		}
	}
}

func (c *portable) Resume() { signal(c.resume) }

// signal leaves word in a channel that has room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (c *portable) WriteNow(b []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.loop.options.WriteTimeout)); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

func (c *portable) Start(q *outbox.Outbox, format *frame.Format) {
	c.queue, c.format = q, format
	q.Attach(c)
}

// Part leaves the last words to the goroutine that reads.
func (c *portable) Part(last []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parting = last
	_ = c.conn.SetReadDeadline(time.Now()) // a connection that is gone fails its reader too
}

func (c *portable) Close() {
	_ = c.conn.Close()
	signal(c.over)
}

func (c *portable) finish() {
	if w, ok := c.conn.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite() // a connection that is gone already fails its reader too
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(c.loop.options.Linger))
	signal(c.over)
}

// Wake is called by the outbox when there is something to send.
func (c *portable) Wake() { c.loop.goroutines.Go(c.drain) }

// drain writes what is queued.
func (c *portable) drain() {
	var fs frames
	var joined []byte
	for {
		clear(fs)
		var finished bool
		fs, finished = c.queue.Take(fs[:0], turn, (*frame.Frame).Size)
		// Nothing is known of the kernel's buffer, so a backlog says whether the peer keeps up.
		backlog, _ := c.queue.Len()
		c.queue.Stall(backlog > 0)
		if len(fs) > 0 {
			b := fs[0].Encode(c.format)
			if len(fs) > 1 {
				joined = joined[:0]
				for _, f := range fs {
					joined = append(joined, f.Encode(c.format)...)
				}
				b = joined
			}
			if err := c.writeAll(b); err != nil {
				c.queue.Close()
				c.reader.WriteFailed(err)
				return
			}
			c.loop.portable.count(len(b), c.loop.portable.written(fs), 1)
		}
		if finished {
			c.finish()
			return
		}
		if len(fs) == 0 && !c.queue.Release() {
			return
		}
	}
}

// writeAll waits as long as the peer takes something within the write timeout.
func (c *portable) writeAll(b []byte) error {
	for len(b) > 0 {
		if err := c.conn.SetWriteDeadline(time.Now().Add(c.loop.options.WriteTimeout)); err != nil {
			return err
		}
		n, err := c.conn.Write(b)
		b = b[n:]
		if err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return err
		}
	}
	return nil
}
