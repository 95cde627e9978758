//go:build linux

package main

import (
	"syscall"
	"time"
)

// preciseSleep sleeps in the kernel: Go's own timers may be a millisecond
// late, which would be charged to the server.
func preciseSleep(d time.Duration) {
	if d <= 0 {
		return
	}
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil) // woken early by a signal: the caller looks at the clock again
}
