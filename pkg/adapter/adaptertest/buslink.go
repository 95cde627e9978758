package adaptertest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"example.com/chorus/internal/cluster"
	"example.com/chorus/pkg/adapter"
)

// busLink is the line of one namespace of one node. What arrives waits for a worker, which exists while there is
// something to hand over.
type busLink struct {
	node      *BusNode
	namespace string
	local     adapter.Local
	ledger    cluster.Ledger
	ctx       context.Context // of its requests
	end       context.CancelCauseFunc

	// Guarded by Bus.mu.
	rooms   map[string]bool // that are followed
	queue   []busItem
	working bool
	left    bool
}

// busItem is a message on its way, and for a request whom to answer.
type busItem struct {
	message *adapter.Message
	request string // its id; empty for a message without answers
	from    *busLink
}

var (
	_ adapter.Link         = (*busLink)(nil)
	_ adapter.RoomFollower = (*busLink)(nil)
	_ adapter.Requester    = (*busLink)(nil)
)

// Publish implements adapter.Link.
func (l *busLink) Publish(ctx context.Context, m *adapter.Message) error {
	return l.send(ctx, m, "", nil)
}

// send queues a message for the other nodes: for all of them, or for none when ctx ends first. asked are those that were
// counted on to answer a request.
func (l *busLink) send(ctx context.Context, m *adapter.Message, request string, asked []*busLink) error {
	b := l.node.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		if l.left {
			return adapter.ErrClosed
		}
		full := false
		for _, peer := range b.peersLocked(l.node, l.namespace) {
			full = full || len(peer.queue) >= b.opts.Queue
		}
		if !full {
			break
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
			b.mu.Lock()
		case <-ctx.Done():
			b.mu.Lock()
			return fmt.Errorf("adaptertest: publish: %w", context.Cause(ctx))
		}
	}
	for _, peer := range asked {
		if peer.left || peer.node.lost { // since it was counted on
			l.ledger.Left(peer.node.node.ID, peer.left)
		}
	}
	if l.node.dead {
		return nil // nobody hears it
	}
	for _, peer := range b.peersLocked(l.node, l.namespace) {
		peer.pushLocked(busItem{message: m, request: request, from: l})
	}
	return nil
}

// pushLocked queues a message unless it is for a room that nobody follows here, as adapters with a channel per room do.
func (l *busLink) pushLocked(it busItem) {
	m := it.message
	if l.node.dead || m.Kind == adapter.Broadcast && it.request == "" && len(m.Rooms) == 1 && !l.rooms[m.Rooms[0]] {
		return
	}
	it.message = cloneMessage(m)
	l.queue = append(l.queue, it)
	if !l.working {
		l.working = true
		go l.work()
	}
}

// work hands messages over until there is none. Leave waits for it.
func (l *busLink) work() {
	b := l.node.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(l.queue) > 0 && !l.left && !l.node.dead {
		it := l.queue[0]
		l.queue = l.queue[1:]
		b.changedLocked()
		b.mu.Unlock()
		if it.request == "" {
			l.local.Deliver(it.message)
		} else {
			broadcast := it.message.Kind == adapter.Broadcast
			l.local.Answer(it.message, func(r *adapter.Response) { l.respond(it, broadcast && r.Packet != nil, r) })
		}
		b.mu.Lock()
	}
	l.queue = nil
	l.working = false
	b.changedLocked()
}

// respond carries an answer back, as the faults of the bus allow.
func (l *busLink) respond(it busItem, ack bool, r *adapter.Response) {
	b := l.node.bus
	b.mu.Lock()
	mute, faults := l.left || l.node.dead || l.node.silent, b.faults
	b.mu.Unlock()
	if mute {
		return
	}
	copies := []time.Duration{0}
	if faults != nil {
		copies = faults(l.node.node, it.from.node.node, r)
	}
	for _, delay := range copies {
		a := cluster.Answer{Request: it.request, From: l.node.node.ID, Ack: ack, Response: cloneResponse(r)}
		if delay <= 0 {
			it.from.ledger.Answer(a)
			continue
		}
		time.AfterFunc(delay, func() { it.from.ledger.Answer(a) })
	}
}

