package socketio

import (
	"context"
	"sync"

	"example.com/chorus/pkg/adapter"
)

// Bounds of what other nodes asked for and what waits in one namespace. An empty queue takes a message of any size.
const (
	jobsQueued = 1024
	jobsBytes  = 16 << 20
)

// jobs is work for other nodes, done one after the other in the order in which it came. A worker goroutine exists while
// there is some.
type jobs struct {
	mu      sync.Mutex
	waiting []job
	bytes   int
	running bool
	ended   bool

	once   sync.Once
	ctx    context.Context // of the work
	cancel context.CancelFunc
}

type job struct {
	size int
	do   func(ctx context.Context)
}

// push queues work. It fails when there is too much; after end, nothing is queued.
func (q *jobs) push(w *workers, size int, do func(context.Context)) (ok bool) {
	q.once.Do(q.begin)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return true
	}
	if len(q.waiting) >= jobsQueued || len(q.waiting) > 0 && q.bytes+size > jobsBytes {
		return false
	}
	q.waiting = append(q.waiting, job{size, do})
	q.bytes += size
	if !q.running {
		q.running = true
		w.start(q.run)
	}
	return true
}

func (q *jobs) begin() { q.ctx, q.cancel = context.WithCancel(context.Background()) }

func (q *jobs) run() {
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 {
			q.waiting = nil
			q.running = false
			q.mu.Unlock()
			return
		}
		j := q.waiting[0]
		q.waiting[0] = job{}
		q.waiting = q.waiting[1:]
		q.bytes -= j.size
		q.mu.Unlock()
		j.do(q.ctx)
	}
}

// end takes no more work and ends the context of what there is.
func (q *jobs) end() {
	q.once.Do(q.begin)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.cancel()
}

// messageSize is what a message costs while it waits.
func messageSize(m *adapter.Message) int {
	size := len(m.Packet.Data)
	for _, a := range m.Packet.Attachments {
		size += len(a)
	}
	for _, names := range [][]string{m.Rooms, m.Except} {
		for _, name := range names {
			size += len(name)
		}
	}
	return size
}
