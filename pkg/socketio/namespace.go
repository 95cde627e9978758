package socketio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"example.com/chorus/internal/engineio"
	"example.com/chorus/internal/rooms"
	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// Namespace is one channel of communication, which clients join with a CONNECT packet. All methods are safe for
// concurrent use. Middlewares and handlers apply to clients and events that come after they were added.
type Namespace struct {
	router

	name     string
	number   uint64 // namespaces that were made before, and this one
	server   *Server
	link     adapter.Link
	rooms    *rooms.Index[Socket]
	sockets  socketTable
	recovery *recovery // nil: sessions are not kept
	ackID    atomic.Uint64

	serverSide jobs // handlers of events of other servers
	fetches    jobs // descriptions of sockets for other nodes

	sample   atomic.Uint64
	outgoing atomic.Int64 // sockets with handlers of OnAnyOutgoing
	count    *namespaceCounters

	use struct {
		mu      sync.Mutex
		sockets int  // connecting and connected
		closed  bool // a child that was removed
	}
	parent *ParentNamespace // nil: not a child
}

func newNamespace(server *Server, name string, parent *ParentNamespace, count *namespaceCounters) (*Namespace, error) {
	n := &Namespace{name: name, server: server, parent: parent, count: count, rooms: rooms.New[Socket]()}
	if parent != nil {
		n.table.Store(parent.routes())
	}
	if r := server.options.Recovery; r != nil {
		n.recovery = newRecovery(n, *r)
	}
	var err error
	var to adapter.Local = local{n}
	if n.recovery != nil && n.recovery.keeper != nil {
		to = recorder{local{n}, n.recovery}
	}
	n.link, err = server.options.Adapter.Join(context.Background(), name, to)
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

// Emit sends an event to every client of the namespace on every node; see Broadcast.Emit.
func (n *Namespace) Emit(ctx context.Context, event string, args ...any) error {
	return Broadcast{nsp: n}.Emit(ctx, event, args...)
}

// Send emits the event "message".
func (n *Namespace) Send(ctx context.Context, args ...any) error {
	return n.Emit(ctx, "message", args...)
}

// EmitWithAck is Broadcast.EmitWithAck to the whole namespace.
func (n *Namespace) EmitWithAck(ctx context.Context, event string, args ...any) ([]Args, error) {
	return Broadcast{nsp: n}.EmitWithAck(ctx, event, args...)
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

// Compress returns a broadcast that is compressed, or is not, where a connection can.
func (n *Namespace) Compress(on bool) Broadcast { return Broadcast{nsp: n}.Compress(on) }

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
			s.conn.inboxFreed()
		}
		switch it.kind {
		case itemConnect:
			s.nsp.admit(ctx, s)
		case itemEvent:
			if !s.kicked.Load() {
				s.nsp.handle(ctx, s, &it)
			}
			it.release()
		case itemError:
			s.nsp.fail(s, it.err)
		case itemDisconnect:
			s.nsp.dismiss(s, it.reason)
		}
	}
}

