//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// progress shows one line that is rewritten each second.
type progress struct {
	w   io.Writer
	end string // behind each line
}

// terminal shows progress on the standard error: a line that is rewritten, or
// lines if it is not a terminal.
func terminal() *progress {
	info, err := os.Stderr.Stat()
	if err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return &progress{os.Stderr, "\x1b[K\r"}
	}
	return &progress{os.Stderr, "\n"}
}

// watch shows line() each second until the returned function is called. A nil
// progress shows nothing.
func (p *progress) watch(line func() string) (stop func()) {
	if p == nil {
		return func() {}
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprint(p.w, line(), p.end)
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}
