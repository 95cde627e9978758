package adaptertest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/chorus/pkg/adapter"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// Local is an adapter.Local that keeps what is delivered. Create one with NewLocal.
type Local struct {
	mu       sync.Mutex
	rooms    map[string]bool
	messages []*adapter.Message
	answer   func(m *adapter.Message, respond func(*adapter.Response))
	sealed   bool
	late     int // calls after Seal
	changed  chan struct{}
}

// NewLocal returns a Local with members in the given rooms.
func NewLocal(rooms ...string) *Local {
	l := &Local{rooms: map[string]bool{}, changed: make(chan struct{})}
	for _, r := range rooms {
		l.rooms[r] = true
	}
	return l
}

// Deliver keeps m.
func (l *Local) Deliver(m *adapter.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sealed {
		l.late++
	}
	l.messages = append(l.messages, m)
	close(l.changed)
	l.changed = make(chan struct{})
}

// Answer calls the function of AnswerWith. Without one it responds to nothing.
func (l *Local) Answer(m *adapter.Message, respond func(*adapter.Response)) {
	l.mu.Lock()
	if l.sealed {
		l.late++
	}
	answer := l.answer
	l.mu.Unlock()
	if answer != nil {
		answer(m, respond)
	}
}

// AnswerWith sets what Answer does.
func (l *Local) AnswerWith(f func(m *adapter.Message, respond func(*adapter.Response))) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer = f
}

// HasRoom reports whether the room was entered.
func (l *Local) HasRoom(room string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sealed {
		l.late++
	}
	return l.rooms[room]
}

// Enter makes the room non-empty, Exit makes it empty. The link hears of neither.
func (l *Local) Enter(room string) { l.setRoom(room, true) }

// Exit makes the room empty.
func (l *Local) Exit(room string) { l.setRoom(room, false) }

func (l *Local) setRoom(room string, member bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rooms[room] = member
}

// Seal makes every later call by the link a fault that Late counts.
func (l *Local) Seal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sealed = true
}

// Late returns the number of calls after Seal.
func (l *Local) Late() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.late
}

// Messages returns what was delivered so far.
func (l *Local) Messages() []*adapter.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.messages)
}

// Await waits until n messages were delivered and returns them all. It fails the test when they do not come.
func (l *Local) Await(t *testing.T, n int) []*adapter.Message {
	t.Helper()
	return l.await(t, fmt.Sprintf("%d messages", n), func(m []*adapter.Message) bool { return len(m) >= n })
}

// await waits until enough accepts what was delivered, and returns that.
func (l *Local) await(t *testing.T, what string, enough func([]*adapter.Message) bool) []*adapter.Message {
	t.Helper()
	timeout := time.After(patience)
	for {
		l.mu.Lock()
		messages, changed := slices.Clone(l.messages), l.changed
		l.mu.Unlock()
		if enough(messages) {
			return messages
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("heard %d messages within %v, want %s", len(messages), patience, what)
		}
	}
}

// Node is one joined namespace of one node.
type Node struct {
	*Local
	Link    adapter.Link
	Adapter adapter.Adapter
}

// Join joins the namespace on every adapter and waits until all are ready.
func Join(t *testing.T, adapters []adapter.Adapter, namespace string, rooms ...string) []*Node {
	t.Helper()
	nodes := make([]*Node, len(adapters))
	for i, a := range adapters {
		local := NewLocal(rooms...)
		link, err := a.Join(t.Context(), namespace, local)
		if err != nil {
			t.Fatalf("Join(%s) on node %d: %v", namespace, i, err)
		}
		nodes[i] = &Node{Local: local, Link: link, Adapter: a}
	}
	for _, n := range nodes {
		AwaitReady(t, n.Adapter)
		for _, r := range rooms {
			n.follow(t, r)
		}
	}
	return nodes
}

// AwaitReady waits until an adapter that implements adapter.Status is ready.
func AwaitReady(t *testing.T, a adapter.Adapter) {
	t.Helper()
	status, ok := a.(adapter.Status)
	if !ok {
		return
	}
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if err = status.Ready(); err == nil {
			return
		}
	}
	t.Fatalf("not ready after %v: %v", patience, err)
}

// Enter makes a room non-empty on the node and has it followed.
func (n *Node) Enter(t *testing.T, room string) {
	t.Helper()
	n.Local.Enter(room)
	n.follow(t, room)
}

// Exit makes a room empty on the node and tells the link.
func (n *Node) Exit(room string) {
	n.Local.Exit(room)
	if f, ok := n.Link.(adapter.RoomFollower); ok {
		f.UnfollowRoom(room)
	}
}

func (n *Node) follow(t *testing.T, room string) {
	t.Helper()
	f, ok := n.Link.(adapter.RoomFollower)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := f.FollowRoom(ctx, room); err != nil {
		t.Fatalf("FollowRoom(%q): %v", room, err)
	}
}

// Publish sends a message and fails the test if that fails.
func (n *Node) Publish(t *testing.T, m *adapter.Message) {
	t.Helper()
	if err := n.Link.Publish(t.Context(), m); err != nil {
		t.Errorf("Publish: %v", err)
	}
}

// Event returns a message with one event whose only argument is a string.
func Event(text string, rooms ...string) *adapter.Message {
	return &adapter.Message{Packet: adapter.Packet{Data: fmt.Appendf(nil, `["event",%q]`, text)}, Rooms: rooms}
}
