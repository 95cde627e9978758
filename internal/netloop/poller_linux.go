//go:build amd64 || arm64

package netloop

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// poller is an epoll set with a descriptor that wakes who waits for it. Go's own poller watches the set, so that the
// goroutine that waits is parked like any other: no thread of its own sleeps in epoll_wait, from which it would have
// to come back for every event and find a processor again.
type poller struct {
	file  *os.File // of the set
	raw   syscall.RawConn
	epoll int
	event int

	try    func(fd uintptr) bool // of wait, made once
	events []syscall.EpollEvent
	n      int
}

func newPoller() (*poller, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	event, _, e := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if e != 0 {
		_ = syscall.Close(epoll)
		return nil, fmt.Errorf("eventfd2: %w", e)
	}
	p := &poller{epoll: epoll, event: int(event)}
	p.try = p.look
	err = p.control(syscall.EPOLL_CTL_ADD, p.event, noSlot, syscall.EPOLLIN)
	if err == nil {
		err = syscall.SetNonblock(epoll, true) // which is how os learns that it can be waited for
	}
	p.file = os.NewFile(uintptr(epoll), "epoll")
	if err == nil {
		err = p.file.SetReadDeadline(time.Time{}) // fails for what Go's poller does not watch
	}
	if err == nil {
		p.raw, err = p.file.SyscallConn()
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("poller: %w", err)
	}
	return p, nil
}

// wait waits for events and returns how many there are. One goroutine calls it.
func (p *poller) wait(events []syscall.EpollEvent) int {
	p.events = events
	if err := p.raw.Read(p.try); err != nil {
		panic(fmt.Errorf("netloop: wait for events: %w", err)) // the set is ours, and open
	}
	return p.n
}

func (p *poller) look(fd uintptr) (found bool) {
	n, err := syscall.EpollWait(int(fd), p.events, 0)
	if err != nil && !errors.Is(err, syscall.EINTR) {
		panic(fmt.Errorf("netloop: epoll_wait: %w", err))
	}
	p.n = max(n, 0)
	return n != 0
}

// control changes what is reported of a descriptor, with the slot by which the reading goroutine knows it.
func (p *poller) control(op, fd int, slot int32, events uint32) error {
	if err := syscall.EpollCtl(p.epoll, op, fd, &syscall.EpollEvent{Events: events, Fd: slot}); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

func (p *poller) wake() { _, _ = syscall.Write(p.event, one) } // full means that it is awake

// calm takes back all calls of wake.
func (p *poller) calm() {
	var count [8]byte
	_, _ = syscall.Read(p.event, count[:])
}

func (p *poller) close() {
	_ = syscall.Close(p.event)
	_ = p.file.Close()
}
