//go:build linux && !race

package epoll

import (
	"syscall"
	"unsafe"
)

// Read reads from a non-blocking descriptor.
func Read(fd int, b []byte) (int, error) { return transfer(syscall.SYS_READ, fd, b) }

// Write writes to a non-blocking descriptor.
func Write(fd int, b []byte) (int, error) { return transfer(syscall.SYS_WRITE, fd, b) }

func transfer(call uintptr, fd int, b []byte) (int, error) {
	for {
		n, _, e := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch e {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, e
		}
	}
}
