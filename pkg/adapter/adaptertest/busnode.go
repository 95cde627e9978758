package adaptertest

import (
	"context"
	"errors"
	"time"

	"example.com/chorus/pkg/adapter"
)

var errKilled = errors.New("adaptertest: the node was killed")

// BusNode is the adapter of one node of a Bus.
type BusNode struct {
	bus  *Bus
	node adapter.Node // without an id if it has no name

	// Guarded by Bus.mu.
	links    map[string]*busLink
	told     []func([]adapter.Node)
	draining bool
	closed   bool
	dead     bool // killed
	lost     bool // and missed
	silent   bool
}

var (
	_ adapter.Adapter = (*BusNode)(nil)
	_ adapter.Member  = (*BusNode)(nil)
	_ adapter.Status  = (*BusNode)(nil)
	_ adapter.Drainer = (*BusNode)(nil)
)

// Node returns how the others know this node.
func (n *BusNode) Node() adapter.Node {
	n.bus.mu.Lock()
	defer n.bus.mu.Unlock()
	return n.knownLocked()
}

// knownLocked is what the node tells of itself.
func (n *BusNode) knownLocked() adapter.Node {
	known := n.node
	known.Draining = n.draining
	return known
}

// Drain implements adapter.Drainer. The others are told.
func (n *BusNode) Drain() {
	n.bus.mu.Lock()
	again := n.draining
	n.draining = true
	n.bus.mu.Unlock()
	if !again {
		n.bus.tellMembership()
	}
}

// Kill ends the node as a power cut does: nothing that it says arrives any more, it hears nothing, and the others notice
// after BusOptions.Lapse. The server must be shut down nevertheless.
func (n *BusNode) Kill() {
	b := n.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if n.dead || n.closed {
		return
	}
	n.dead = true
	for _, l := range n.links {
		l.queue = nil
	}
	b.changedLocked()
	time.AfterFunc(b.opts.Lapse, n.lose)
}

// lose lets the others notice that the node is gone.
func (n *BusNode) lose() {
	b := n.bus
	b.mu.Lock()
	n.lost = true
	for _, l := range n.links {
		b.leftLocked(l, false)
	}
	b.mu.Unlock()
	b.tellMembership()
}

// Silence lets the node give no answers while it goes on with everything else, or lets it answer again.
func (n *BusNode) Silence(on bool) {
	n.bus.mu.Lock()
	defer n.bus.mu.Unlock()
	n.silent = on
}

// Join implements adapter.Adapter.
func (n *BusNode) Join(_ context.Context, namespace string, local adapter.Local) (adapter.Link, error) {
	n.bus.mu.Lock()
	defer n.bus.mu.Unlock()
	if n.closed {
		return nil, adapter.ErrClosed
	}
	l := &busLink{node: n, namespace: namespace, local: local, rooms: make(map[string]bool)}
	l.ctx, l.end = context.WithCancelCause(context.Background())
	n.links[namespace] = l
	return l, nil
}

// Close implements adapter.Adapter. The others are told.
func (n *BusNode) Close(ctx context.Context) error {
	b := n.bus
	b.mu.Lock()
	again := n.closed
	n.closed = true
	var links []*busLink
	for _, l := range n.links {
		links = append(links, l)
	}
	b.mu.Unlock()
	var errs []error
	for _, l := range links {
		errs = append(errs, l.Leave(ctx))
	}
	if !again {
		b.tellMembership()
	}
	return errors.Join(errs...)
}

// Ready implements adapter.Status.
func (n *BusNode) Ready() error {
	n.bus.mu.Lock()
	defer n.bus.mu.Unlock()
	switch {
	case n.closed:
		return adapter.ErrClosed
	case n.dead:
		return errKilled
	}
	return nil
}

// Members implements adapter.Member.
func (n *BusNode) Members() []adapter.Node {
	n.bus.mu.Lock()
	defer n.bus.mu.Unlock()
	return n.bus.membersLocked(n)
}

// OnMembership implements adapter.Member.
func (n *BusNode) OnMembership(f func(members []adapter.Node)) {
	n.bus.mu.Lock()
	defer n.bus.mu.Unlock()
	n.told = append(n.told, f)
}
