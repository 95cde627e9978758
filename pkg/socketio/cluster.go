package socketio

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"example.com/chorus/pkg/adapter"
)

// errNoRoom refuses the name of no room.
var errNoRoom = errors.New("the empty name is the namespace itself")

func (b Broadcast) selection() selection {
	return selection{rooms: b.rooms, except: b.except, from: b.from}
}

// request returns a message about the selected sockets.
func (b Broadcast) request(kind adapter.Kind) *adapter.Message {
	m := b.message(nil, nil, time.Now())
	m.Kind, m.Flags = kind, adapter.Flags{}
	return m
}

// Sockets returns the selected sockets of every node: those of this one first, then what the other nodes answer, as it
// comes. To break off ends the request. An error is the last pair, with a nil socket; everything before it is valid:
//
//	for s, err := range io.To("kitchen").Sockets(ctx) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(s.ID())
//	}
//
// A *adapter.SilentNodesError names the nodes that did not answer until ctx ended or the adapter's own limit. A socket
// of another node is as it was when that node answered.
func (b Broadcast) Sockets(ctx context.Context) iter.Seq2[*RemoteSocket, error] {
	return func(yield func(*RemoteSocket, error) bool) {
		if err := b.eachSocket(ctx, func(s *RemoteSocket) bool { return yield(s, nil) }); err != nil {
			yield(nil, fmt.Errorf("socketio: sockets: %w", err))
		}
	}
}

// eachSocket calls visit until it returns false.
func (b Broadcast) eachSocket(ctx context.Context, visit func(*RemoteSocket) bool) error {
	requester, err := b.requester()
	ctx, cancel := context.WithCancelCause(ctx)
	answers := newMailbox()
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel(errEnough)
	if requester != nil {
		asking.Go(func() {
			answers.close(b.nsp.request(ctx, requester, requestFetch, b.request(adapter.Fetch), answers.put))
		})
	} else {
		answers.close(err)
	}
	for _, s := range b.nsp.selected(b.selection()) {
		if !visit(newRemoteSocket(b.nsp, s)) {
			return nil
		}
	}
	for {
		batch, ended, err := answers.take()
		for _, r := range batch {
			for _, s := range r.Sockets {
				if !visit(&RemoteSocket{nsp: b.nsp, described: s}) {
					return nil
				}
			}
		}
		if ended {
			return err
		}
	}
}

