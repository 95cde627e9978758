//go:build linux && race

package epoll

import "syscall"

// Read reads from a non-blocking descriptor, by the call that the race detector knows: what one goroutine did before it
// wrote happens before what another one does that has read.
func Read(fd int, b []byte) (int, error) { return transfer(syscall.Read, fd, b) }

// Write writes to a non-blocking descriptor, as Read does.
func Write(fd int, b []byte) (int, error) { return transfer(syscall.Write, fd, b) }

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
