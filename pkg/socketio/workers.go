package socketio

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

const parkedWorkers = 16

// workers are the goroutines of inboxes and jobs, which come and go with events. A few stay and wait for the next one: each
// new goroutine has to grow its stack anew, which costs more than a short handler.
type workers struct {
	active  atomic.Int64
	waiting atomic.Bool
	idle    chan struct{} // has room for one

	mu     sync.Mutex    // is only tried on the way of events: who does not get it does without
	parked []chan func() // goroutines that wait, at most parkedWorkers
	ended  bool
}

// start calls run in a goroutine.
func (w *workers) start(run func()) {
	w.active.Add(1)
	if next := w.unpark(); next != nil {
		next <- run
		return
	}
	go w.work(run)
}

func (w *workers) work(run func()) {
	next := make(chan func(), 1)
	for ok := true; ok; run, ok = <-next {
		w.do(run)
		if !w.park(next) {
			return
		}
	}
}

// do calls run, which may end its goroutine.
func (w *workers) do(run func()) {
	defer w.done()
	run()
}

func (w *workers) park(next chan func()) bool {
	if !w.mu.TryLock() {
		return false
	}
	defer w.mu.Unlock()
	if w.ended || len(w.parked) >= parkedWorkers {
		return false
	}
	w.parked = append(w.parked, next)
	return true
}

// unpark returns where the goroutine that was parked last expects its next work; nil if there is none.
func (w *workers) unpark() (next chan func()) {
	if !w.mu.TryLock() {
		return nil
	}
	defer w.mu.Unlock()
	if n := len(w.parked); n > 0 {
		next, w.parked = w.parked[n-1], w.parked[:n-1]
	}
	return next
}

func (w *workers) done() {
	if w.active.Add(-1) == 0 && w.waiting.Load() {
		select {
		case w.idle <- struct{}{}:
		default:
		}
	}
}

// wait returns when no goroutine has work, or with an error when ctx ends. None waits for work any more from then on.
func (w *workers) wait(ctx context.Context) error {
	defer w.end()
	w.waiting.Store(true)
	for w.active.Load() > 0 {
		select {
		case <-w.idle:
		case <-ctx.Done():
			return fmt.Errorf("%d handlers still run: %w", w.active.Load(), context.Cause(ctx))
		}
	}
	return nil
}

func (w *workers) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	for _, next := range w.parked {
		close(next)
	}
	w.parked = nil
}
