//go:build linux

package epoll

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// Conn returns a connection that reads and writes c by the calls of this package, if c is plain TCP; else c itself.
func Conn(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	return &conn{tcp, raw}
}

// conn waits in Go's poller as a net.Conn does, and heeds its deadlines.
type conn struct {
	*net.TCPConn
	raw syscall.RawConn
}

func (c *conn) Read(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	waited := c.raw.Read(func(fd uintptr) bool {
		n, err = Receive(int(fd), b)
		return !errors.Is(err, syscall.EAGAIN)
	})
	switch {
	case waited != nil:
		return 0, waited
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func (c *conn) Write(b []byte) (n int, err error) {
	for n < len(b) {
		var m int
		waited := c.raw.Write(func(fd uintptr) bool {
			m, err = Send(int(fd), b[n:])
			return !errors.Is(err, syscall.EAGAIN)
		})
		switch {
		case waited != nil:
			return n, waited
		case err != nil:
			return n, os.NewSyscallError("write", err)
		}
		n += m
	}
	return n, nil
}
