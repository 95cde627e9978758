package socketio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"example.com/chorus/internal/rooms"
	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// Namespace is one channel of communication, which clients join with a CONNECT packet. All methods are safe for
// concurrent use. Middlewares and handlers apply to clients and events that come after they were added.
type Namespace struct {
	name    string
	server  *Server
	link    adapter.Link
	rooms   *rooms.Index[Socket]
	sockets socketTable
	ackID   atomic.Uint64
	sample  atomic.Uint64
	count   namespaceCounters

	mu     sync.Mutex             // for writers of table
	routes atomic.Pointer[routes] // replaced, never changed
}

// routes are what an application registered.
type routes struct {
	middlewares   []func(context.Context, *Socket) error
	connect       []func(context.Context, *Socket) error
	disconnecting []func(context.Context, *Socket, Reason)
	disconnect    []func(context.Context, *Socket, Reason)
	failed        []func(context.Context, *Socket, error)
	events        map[string]Handler
}

func newNamespace(server *Server, name string) (*Namespace, error) {
	n := &Namespace{name: name, server: server, rooms: rooms.New[Socket]()}
	n.routes.Store(&routes{})
	var err error
	n.link, err = server.options.Adapter.Join(context.Background(), name, local{n})
	if err != nil {
		n.link = brokenLink{err}
		return n, fmt.Errorf("socketio: namespace %q: %w", name, err)
	}
	return n, nil
}

// brokenLink is the link of a namespace that its adapter refused: every broadcast says why it stays on this node.
type brokenLink struct{ err error }

func (l brokenLink) Publish(context.Context, *adapter.Message) error { return l.err }
func (l brokenLink) Leave(context.Context) error                     { return nil }

// Name returns the name, which begins with a slash.
func (n *Namespace) Name() string { return n.name }

// Len returns the number of sockets in the namespace on this node.
func (n *Namespace) Len() int { return n.rooms.Len("") }

func (n *Namespace) update(change func(*routes)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := *n.routes.Load()
	change(&next)
	n.routes.Store(&next)
}

// add returns a longer copy of list.
func add[T any](list []T, v T) []T { return append(list[:len(list):len(list)], v) }

// Use adds a middleware, which decides whether a client may join. Middlewares run in the order in which they were
// added; the first error refuses the client with a CONNECT_ERROR (see ConnectError). They may join rooms, emit and
// wait; the client is not in the namespace yet.
func (n *Namespace) Use(m func(ctx context.Context, s *Socket) error) {
	n.update(func(r *routes) { r.middlewares = add(r.middlewares, m) })
}

// OnConnect adds a handler for sockets that joined. It runs before every event of the socket. An error takes the
// socket out of the namespace again.
func (n *Namespace) OnConnect(h func(ctx context.Context, s *Socket) error) {
	n.update(func(r *routes) { r.connect = add(r.connect, h) })
}

// OnDisconnecting adds a handler for sockets that are about to leave: after the events that came before, while
// Rooms still tells the rooms.
func (n *Namespace) OnDisconnecting(h func(ctx context.Context, s *Socket, reason Reason)) {
	n.update(func(r *routes) { r.disconnecting = add(r.disconnecting, h) })
}

// OnDisconnect adds a handler for sockets that left. Its ctx does not end with the socket.
func (n *Namespace) OnDisconnect(h func(ctx context.Context, s *Socket, reason Reason)) {
	n.update(func(r *routes) { r.disconnect = add(r.disconnect, h) })
}

// OnError adds a handler for errors of handlers, panics (PanicError) and protocol violations. Without one they are
// logged.
func (n *Namespace) OnError(h func(ctx context.Context, s *Socket, err error)) {
	n.update(func(r *routes) { r.failed = add(r.failed, h) })
}

