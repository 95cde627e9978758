package forward

import (
	"net"
	"syscall"
)

const (
	notSentLowat = 25        // TCP_NOTSENT_LOWAT
	maxNotSent   = 128 << 10 // bytes in the kernel that were not sent yet
)

// boundKernel bounds what a side that does not read pins in the kernel of this node: else the owner would not notice for
// megabytes that its client is slow.
func boundKernel(c net.Conn) {
	if r := raw(c); r != nil {
		// An old kernel does not know the option, and works without it.
		_ = r.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, notSentLowat, maxNotSent) })
	}
}
