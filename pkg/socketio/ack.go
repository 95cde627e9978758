package socketio

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"example.com/chorus/pkg/socketio/parser"
)

// maxAcks bounds the acknowledgements that one socket owes.
const maxAcks = 1024

// acks are the acknowledgements that a client owes us.
type acks struct {
	mu      sync.Mutex
	waiting map[uint64]owed
	closed  bool
}

// owed is an acknowledgement that did not come yet.
type owed struct {
	since  time.Time
	answer func(ackResult) // called once, under acks.mu: it must only pass the result on
}

type ackResult struct {
	args Args
	err  error
}

func (a *acks) expect(id uint64, answer func(ackResult)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return ErrDisconnected
	}
	if len(a.waiting) >= maxAcks {
		return ErrTooManyAcks
	}
	if a.waiting == nil {
		a.waiting = make(map[uint64]owed)
	}
	a.waiting[id] = owed{time.Now(), answer}
	return nil
}

// forget gives an acknowledgement up and reports whether it was still expected.
func (a *acks) forget(id uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, waiting := a.waiting[id]
	delete(a.waiting, id)
	return waiting
}

// resolve gives an acknowledgement to who waits for it, and tells since when. One that nobody waits for is ignored, as
// in Node.
func (a *acks) resolve(id uint64, args Args) (since time.Time, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	o, ok := a.waiting[id]
	if ok {
		delete(a.waiting, id)
		o.answer(ackResult{args: args})
	}
	return o.since, ok
}

// close fails all that are outstanding and returns how many those are.
func (a *acks) close() (failed int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	failed = len(a.waiting)
	for id, o := range a.waiting {
		delete(a.waiting, id)
		o.answer(ackResult{err: ErrDisconnected})
	}
	return failed
}

// reply is an acknowledgement that we owe a client.
type reply struct {
	socket *Socket
	id     uint64
	sent   atomic.Bool
	server func(*payload) error // takes the acknowledgement in place of a client, for another node
}

func (r *reply) send(ctx context.Context, values []any) error {
	if r.sent.Swap(true) {
		return fmt.Errorf("socketio: ack: %w", ErrAcked)
	}
	p := takePayload()
	defer p.release()
	if err := p.array(nil, values); err != nil {
		return fmt.Errorf("socketio: ack: %w", err)
	}
	if r.server != nil {
		if err := r.server(p); err != nil {
			return fmt.Errorf("socketio: ack: %w", err)
		}
		return nil
	}
	f, _, err := p.packet(r.socket.nsp, parser.Ack, r.id, true)
	if err == nil {
		err = r.socket.sendWait(ctx, f)
	}
	if err != nil {
		return fmt.Errorf("socketio: ack: %w", err)
	}
	r.socket.nsp.count.acks.Add(1)
	return nil
}