// On registers the handler of an event for all sockets of the namespace. It panics when the event has one, or when
// the name is reserved.
func (n *Namespace) On(event string, h Handler) {
	if parser.Reserved(event) {
		panic(fmt.Sprintf("socketio: On(%q): %v", event, ErrReservedEvent))
	}
	n.update(func(r *routes) {
		if _, dup := r.events[event]; dup {
			panic(fmt.Sprintf("socketio: On(%q): the namespace %s has a handler for it", event, n.name))
		}
		events := maps.Clone(r.events)
		if events == nil {
			events = make(map[string]Handler)
		}
		events[event] = h
		r.events = events
	})
}

// Emit sends an event to every client of the namespace on every node; see Broadcast.Emit.
func (n *Namespace) Emit(ctx context.Context, event string, args ...any) error {
	return Broadcast{nsp: n}.Emit(ctx, event, args...)
}

// To returns a broadcast to rooms. A socket's id is a room.
func (n *Namespace) To(rooms ...string) Broadcast { return Broadcast{nsp: n}.To(rooms...) }

// In is To.
func (n *Namespace) In(rooms ...string) Broadcast { return n.To(rooms...) }

// Except returns a broadcast that leaves out the members of rooms.
func (n *Namespace) Except(rooms ...string) Broadcast { return Broadcast{nsp: n}.Except(rooms...) }

// Local returns a broadcast to the clients of this node.
func (n *Namespace) Local() Broadcast { return Broadcast{nsp: n}.Local() }

// Volatile returns a broadcast that clients which are not ready miss.
func (n *Namespace) Volatile() Broadcast { return Broadcast{nsp: n}.Volatile() }

func (n *Namespace) unfollow(room string) {
	if f, ok := n.link.(adapter.RoomFollower); ok {
		f.UnfollowRoom(room)
	}
}

// run is the worker of a socket's inbox.
func (s *Socket) run() {
	ctx := (*handlerContext)(s)
	for {
		it, resume, ok := s.inbox.next()
		if !ok {
			return
		}
		if resume {
			s.conn.session.Resume()
		}
		switch it.kind {
		case itemConnect:
			s.nsp.admit(ctx, s)
		case itemEvent:
			s.nsp.handle(ctx, s, &it)
			it.release()
		case itemDisconnect:
			s.nsp.dismiss(s, it.reason)
		}
	}
}

// admit runs the middlewares and lets the socket into the namespace.
func (n *Namespace) admit(ctx context.Context, s *Socket) {
	r := n.routes.Load()
	for _, m := range r.middlewares {
		if err := guard(func() error { return m(ctx, s) }); err != nil {
			n.refuse(s, err)
			return
		}
	}
	if !n.enter(s) {
		return
	}
	for _, h := range r.connect {
		if err := guard(func() error { return h(ctx, s) }); err != nil {
			n.fail(s, fmt.Errorf("socketio: connect handler: %w", err))
			s.leaveByServer(err)
			return
		}
	}
}

func (n *Namespace) refuse(s *Socket, err error) {
	n.count.refused.Add(1)
	if p, ok := errors.AsType[*PanicError](err); ok {
		n.fail(s, fmt.Errorf("socketio: middleware: %w", p))
		err = errors.New("internal server error") // what a panic says is not for clients
	}
	s.end(ServerNamespaceDisconnect, err)
	s.leaveAll()
	s.conn.remove(s)
	s.conn.refuse(n.name, err)
}

// enter makes the socket a member of the namespace and answers its CONNECT, in one step for broadcasts. It fails
// when the connection ended meanwhile.
func (n *Namespace) enter(s *Socket) bool {
	if !s.state.CompareAndSwap(stateConnecting, stateJoining) {
		s.leaveAll()
		return false
	}
	s.conn.joinedNamespace()
	reply := control(parser.Connect, n.name, []byte(`{"sid":"`+s.id+`"}`))
	n.sockets.add(s)
	everyone, _ := n.rooms.Join("", s, func() {
		s.life.mu.Lock() // see receives
		defer s.life.mu.Unlock()
		_ = s.conn.session.Send(reply, false) // if the session is closed, the disconnect is on its way
		s.state.CompareAndSwap(stateJoining, stateConnected)
	})
	s.mu.Lock()
	s.everyone = everyone
	s.mu.Unlock()
	n.count.connected.Add(1)
	if f, ok := n.link.(adapter.RoomFollower); ok {
		f.FollowRoomSoon(s.id)
	}
	return true
}

