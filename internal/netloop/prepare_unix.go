//go:build unix

package netloop

import (
	"net"
	"syscall"
)

// prepare returns the descriptor of a plain TCP connection, else a negative number. The net.Conn keeps owning
// it; Conn.Close excludes its use.
func prepare(c net.Conn) int {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return -1
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return -1
	}
	n := -1
	if raw.Control(func(fd uintptr) { n = int(fd) }) != nil {
		return -1
	}
	limitKernelBuffer(n)
	return n
}

// oneByOne makes one system call for each write.
type oneByOne struct{}

func (oneByOne) submit(batch []write) {
	for i := range batch {
		w := &batch[i]
		if w.fd < 0 {
			continue
		}
		for {
			n, err := syscall.Write(w.fd, w.b)
			if err == syscall.EINTR {
				continue
			}
			w.sent = max(n, 0)
			break
		}
	}
}

func (oneByOne) close() {}
