package socketio

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
)

func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := workers{idle: make(chan struct{}, 1)}
		before := runtime.NumGoroutine()
		others := func() int {
			synctest.Wait()
			return runtime.NumGoroutine() - before
		}
		ran := 0
		for range 100 {
			w.start(func() { ran++ })
			synctest.Wait()
		}
		if n := others(); ran != 100 || n != 1 {
			t.Errorf("%d of 100 ran, %d goroutines stayed, want 1", ran, n)
		}

		busy := make(chan struct{})
		for range 5 * parkedWorkers {
			w.start(func() { <-busy })
		}
		w.start(runtime.Goexit)
		w.start(func() {})
		if n := others(); n < 5*parkedWorkers {
			t.Errorf("%d goroutines for %d that wait", n, 5*parkedWorkers)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.wait(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("wait = %v while some run, want canceled", err)
		}
		close(busy)
		if err := w.wait(t.Context()); err != nil {
			t.Error(err)
		}
		w.start(func() {})
		if n := others(); n != 0 {
			t.Errorf("%d goroutines after the end", n)
		}
	})
}

func BenchmarkWorkers(b *testing.B) {
	w := workers{idle: make(chan struct{}, 1)}
	done := make(chan struct{})
	b.ReportAllocs()
	for b.Loop() {
		w.start(func() { done <- struct{}{} })
		<-done
	}
	_ = w.wait(b.Context())
}
