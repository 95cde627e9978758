//go:build linux

// Package epoll waits for many descriptors, and reads and writes those that are ready, at the lowest price that Go's
// scheduler allows.
//
// A system call that the scheduler is told of wakes the runtime's monitor when the process was idle before, and the
// monitor then looks around every 20 us for a millisecond or more: a quarter of the processor time of a message that
// comes alone. It is for calls that may wait. Those of this package never do, so the scheduler is not told; their
// descriptors must be non-blocking. Who makes many of them in a row delays a garbage collection for as long.
package epoll

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// Woken is the number of the event that Wake causes.
const Woken = -1

// Set is an epoll set with a descriptor that wakes who waits for it. Go's own poller watches the set, so that the
// goroutine that waits is parked like any other: no thread of its own sleeps in epoll_wait, from which it would have
// to come back for every event and find a processor again.
type Set struct {
	file  *os.File // of the set
	raw   syscall.RawConn
	epoll int
	event int

	try    func(fd uintptr) bool // of Wait, made once
	events []syscall.EpollEvent
	n      int
}

// New makes a set. It fails where Go's poller cannot watch one.
func New() (*Set, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	event, _, e := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if e != 0 {
		_ = syscall.Close(epoll)
		return nil, fmt.Errorf("eventfd2: %w", e)
	}
	s := &Set{epoll: epoll, event: int(event)}
	s.try = s.look
	err = s.Control(syscall.EPOLL_CTL_ADD, s.event, Woken, syscall.EPOLLIN)
	if err == nil {
		err = syscall.SetNonblock(epoll, true) // which is how os learns that it can be waited for
	}
	s.file = os.NewFile(uintptr(epoll), "epoll")
	if err == nil {
		err = s.file.SetReadDeadline(time.Time{}) // fails for what Go's poller does not watch
	}
	if err == nil {
		s.raw, err = s.file.SyscallConn()
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return s, nil
}

// Wait waits for events, whose field Fd is the number that Control was given, and returns how many there are. One
// goroutine calls it.
func (s *Set) Wait(events []syscall.EpollEvent) int {
	s.events = events
	if err := s.raw.Read(s.try); err != nil {
		panic(fmt.Errorf("epoll: wait for events: %w", err)) // the set is ours, and open
	}
	return s.n
}

func (s *Set) look(fd uintptr) (found bool) {
	n, _, e := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(unsafe.SliceData(s.events))),
		uintptr(len(s.events)), 0, 0, 0)
	if e != 0 && e != syscall.EINTR {
		panic(fmt.Errorf("epoll: epoll_pwait: %w", e))
	}
	if s.n = int(n); e != 0 {
		s.n = 0
	}
	return s.n != 0
}

// Control changes what is reported of a descriptor, and by which number.
func (s *Set) Control(op, fd int, number int32, events uint32) error {
	if err := syscall.EpollCtl(s.epoll, op, fd, &syscall.EpollEvent{Events: events, Fd: number}); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// Wake causes an event with the number Woken, until Calm is called.
func (s *Set) Wake() { _, _ = write(s.event, one) } // full means that it is awake

// Calm takes back all calls of Wake.
func (s *Set) Calm() {
	var count [8]byte
	_, _ = read(s.event, count[:])
}

// Close closes the set, for which nobody waits any more.
func (s *Set) Close() {
	_ = syscall.Close(s.event)
	_ = s.file.Close()
}
