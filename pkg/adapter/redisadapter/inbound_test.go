package redisadapter

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// TestInbound fills a queue: who pushes waits, the order is kept, and nothing is handled after it is shut.
func TestInbound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var goroutines, pushing sync.WaitGroup
		hold, first := make(chan struct{}), make(chan struct{}, 1)
		var got []int
		q := newInbound(3, 100, &goroutines, func(n int) {
			select {
			case first <- struct{}{}:
				<-hold
			default:
			}
			got = append(got, n)
		})
		pushed := 0
		pushing.Go(func() {
			for i := range 50 {
				q.push(i, 1)
				pushed++
			}
			q.push(50, 1000) // too large, but alone
			pushed++
		})
		synctest.Wait()
		if pushed != 4 {
			t.Errorf("%d items were taken, want one in work and 3 that wait", pushed)
		}
		close(hold)
		pushing.Wait()
		goroutines.Wait()
		want := make([]int, 51)
		for i := range want {
			want[i] = i
		}
		if !slices.Equal(got, want) {
			t.Errorf("handled %v, want all in their order", got)
		}
		if q.bytes != 0 || len(q.queue) != 0 {
			t.Errorf("%d items of %d bytes are left", len(q.queue), q.bytes)
		}
	})
}

// TestInboundShut lets a queue end while it is full and a call is under way.
func TestInboundShut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var goroutines, pushing sync.WaitGroup
		hold := make(chan struct{})
		handled := 0
		q := newInbound(1, 100, &goroutines, func(int) {
			<-hold
			handled++
		})
		for range 3 {
			pushing.Go(func() { q.push(1, 1) })
		}
		synctest.Wait()
		if !q.enter() {
			t.Error("an open queue cannot be entered")
		}
		q.exit()
		q.shut()
		pushing.Wait() // nobody waits any longer
		ctx, cancel := context.WithCancelCause(t.Context())
		enough := errors.New("enough")
		cancel(enough)
		if err := q.quiesce(ctx); !errors.Is(err, enough) {
			t.Errorf("quiesce with a call under way = %v, want %v", err, enough)
		}
		close(hold)
		if err := q.quiesce(t.Context()); err != nil {
			t.Errorf("quiesce = %v", err)
		}
		goroutines.Wait()
		q.push(1, 1)
		if handled != 1 || q.enter() || !q.isClosed() {
			t.Errorf("handled %d items, want only the one that was in work", handled)
		}
	})
}
