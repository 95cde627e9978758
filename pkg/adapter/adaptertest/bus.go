package adaptertest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/chorus/pkg/adapter"
)

// Bus is a cluster in memory, for tests of what an application does on several nodes:
//
//	bus := adaptertest.NewBus(nil)
//	one, err := socketio.NewServer(&socketio.Options{Adapter: bus.Add("one")})
//	two, err := socketio.NewServer(&socketio.Options{Adapter: bus.Add("two")})
//
// What the servers emit and ask reaches each other at once and in order. Answers can be lost, delayed and repeated, and
// nodes can fall silent or be killed. In a bubble of testing/synctest no wait costs time. All methods are safe for
// concurrent use.
type Bus struct {
	opts BusOptions

	mu      sync.Mutex // guards all nodes and links too
	changed chan struct{}
	nodes   []*BusNode
	made    int
	faults  func(from, to adapter.Node, r *adapter.Response) []time.Duration
}

// BusOptions of a Bus. nil and the zero value work.
type BusOptions struct {
	// Timeout is how long nodes are waited for that do not answer a request. Default 5 s.
	Timeout time.Duration
	// Lapse is how long it takes until the others notice that a node was killed. Default 1 s.
	Lapse time.Duration
	// Queue is how many messages wait for one namespace of one node; then Publish waits. Default 4 096.
	Queue int
}

// NewBus returns a cluster without nodes. It needs no end: only its nodes have one.
func NewBus(o *BusOptions) *Bus {
	b := &Bus{changed: make(chan struct{})}
	if o != nil {
		b.opts = *o
	}
	if b.opts.Timeout == 0 {
		b.opts.Timeout = 5 * time.Second
	}
	if b.opts.Lapse == 0 {
		b.opts.Lapse = time.Second
	}
	if b.opts.Queue == 0 {
		b.opts.Queue = 4096
	}
	return b
}

// Add returns the adapter of a new node. The name is what adapter.Node.Name says of it. A node without a name is one of
// those that do not tell who they are, such as Node's servers: it takes part and answers, but when it does not, it is
// only a number.
func (b *Bus) Add(name string) *BusNode {
	b.mu.Lock()
	b.made++
	n := &BusNode{bus: b, links: make(map[string]*busLink)}
	if name != "" {
		n.node = adapter.Node{ID: fmt.Sprintf("%s-%d", name, b.made), Name: name}
	}
	b.nodes = append(b.nodes, n)
	b.mu.Unlock()
	b.tellMembership()
	return n
}

// Answers sets what becomes of the answers that nodes give: f returns the delay of each copy that arrives, so that none
// is a loss, and two are a repetition. nil, as at first, lets each arrive once and at once. f is called for each
// response, from any goroutine.
func (b *Bus) Answers(f func(from, to adapter.Node, r *adapter.Response) (copies []time.Duration)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = f
}

func (b *Bus) changedLocked() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// peersLocked returns the links of the other nodes in a namespace, those of killed nodes that nobody misses yet too.
func (b *Bus) peersLocked(n *BusNode, namespace string) (links []*busLink) {
	for _, other := range b.nodes {
		if l := other.links[namespace]; l != nil && other != n && !other.lost {
			links = append(links, l)
		}
	}
	return links
}

// leftLocked tells the other nodes that one is gone from a namespace.
func (b *Bus) leftLocked(l *busLink, goodbye bool) {
	if l.node.node.ID == "" {
		return // they do not know who it was
	}
	for _, peer := range b.peersLocked(l.node, l.namespace) {
		peer.ledger.Left(l.node.node.ID, goodbye)
	}
}

// tellMembership calls the functions of OnMembership.
func (b *Bus) tellMembership() {
	type call struct {
		f       func([]adapter.Node)
		members []adapter.Node
	}
	var calls []call
	b.mu.Lock()
	for _, n := range b.nodes {
		for _, f := range n.told {
			calls = append(calls, call{f, b.membersLocked(n)})
		}
	}
	b.mu.Unlock()
	for _, c := range calls {
		c.f(c.members)
	}
}

// membersLocked returns the other nodes that say who they are.
func (b *Bus) membersLocked(n *BusNode) []adapter.Node {
	nodes := []adapter.Node{}
	for _, other := range b.nodes {
		if other != n && other.node.ID != "" && !other.lost && !other.closed {
			nodes = append(nodes, other.knownLocked())
		}
	}
	slices.SortFunc(nodes, func(a, b adapter.Node) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	return nodes
}
