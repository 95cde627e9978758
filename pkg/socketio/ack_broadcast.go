package socketio

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// collector gathers the acknowledgements of a broadcast.
type collector struct {
	id     uint64
	enough func() // called at the first acknowledgement; nil: all are wanted
	done   chan struct{}

	mu        sync.Mutex
	asked     []*Socket // of this node
	settled   int       // of asked: answered, or will not
	causes    error     // why some will not: each once
	ready     bool      // all of them are registered
	elsewhere int       // asked by other nodes
	answers   []Args    // of all
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
	c.settled++
	if r.err != nil {
		c.causes = withCause(c.causes, r.err)
	} else {
		c.addLocked(r.args)
	}
	c.finishLocked()
}

// addLocked takes an acknowledgement.
func (c *collector) addLocked(a Args) {
	c.answers = append(c.answers, a)
	if c.enough != nil {
		c.enough()
	}
}

// remote takes what another node responds.
func (c *collector) remote(r *adapter.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Packet == nil {
		c.elsewhere += max(r.Count, 0)
		return
	}
	c.addLocked(argsOf(*r.Packet))
}

// sent says that all receivers of this node are registered.
func (c *collector) sent() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = true
	c.finishLocked()
}

func (c *collector) finishLocked() {
	if c.ready && c.settled == len(c.asked) {
		close(c.done)
		c.ready = false
	}
}

// forget gives up what the clients of this node did not answer, which is in time if somebody did and one is enough.
func (c *collector) forget() {
	c.mu.Lock()
	enough := c.enough != nil && len(c.answers) > 0
	c.mu.Unlock()
	for _, s := range c.asked { // nobody is added any more
		if s.acks.forget(c.id) && !enough {
			s.nsp.count.asked[ackTimeout].Add(1)
		}
	}
}

// result returns what came, and an error if that is not all: for clients, with cause, and for nodes.
func (c *collector) result(cause, request error) ([]Args, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	answers := slices.Clip(c.answers)
	if c.enough != nil && len(answers) > 0 {
		return answers, nil
	}
	expected := len(c.asked) + c.elsewhere
	if len(answers) >= expected {
		return answers, request
	}
	for _, err := range []error{c.causes, cause} {
		if err != nil {
			request = withCause(request, err)
		}
	}
	if request == nil { // another node left in order, and its clients with it
		request = ErrDisconnected
	}
	return answers, &MissingAcksError{Expected: expected, Received: len(answers), Cause: request}
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

// EmitWithAck sends the event and waits for the acknowledgement of every client that it reaches, on every node. It
// returns one Args for each that came, in the order of their arrival. The wait ends with ctx, or after
// Options.AckTimeout if ctx has no deadline. A client of this node that disconnects is not waited for; whether one of
// another node does is not told.
//
// When something is missing, what came is returned with the error: a *MissingAcksError when clients did not answer, in
// which, or instead of which, there is a *adapter.SilentNodesError when nodes did not tell how many clients they asked. Use
// errors.As for both. ErrLocalOnly tells that the adapter cannot ask other nodes: the broadcast must be Local.
//
// Of an acknowledgement with several values, adapters may carry the first only, as Node's do.
func (b Broadcast) EmitWithAck(ctx context.Context, event string, args ...any) ([]Args, error) {
	ctx, cancel := b.nsp.ackDeadline(ctx)
	defer cancel()
	answers, err := b.emitWithAck(ctx, event, args, false)
	if err != nil {
		return answers, fmt.Errorf("socketio: broadcast %q with ack: %w", event, err)
	}
	return answers, nil
}

// emitWithAck asks everyone, or with one until somebody has answered.
func (b Broadcast) emitWithAck(ctx context.Context, event string, args []any, one bool) ([]Args, error) {
	if parser.Reserved(event) {
		return nil, ErrReservedEvent
	}
	requester, err := b.requester()
	if err != nil {
		return nil, err
	}
	p := takePayload()
	defer p.release()
	if err := p.array(&event, args); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &collector{id: b.nsp.ackID.Add(1) - 1, done: make(chan struct{})}
	if one {
		c.enough = func() { cancel(errEnough) }
	}
	f, data, err := p.packet(b.nsp, parser.Event, c.id, true)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	request := make(chan error, 1)
	if requester == nil {
		request <- nil
	} else {
		m := b.message(data, p.attachments, now)
		go func() { request <- b.nsp.request(ctx, requester, requestBroadcastAck, m, c.remote) }() // ends with ctx
	}
	d := b.delivery(f, now)
	d.acks = c
	b.nsp.tellOutgoing(ctx, b.nsp.deliver(d), event, p.args())
	c.sent()
	defer c.forget()
	select {
	case <-c.done:
		err = nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return c.result(err, <-request)
}

// requester returns what asks the other nodes, nil if there is nobody to ask.
func (b Broadcast) requester() (adapter.Requester, error) {
	if b.local {
		return nil, nil
	}
	return b.nsp.requester()
}

func (n *Namespace) requester() (adapter.Requester, error) {
	if n.server.alone {
		return nil, nil
	}
	if r, ok := n.link.(adapter.Requester); ok {
		return r, nil
	}
	return nil, ErrLocalOnly
}

// argsOf returns the values that another node sent.
func argsOf(p adapter.Packet) Args {
	return Args{elements: parser.Elements(p.Data), attachments: p.Attachments}
}
