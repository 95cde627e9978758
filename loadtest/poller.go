//go:build linux

package main

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// A poller tells which connections can be read or written. Connections have
// the number under which they were added.
type poller struct{ fd int }

func newPoller() (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &poller{fd}, nil
}

func (p *poller) add(fd, number int) error {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(number)}
	if err := syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

func (p *poller) remove(fd int) error {
	if err := syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_DEL, fd, nil); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// watchWrites chooses whether room for writing is reported too.
func (p *poller) watchWrites(fd, number int, on bool) error {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(number)}
	if on {
		event.Events |= syscall.EPOLLOUT
	}
	if err := syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_MOD, fd, &event); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// wait fills events, waiting at most timeout.
func (p *poller) wait(events []syscall.EpollEvent, timeout time.Duration) (int, error) {
	n, err := syscall.EpollWait(p.fd, events, int(timeout.Milliseconds()))
	if errors.Is(err, syscall.EINTR) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("epoll_wait: %w", err)
	}
	return n, nil
}

func (p *poller) close() error { return syscall.Close(p.fd) }

// preciseSleep sleeps in the kernel: Go's own timers may be a millisecond
// late, which would be charged to the server.
func preciseSleep(d time.Duration) {
	if d <= 0 {
		return
	}
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil) // woken early by a signal: the caller looks at the clock again
}
