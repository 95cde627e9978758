package redisadapter

import (
	"context"
	"sync"
)

// inbound is the queue of what was received for one link and not yet delivered. It is bounded; a worker, which exists
// only while there is something to deliver, keeps the order. It also guards the link's namespace: nothing of it is
// called after close.
type inbound[T any] struct {
	limit      int // of items; an empty queue takes one of any size
	limitBytes int
	goroutines *sync.WaitGroup // of the workers
	handle     func(T)

	mu      sync.Mutex
	changed *sync.Cond // of queue, closed and calls
	queue   []received[T]
	bytes   int // in queue
	working bool
	closed  bool
	calls   int // that are under way
}

type received[T any] struct {
	item T
	size int
}

// newInbound returns an empty queue whose items go to handle, one after the other.
func newInbound[T any](limit, limitBytes int, goroutines *sync.WaitGroup, handle func(T)) *inbound[T] {
	q := &inbound[T]{limit: limit, limitBytes: limitBytes, goroutines: goroutines, handle: handle}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// push queues an item of size bytes. It waits while the queue is full, so that reading stops.
func (q *inbound[T]) push(item T, size int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed && len(q.queue) > 0 && (len(q.queue) >= q.limit || q.bytes+size > q.limitBytes) {
		q.changed.Wait()
	}
	if q.closed {
		return
	}
	q.queue = append(q.queue, received[T]{item, size})
	q.bytes += size
	if !q.working {
		q.working = true
		q.goroutines.Go(q.work)
	}
}

// add queues an item without waiting, for what is rare and small.
func (q *inbound[T]) add(item T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.queue = append(q.queue, received[T]{item: item})
	if !q.working {
		q.working = true
		q.goroutines.Go(q.work)
	}
}

// work handles items until the queue is empty.
func (q *inbound[T]) work() {
	for {
		q.mu.Lock()
		if len(q.queue) == 0 {
			q.queue = nil
			q.working = false
			q.mu.Unlock()
			return
		}
		next := q.queue[0]
		q.queue[0] = received[T]{}
		q.queue = q.queue[1:]
		q.bytes -= next.size
		q.calls++
		q.changed.Broadcast()
		q.mu.Unlock()
		q.handle(next.item)
		q.exit()
	}
}

// enter begins a call into the namespace, unless the queue is closed; exit ends it.
func (q *inbound[T]) enter() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.calls++
	return true
}

func (q *inbound[T]) exit() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.calls--; q.calls == 0 && q.closed {
		q.changed.Broadcast()
	}
}

// shut refuses everything from here on, and drops what waits.
func (q *inbound[T]) shut() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.queue, q.bytes = nil, 0
	q.changed.Broadcast()
}

// quiesce waits after shut until no call is under way, at most until ctx ends.
func (q *inbound[T]) quiesce(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.changed.Broadcast()
	})()
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.calls > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		q.changed.Wait()
	}
	return nil
}

func (q *inbound[T]) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}
