package forward

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// bufferSize is that of the buffers for what is on its way.
const bufferSize = 16 << 10

// buffers are lent to pumps while something moves.
var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// errFinished says that a pump stopped at the end of a frame, as it was asked to.
var errFinished = errors.New("forward: the frame is complete")

// pump copies what comes from src to dst. On connections that the system can watch it waits without a buffer.
type pump struct {
	dst, src     net.Conn
	writeTimeout time.Duration
	said         *boundary // follows what dst gets, if that matters
	finish       bool      // stop at the end of the frame that is under way

	in  syscall.RawConn // of src; nil: a buffer is held while waiting
	out syscall.RawConn // of dst; nil: every write has a deadline
	try struct {        // of ready and of write
		buf  *[]byte
		n    int
		err  error
		data []byte
	}
	ready, write func(fd uintptr) bool // made once
}

func newPump(dst, src net.Conn, writeTimeout time.Duration, said *boundary) *pump {
	p := &pump{dst: dst, src: src, writeTimeout: writeTimeout, said: said, in: raw(src), out: raw(dst)}
	p.ready, p.write = p.readReady, p.writeReady
	return p
}

// raw returns the descriptor of a plain TCP connection, if the system lets us read and write it.
func raw(c net.Conn) syscall.RawConn {
	tcp, ok := c.(*net.TCPConn)
	if !ok || !rawIO {
		return nil
	}
	r, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return r
}

// run copies until src ends, which is io.EOF, or something fails.
func (p *pump) run() error {
	for {
		buf, n, err := p.read()
		if n > 0 {
			err = errors.Join(p.send((*buf)[:n]), err)
		}
		if buf != nil {
			buffers.Put(buf)
		}
		if err != nil {
			return err
		}
	}
}

// discard reads until src ends, which is io.EOF, or fails.
func (p *pump) discard() error {
	for {
		buf, _, err := p.read()
		if buf != nil {
			buffers.Put(buf)
		}
		if err != nil {
			return err
		}
	}
}

// read waits for bytes and returns them in a buffer, if there is one.
func (p *pump) read() (buf *[]byte, n int, err error) {
	if p.in == nil {
		buf = buffers.Get().(*[]byte)
		n, err = p.src.Read(*buf)
		return buf, n, err
	}
	if err := p.in.Read(p.ready); err != nil {
		return nil, 0, err
	}
	buf, n, err = p.try.buf, p.try.n, p.try.err
	p.try.buf = nil
	if n == 0 && err == nil {
		err = io.EOF
	}
	return buf, n, err
}

// readReady is called when src may have something. It returns false to wait.
func (p *pump) readReady(fd uintptr) bool {
	buf := buffers.Get().(*[]byte)
	n, again, err := sysRead(fd, *buf)
	if again {
		buffers.Put(buf)
		return false
	}
	p.try.buf, p.try.n, p.try.err = buf, n, err
	return true
}

// send writes bytes to dst, up to the end of the frame if they are to finish there.
func (p *pump) send(b []byte) error {
	var last error
	if p.said != nil {
		if p.finish {
			b = b[:p.said.finish(b)]
			if p.said.between() {
				last = errFinished
			}
		} else {
			p.said.advance(b)
		}
	}
	if p.out != nil { // as a rule there is room, and no deadline to be set
		p.try.data = b
		if err := p.out.Write(p.write); err != nil {
			return err
		}
		b, p.try.data = p.try.data, nil
		if p.try.err != nil {
			return p.try.err
		}
	}
	if len(b) == 0 {
		return last
	}
	return errors.Join(p.dst.SetWriteDeadline(time.Now().Add(p.writeTimeout)), writeAll(p.dst, b), p.dst.SetWriteDeadline(time.Time{}), last)
}

// writeReady writes what dst takes now.
func (p *pump) writeReady(fd uintptr) bool {
	var n int
	n, p.try.err = sysWrite(fd, p.try.data)
	p.try.data = p.try.data[n:]
	return true
}