// admit runs the middlewares and lets the socket into the namespace.
func (n *Namespace) admit(ctx context.Context, s *Socket) {
	var old *session
	var from adapter.Offset
	if n.recovery != nil {
		old, from = n.recovery.begin(ctx, s)
	}
	r := n.routes()
	if old == nil || n.recovery.opts.RunMiddlewares {
		for _, m := range r.middlewares {
			if err := guard(func() error { return m(ctx, s) }); err != nil {
				n.recovery.giveBack(s, old)
				n.refuse(s, err)
				return
			}
		}
	}
	if n.recovery != nil {
		if err := n.recovery.enter(ctx, s, old, from); err != nil {
			n.recovery.turnAway(s, old, err)
			s.session.Close(engineio.ForcedClose, err)
			return
		}
	} else if !n.enter(s) {
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
	reply := control(n.server, parser.Connect, n.name, s.connectReply())
	n.sockets.add(s)
	var full bool
	everyone, _ := n.rooms.Join("", s, func() {
		s.life.mu.Lock() // see receives
		defer s.life.mu.Unlock()
		full = errors.Is(s.session.Send(reply, false), engineio.ErrDropped)
		s.state.CompareAndSwap(stateJoining, stateConnected)
	})
	if full {
		s.session.Close(engineio.SlowConsumer, ErrSlowConsumer)
	}
	s.mu.Lock()
	s.everyone = everyone
	s.mu.Unlock()
	n.count.connected.Add(1)
	if f, ok := n.link.(adapter.RoomFollower); ok {
		f.FollowRoomSoon(s.id)
	}
	return true
}

// handle runs everything that an application has for one event.
func (n *Namespace) handle(ctx context.Context, s *Socket, it *item) {
	n.count.events.Add(1)
	if len(it.packet.Data) == 0 { // an event without a name is legal and means nothing
		return
	}
	rawName, elements := parser.Split(it.packet.Data)
	n.server.traceReceived(n.count.name, rawName)
	r, own := n.routes(), s.listening()
	args := Args{elements: elements, attachments: it.packet.Binary}
	if it.packet.HasID {
		args.reply = &reply{socket: s, id: it.packet.ID}
	}
	if !n.handleAny(ctx, s, r, own, rawName, args) {
		return
	}
	for _, h := range [...]Handler{find(r.events, rawName), find(own.events, rawName)} {
		if h == nil || s.kicked.Load() {
			continue
		}
		start := time.Now()
		err := guard(func() error { return h(ctx, s, args) })
		n.server.traceHandler(rawName, time.Since(start), err)
		if err != nil && !n.failed(s, rawName, err) {
			return
		}
	}
}

// handleAny runs the handlers of OnAny and the middlewares of the socket, and says whether the event goes on.
func (n *Namespace) handleAny(ctx context.Context, s *Socket, r *routes, own listeners, rawName []byte, args Args) bool {
	if len(r.any)+len(own.any)+len(own.middlewares) == 0 {
		return true
	}
	event := eventName(rawName)
	err := guard(func() error {
		for _, a := range r.any {
			a.call(ctx, s, event, args)
		}
		for _, a := range own.any {
			a.call(ctx, event, args)
		}
		for _, m := range own.middlewares {
			if err := m(ctx, event, args); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		n.failed(s, rawName, err)
	}
	return err == nil
}

// failed reports the error of a handler; a panic ends the socket, and failed says so. An error in which there is one,
// such as that of an Emit, is not the handler's.
func (n *Namespace) failed(s *Socket, rawName []byte, err error) (alive bool) {
	n.fail(s, fmt.Errorf("socketio: handler of %.64s: %w", rawName, err))
	if _, panicked := err.(*PanicError); panicked {
		s.leaveByServer(errPanicked)
		return false
	}
	return true
}

// find returns the handler of an event by the JSON text of its name, without an allocation in the usual case.
func find(handlers map[string]Handler, rawName []byte) Handler {
	if len(handlers) == 0 {
		return nil
	}
	if len(rawName) >= 2 && rawName[0] == '"' && !bytes.Contains(rawName, []byte{'\\'}) {
		return handlers[string(rawName[1:len(rawName)-1])]
	}
	return handlers[eventName(rawName)]
}

// eventName decodes the JSON text of a name. A number is its own name.
func eventName(raw []byte) string {
	if len(raw) == 0 || raw[0] != '"' {
		return string(raw)
	}
	var name string
	_ = json.Unmarshal(raw, &name) // the decoder validated it
	return name
}

// dismiss ends the membership of a socket, in the order of the protocol's section "Disconnection".
func (n *Namespace) dismiss(s *Socket, reason Reason) {
	defer n.release()
	defer s.conn.dismissed(s)
	s.mu.Lock()
	entered := s.everyone != nil
	s.mu.Unlock()
	if !entered {
		s.leaveAll()
		return
	}
	ctx := context.Background()
	r := n.routes()
	for _, h := range r.disconnecting {
		n.guarded(s, "disconnecting", func() { h(ctx, s, reason) })
	}
	rooms := s.joined()
	s.leaveAll()
	if n.recovery != nil {
		n.recovery.leave(s, rooms, reason)
	}
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
	handlers := n.routes().failed
	if len(handlers) == 0 {
		n.log(s, err)
	}
	for _, h := range handlers {
		if p := guard(func() error { h(context.Background(), s, err); return nil }); p != nil {
			n.log(s, p)
		}
	}
}

// log reports errors that nobody asked for. Clients can cause any number of them, so only some are logged.
func (n *Namespace) log(s *Socket, err error) {
	n.server.complaints.log(n.server.options.Logger, func(log *slog.Logger) {
		log = log.With("namespace", n.name, "socket", s.id, "error", err)
		if p, ok := errors.AsType[*PanicError](err); ok {
			log.Error("handler panicked", "stack", string(p.Stack))
			return
		}
		if _, ok := errors.AsType[*ProtocolError](err); ok {
			log.Info("client closed")
			return
		}
		log.Warn("handler failed")
	})
}
