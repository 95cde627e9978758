package socketio

import (
	"context"
	"errors"
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
	waiting map[uint64]func(ackResult) // called once, under mu: they must only pass the result on
	closed  bool
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
		a.waiting = make(map[uint64]func(ackResult))
	}
	a.waiting[id] = answer
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

// resolve gives an acknowledgement to who waits for it. One that nobody waits for is ignored, as in Node.
func (a *acks) resolve(id uint64, args Args) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if answer, ok := a.waiting[id]; ok {
		delete(a.waiting, id)
		answer(ackResult{args: args})
	}
}

// close fails all that are outstanding.
func (a *acks) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for id, answer := range a.waiting {
		delete(a.waiting, id)
		answer(ackResult{err: ErrDisconnected})
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

// collector gathers the acknowledgements of a broadcast.
type collector struct {
	id      uint64
	mu      sync.Mutex
	asked   []*Socket
	answers []Args
	missing int   // will not come
	causes  error // why: each once
	ready   bool
	done    chan struct{}
}

// expect registers one receiver. It is called inside the broadcast, before the event is queued.
func (c *collector) expect(s *Socket) {
	c.mu.Lock()
	c.asked = append(c.asked, s)
	c.mu.Unlock()
	if err := s.acks.expect(c.id, c.answer); err != nil {
		c.answer(ackResult{err: err})
	}
}

// unexpect says why the event did not go to a registered receiver.
func (c *collector) unexpect(s *Socket, err error) {
	if s.acks.forget(c.id) {
		c.answer(ackResult{err: err})
	}
}

func (c *collector) answer(r ackResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.err != nil {
		c.missing++
		c.causes = withCause(c.causes, r.err)
	} else {
		c.answers = append(c.answers, r.args)
	}
	c.finishLocked()
}

// sent says that all receivers are registered.
func (c *collector) sent() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = true
	c.finishLocked()
}

func (c *collector) finishLocked() {
	if c.ready && len(c.answers)+c.missing == len(c.asked) {
		close(c.done)
		c.ready = false
	}
}

// result returns what came, and an error if that is not all.
func (c *collector) result(cause error) ([]Args, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	answers := c.answers[:len(c.answers):len(c.answers)]
	if len(answers) == len(c.asked) {
		return answers, nil
	}
	return answers, &MissingAcksError{Expected: len(c.asked), Received: len(answers), Cause: withCause(c.causes, cause)}
}

// withCause adds a cause to those that are known, unless it is among them.
func withCause(known, err error) error {
	switch {
	case known == nil:
		return err
	case err == nil || errors.Is(known, err):
		return known
	}
	return fmt.Errorf("%w; %w", known, err)
}

// EmitWithAck sends the event and waits for the acknowledgement of every client that it reaches. It returns one Args
// for each that came, in the order of their arrival; if they are not all, a MissingAcksError with them. The wait ends with
// ctx, or after Options.AckTimeout if ctx has no deadline. A client that disconnects is not waited for.
//
// Acknowledgements come from the clients of this node only: on a server with other nodes the broadcast must be Local,
// else it fails with ErrLocalOnly.
func (b Broadcast) EmitWithAck(ctx context.Context, event string, args ...any) ([]Args, error) {
	ctx, cancel := b.nsp.ackDeadline(ctx)
	defer cancel()
	answers, err := b.emitWithAck(ctx, event, args)
	if err != nil {
		return answers, fmt.Errorf("socketio: broadcast %q with ack: %w", event, err)
	}
	return answers, nil
}

func (b Broadcast) emitWithAck(ctx context.Context, event string, args []any) ([]Args, error) {
	if !b.local && !b.nsp.server.alone {
		return nil, ErrLocalOnly
	}
	if parser.Reserved(event) {
		return nil, ErrReservedEvent
	}
	p := takePayload()
	defer p.release()
	if err := p.array(&event, args); err != nil {
		return nil, err
	}
	c := &collector{id: b.nsp.ackID.Add(1) - 1, done: make(chan struct{})}
	f, _, err := p.packet(b.nsp, parser.Event, c.id, true)
	if err != nil {
		return nil, err
	}
	d := b.delivery(f, time.Now())
	d.acks = c
	b.nsp.tellOutgoing(ctx, b.nsp.deliver(d), event, p.args())
	c.sent()
	defer func() {
		for _, s := range c.asked {
			s.acks.forget(c.id)
		}
	}()
	select {
	case <-c.done:
		return c.result(nil)
	case <-ctx.Done():
		return c.result(context.Cause(ctx))
	}
}