// handle runs the handlers of one event.
func (n *Namespace) handle(ctx context.Context, s *Socket, it *item) {
	rawName, elements := parser.Split(it.packet.Data)
	n.count.events.Add(1)
	onAll, onOne := n.handlers(s, rawName)
	if onAll == nil && onOne == nil {
		return
	}
	args := Args{elements: elements, attachments: it.attachments}
	if it.packet.HasID {
		args.reply = &reply{socket: s, id: it.packet.ID}
	}
	for _, h := range [...]Handler{onAll, onOne} {
		if h == nil {
			continue
		}
		start := time.Now()
		err := guard(func() error { return h(ctx, s, args) })
		n.server.traceHandler(rawName, time.Since(start), err)
		if err == nil {
			continue
		}
		n.fail(s, fmt.Errorf("socketio: handler of %.64s: %w", rawName, err))
		if _, panicked := errors.AsType[*PanicError](err); panicked {
			s.leaveByServer(errPanicked)
			return
		}
	}
}

// handlers finds the handlers of an event by the JSON text of its name.
func (n *Namespace) handlers(s *Socket, rawName []byte) (onAll, onOne Handler) {
	s.mu.Lock()
	own := s.handlers
	s.mu.Unlock()
	all := n.routes.Load().events
	if len(rawName) < 2 || rawName[0] != '"' {
		return all[string(rawName)], own[string(rawName)]
	}
	for _, c := range rawName {
		if c == '\\' {
			var name string
			if json.Unmarshal(rawName, &name) != nil {
				return nil, nil
			}
			return all[name], own[name]
		}
	}
	plain := rawName[1 : len(rawName)-1]
	return all[string(plain)], own[string(plain)]
}

// dismiss ends the membership of a socket, in the order of the protocol's section "Disconnection".
func (n *Namespace) dismiss(s *Socket, reason Reason) {
	s.mu.Lock()
	entered := s.everyone != nil
	s.mu.Unlock()
	if !entered {
		s.leaveAll()
		return
	}
	ctx := context.Background()
	r := n.routes.Load()
	for _, h := range r.disconnecting {
		n.guarded(s, "disconnecting", func() { h(ctx, s, reason) })
	}
	s.leaveAll()
	n.count.disconnected(reason)
	for _, h := range r.disconnect {
		n.guarded(s, "disconnect", func() { h(ctx, s, reason) })
	}
}

func (n *Namespace) guarded(s *Socket, what string, h func()) {
	if err := guard(func() error { h(); return nil }); err != nil {
		n.fail(s, fmt.Errorf("socketio: %s handler: %w", what, err))
	}
}

// fail tells the application of an error that has no caller.
func (n *Namespace) fail(s *Socket, err error) {
	if _, ok := errors.AsType[*PanicError](err); ok {
		n.server.count.panics.Add(1)
	}
	handlers := n.routes.Load().failed
	if len(handlers) == 0 {
		n.log(s, err)
	}
	for _, h := range handlers {
		if p := guard(func() error { h(context.Background(), s, err); return nil }); p != nil {
			n.log(s, p)
		}
	}
}

func (n *Namespace) log(s *Socket, err error) {
	log := n.server.options.Logger.With("namespace", n.name, "socket", s.id)
	if p, ok := errors.AsType[*PanicError](err); ok {
		log.Error("handler panicked", "error", err, "stack", string(p.Stack))
		return
	}
	log.Warn("handler failed", "error", err)
}

// guard turns a panic into a PanicError.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}
