//go:build linux && (race || (!amd64 && !arm64))

package epoll

import "syscall"

// Receive reads from a socket, by the call that the scheduler is told of and the race detector knows: what one goroutine
// did before it sent happens before what another one does that has received. Some processors have no recvfrom.
func Receive(fd int, b []byte) (int, error) { return read(fd, b) }

// Send writes to a socket, as Receive reads.
func Send(fd int, b []byte) (int, error) { return write(fd, b) }

func read(fd int, b []byte) (int, error) { return transfer(syscall.Read, fd, b) }

func write(fd int, b []byte) (int, error) { return transfer(syscall.Write, fd, b) }

func transfer(call func(int, []byte) (int, error), fd int, b []byte) (int, error) {
	for {
		n, err := call(fd, b)
		switch err {
		case nil:
			return n, nil
		case syscall.EINTR:
		default:
			return 0, err
		}
	}
}
