package socketio

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"example.com/chorus/pkg/socketio/parser"
)

// maxAcks bounds the acknowledgements that one socket owes.
const maxAcks = 1024

// acks are the acknowledgements that a client owes us.
type acks struct {
	mu      sync.Mutex
	waiting map[uint64]chan ackResult // each with room for its one result
	closed  bool
}

type ackResult struct {
	args Args
	err  error
}

func (a *acks) expect(id uint64) (chan ackResult, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, ErrDisconnected
	}
	if len(a.waiting) >= maxAcks {
		return nil, ErrTooManyAcks
	}
	if a.waiting == nil {
		a.waiting = make(map[uint64]chan ackResult)
	}
	c := make(chan ackResult, 1)
	a.waiting[id] = c
	return c, nil
}

func (a *acks) forget(id uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, id)
}

// resolve gives an acknowledgement to who waits for it. One that nobody waits for is ignored, as in Node.
func (a *acks) resolve(id uint64, args Args) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.waiting[id]; ok {
		delete(a.waiting, id)
		c <- ackResult{args: args}
	}
}

// close fails all that are outstanding.
func (a *acks) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for id, c := range a.waiting {
		delete(a.waiting, id)
		c <- ackResult{err: ErrDisconnected}
	}
}

// reply is an acknowledgement that we owe a client.
type reply struct {
	socket *Socket
	id     uint64
	sent   atomic.Bool
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
	f, _ := p.packet(parser.Ack, r.socket.nsp.name, r.id, true)
	if err := r.socket.sendWait(ctx, f); err != nil {
		return fmt.Errorf("socketio: ack: %w", err)
	}
	r.socket.nsp.count.acks.Add(1)
	return nil
}