// Request implements adapter.Requester.
func (l *busLink) Request(ctx context.Context, m *adapter.Message, response func(*adapter.Response)) error {
	b := l.node.bus
	b.mu.Lock()
	if l.left {
		b.mu.Unlock()
		return adapter.ErrClosed
	}
	b.made++
	id := fmt.Sprint(b.made)
	due := cluster.Debtors{Acks: m.Kind == adapter.Broadcast}
	asked := b.peersLocked(l.node, l.namespace)
	for _, peer := range asked {
		if peer.node.node.ID == "" {
			due.Unnamed++
			continue
		}
		due.Named = append(due.Named, peer.node.node)
	}
	b.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })()
	return l.ledger.Run(ctx, id, due, b.opts.Timeout, func() error { return l.send(ctx, m, id, asked) }, response)
}

// Nodes implements adapter.Requester.
func (l *busLink) Nodes(context.Context) ([]adapter.Node, error) {
	b := l.node.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.left {
		return nil, adapter.ErrClosed
	}
	var named, unnamed []adapter.Node
	for _, peer := range b.peersLocked(l.node, l.namespace) {
		if peer.node.node.ID == "" {
			unnamed = append(unnamed, adapter.Node{})
			continue
		}
		named = append(named, peer.node.knownLocked())
	}
	return slices.Concat([]adapter.Node{l.node.knownLocked()}, named, unnamed), nil
}

// FollowRoom implements adapter.RoomFollower.
func (l *busLink) FollowRoom(_ context.Context, room string) error {
	l.FollowRoomSoon(room)
	return nil
}

// FollowRoomSoon implements adapter.RoomFollower.
func (l *busLink) FollowRoomSoon(room string) {
	l.node.bus.mu.Lock()
	defer l.node.bus.mu.Unlock()
	l.rooms[room] = true
}

// UnfollowRoom implements adapter.RoomFollower. HasRoom is asked under the lock, so that no FollowRoom comes in between.
func (l *busLink) UnfollowRoom(room string) {
	l.node.bus.mu.Lock()
	defer l.node.bus.mu.Unlock()
	if !l.left && !l.local.HasRoom(room) {
		delete(l.rooms, room)
	}
}

// Leave implements adapter.Link.
func (l *busLink) Leave(ctx context.Context) error {
	b := l.node.bus
	l.end(adapter.ErrClosed)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !l.left {
		l.left = true
		if l.node.links[l.namespace] == l {
			delete(l.node.links, l.namespace)
		}
		if !l.node.dead {
			b.leftLocked(l, true)
		}
		b.changedLocked()
	}
	for l.working {
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
			b.mu.Lock()
		case <-ctx.Done():
			b.mu.Lock()
			return fmt.Errorf("adaptertest: leave %s: %w", l.namespace, context.Cause(ctx))
		}
	}
	return nil
}

// cloneMessage copies what a receiver may keep and change.
func cloneMessage(m *adapter.Message) *adapter.Message {
	c := *m
	c.Packet = clonePacket(m.Packet)
	c.Rooms, c.Except, c.Targets = slices.Clone(m.Rooms), slices.Clone(m.Except), slices.Clone(m.Targets)
	return &c
}

func clonePacket(p adapter.Packet) adapter.Packet {
	c := adapter.Packet{Data: bytes.Clone(p.Data)}
	for _, a := range p.Attachments {
		c.Attachments = append(c.Attachments, bytes.Clone(a))
	}
	return c
}

func cloneResponse(r *adapter.Response) *adapter.Response {
	c := &adapter.Response{Sockets: slices.Clone(r.Sockets), Count: r.Count}
	for i := range c.Sockets {
		s := &c.Sockets[i]
		s.Handshake, s.Rooms, s.Data = bytes.Clone(s.Handshake), slices.Clone(s.Rooms), bytes.Clone(s.Data)
	}
	if r.Packet != nil {
		p := clonePacket(*r.Packet)
		c.Packet = &p
	}
	return c
}
