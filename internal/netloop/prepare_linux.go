package netloop

import (
	"syscall"
)

const (
	notSentLowat = 25        // TCP_NOTSENT_LOWAT
	maxNotSent   = 128 << 10 // bytes in the kernel that were not sent yet
)

// limitKernelBuffer bounds what a peer that does not read pins in the kernel: without it several megabytes
// for each connection, out of reach of the outbox's limits.
func limitKernelBuffer(fd int) {
	// An old kernel does not know the option, and works without it.
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, notSentLowat, maxNotSent)
}