// mailbox keeps responses for a reader who may be slow, so that who puts them in never waits.
type mailbox struct {
	mu      sync.Mutex
	waiting []*adapter.Response
	ended   bool
	err     error
	wake    chan struct{} // has room for one
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

func (m *mailbox) put(r *adapter.Response) {
	m.mu.Lock()
	m.waiting = append(m.waiting, r)
	m.mu.Unlock()
	m.signal()
}

func (m *mailbox) close(err error) {
	m.mu.Lock()
	m.ended, m.err = true, err
	m.mu.Unlock()
	m.signal()
}

func (m *mailbox) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// take waits for responses, or for the end.
func (m *mailbox) take() (batch []*adapter.Response, ended bool, err error) {
	<-m.wake
	m.mu.Lock()
	defer m.mu.Unlock()
	batch, m.waiting = m.waiting, nil
	return batch, m.ended, m.err
}

// Count returns how many sockets are selected, on every node. It is cheaper than Sockets: only numbers travel. With an
// error, such as a *adapter.SilentNodesError, it is the number of those that are known.
func (b Broadcast) Count(ctx context.Context) (int, error) {
	n := b.nsp.counted(b.selection())
	requester, err := b.requester()
	if requester != nil {
		err = b.nsp.request(ctx, requester, requestCount, b.request(adapter.Count), func(r *adapter.Response) {
			n += max(r.Count, 0)
		})
	}
	if err != nil {
		return n, fmt.Errorf("socketio: count: %w", err)
	}
	return n, nil
}

// Join lets the selected sockets of every node enter rooms. It is in force on this node at once, and when it returns
// broadcasts of other nodes to the rooms arrive here. The other nodes do it when the message reaches them, in the order
// of what this goroutine emits; an adapter with a channel for each room may need a moment more there until a broadcast
// of a third node arrives. An error is that of ctx or of the adapter: other nodes may not have the message.
func (b Broadcast) Join(ctx context.Context, rooms ...string) error {
	if slices.Contains(rooms, "") {
		return fmt.Errorf("socketio: join: %w", errNoRoom)
	}
	entered := b.nsp.join(b.nsp.selected(b.selection()), rooms)
	err := b.act(ctx, requestJoin, adapter.Join, func(m *adapter.Message) { m.Targets = slices.Clone(rooms) })
	if err == nil {
		err = b.nsp.follow(ctx, entered)
	} else {
		for _, room := range entered {
			b.nsp.followSoon(room)
		}
	}
	if err != nil {
		return fmt.Errorf("socketio: join: %w", err)
	}
	return nil
}

// Leave lets the selected sockets of every node leave rooms, in the manner of Join.
func (b Broadcast) Leave(ctx context.Context, rooms ...string) error {
	for _, s := range b.nsp.selected(b.selection()) {
		s.Leave(rooms...)
	}
	if err := b.act(ctx, requestLeave, adapter.Leave, func(m *adapter.Message) { m.Targets = slices.Clone(rooms) }); err != nil {
		return fmt.Errorf("socketio: leave: %w", err)
	}
	return nil
}

// Disconnect takes the selected sockets of every node out of the namespace, with closeTransport out of all namespaces
// and off their connections; see Socket.Disconnect. An error is that of ctx or of the adapter: other nodes may not have
// the message.
func (b Broadcast) Disconnect(ctx context.Context, closeTransport bool) error {
	for _, s := range b.nsp.selected(b.selection()) {
		s.Disconnect(closeTransport)
	}
	if err := b.act(ctx, requestDisconnect, adapter.Disconnect, func(m *adapter.Message) { m.Close = closeTransport }); err != nil {
		return fmt.Errorf("socketio: disconnect: %w", err)
	}
	return nil
}

// act publishes a message that the other nodes carry out.
func (b Broadcast) act(ctx context.Context, t requestType, kind adapter.Kind, complete func(*adapter.Message)) error {
	if b.local {
		return nil
	}
	m := b.request(kind)
	complete(m)
	return b.nsp.publish(ctx, t, m)
}

// publish sends a message to the other nodes and counts it as a request.
func (n *Namespace) publish(ctx context.Context, t requestType, m *adapter.Message) error {
	start := time.Now()
	err := n.link.Publish(ctx, m)
	n.server.requestDone(t, err, 0, time.Since(start))
	return err
}

// follow waits until the messages of other nodes to rooms arrive here.
func (n *Namespace) follow(ctx context.Context, rooms []string) error {
	f, ok := n.link.(adapter.RoomFollower)
	if !ok {
		return nil
	}
	for _, room := range rooms[:max(0, len(rooms)-1)] {
		f.FollowRoomSoon(room)
	}
	for _, room := range rooms {
		if err := f.FollowRoom(ctx, room); err != nil {
			return err
		}
	}
	return nil
}

// Sockets returns all sockets of the namespace on every node; see Broadcast.Sockets.
func (n *Namespace) Sockets(ctx context.Context) iter.Seq2[*RemoteSocket, error] {
	return Broadcast{nsp: n}.Sockets(ctx)
}

// Count returns how many sockets are in the namespace on every node; see Broadcast.Count. Len is this node's part.
func (n *Namespace) Count(ctx context.Context) (int, error) { return Broadcast{nsp: n}.Count(ctx) }

// Join lets all sockets of the namespace enter rooms, on every node; see Broadcast.Join.
func (n *Namespace) Join(ctx context.Context, rooms ...string) error {
	return Broadcast{nsp: n}.Join(ctx, rooms...)
}

// Leave lets all sockets of the namespace leave rooms, on every node; see Broadcast.Leave.
func (n *Namespace) Leave(ctx context.Context, rooms ...string) error {
	return Broadcast{nsp: n}.Leave(ctx, rooms...)
}

// Disconnect takes all sockets out of the namespace, on every node; see Broadcast.Disconnect.
func (n *Namespace) Disconnect(ctx context.Context, closeTransport bool) error {
	return Broadcast{nsp: n}.Disconnect(ctx, closeTransport)
}

// Nodes returns the nodes that take part in the namespace, this one first. Servers that do not tell their name, such as
// Node's, are at the end, with empty fields. ErrLocalOnly tells that the adapter does not know.
func (n *Namespace) Nodes(ctx context.Context) ([]adapter.Node, error) {
	r, ok := n.link.(adapter.Requester)
	if !ok {
		return nil, fmt.Errorf("socketio: nodes: %w", ErrLocalOnly)
	}
	nodes, err := r.Nodes(ctx)
	if err != nil {
		return nodes, fmt.Errorf("socketio: nodes: %w", err)
	}
	return nodes, nil
}

// Request implements adapter.Requester.
func (l brokenLink) Request(context.Context, *adapter.Message, func(*adapter.Response)) error {
	return l.err
}

// Nodes implements adapter.Requester.
func (l brokenLink) Nodes(context.Context) ([]adapter.Node, error) { return nil, l.err }
