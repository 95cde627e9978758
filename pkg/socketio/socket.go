package socketio

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/chorus/internal/engineio"
	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/rooms"
	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// States of a socket.
const (
	stateConnecting   uint32 = iota // in the middlewares
	stateJoining                    // the answer to its CONNECT is about to leave
	stateConnected                  // in the namespace: broadcasts reach it
	stateDisconnected               // its end is queued or done
)

// Socket is one client in one namespace. All methods are safe for concurrent use.
type Socket struct {
	id    string
	nsp   *Namespace
	conn  *connection
	auth  []byte
	state atomic.Uint32
	inbox inbox
	acks  acks

	mu       sync.Mutex
	rooms    map[string]*rooms.Membership[Socket] // without the namespace itself
	everyone *rooms.Membership[Socket]            // in the namespace itself
	left     bool                                 // rooms were left for good
	handlers map[string]Handler                   // replaced, never changed
	data     map[string]any

	// end and receives are called inside broadcasts, which hold locks of rooms, and s.mu is held while joining: so
	// this has a lock of its own, under which only an outbox is locked.
	life struct {
		mu    sync.Mutex
		ended bool
		done  chan struct{} // made when a handler's context is asked for it
	}
}

func newSocket(nsp *Namespace, conn *connection, auth []byte) *Socket {
	return &Socket{id: newID(), nsp: nsp, conn: conn, auth: bytes.Clone(auth)}
}

// newID returns 20 url-safe random characters, as Node's ids look.
func newID() string {
	var b [15]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// ID returns the public id of the socket, which is also the name of a room that it is in. It is not the id of the
// connection, which is a secret of the client.
func (s *Socket) ID() string { return s.id }

// Namespace returns the namespace that the socket is in.
func (s *Socket) Namespace() *Namespace { return s.nsp }

// Transport returns the current transport of the connection, Polling or WebSocket.
func (s *Socket) Transport() string { return s.conn.session.Transport() }

// Connected reports whether the socket is in its namespace: after the middlewares, until it disconnects.
func (s *Socket) Connected() bool { return s.state.Load() == stateConnected }

// Handshake returns how the client came.
func (s *Socket) Handshake() Handshake {
	h := s.conn.session.Handshake()
	return Handshake{
		Header: h.Header, URL: h.URL, Query: h.Query, RemoteAddr: h.RemoteAddr,
		Secure: h.Secure, Time: h.Time, Auth: s.auth,
	}
}

// Set keeps a value with the socket. A nil value removes it.
func (s *Socket) Set(key string, value any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if value == nil {
		delete(s.data, key)
		return
	}
	if s.data == nil {
		s.data = make(map[string]any)
	}
	s.data[key] = value
}

// Get returns a value that Set kept.
func (s *Socket) Get(key string) (value any, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok = s.data[key]
	return value, ok
}

// On registers a handler for this socket alone, which is called after that of the namespace; it replaces an
// earlier one for the event. Most handlers belong to Namespace.On, which costs nothing per socket.
func (s *Socket) On(event string, h Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	handlers := maps.Clone(s.handlers)
	if handlers == nil {
		handlers = make(map[string]Handler)
	}
	handlers[event] = h
	s.handlers = handlers
}

// Rooms returns the rooms that the socket is in, its own id among them; none once it has disconnected.
func (s *Socket) Rooms() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := []string{}
	if s.everyone != nil {
		names = append(names, s.id)
	}
	return slices.AppendSeq(names, maps.Keys(s.rooms))
}

// Join enters rooms. It is in force on this node at once; the call returns when the other nodes' messages to the
// rooms arrive here, or at once while the broker is away. An error is that of ctx, or ErrDisconnected.
func (s *Socket) Join(ctx context.Context, names ...string) error {
	var followed []string
	for _, name := range names {
		first, err := s.join(name)
		if err != nil {
			return fmt.Errorf("socketio: join %.64q: %w", name, err)
		}
		if first {
			followed = append(followed, name)
		}
	}
	follower, ok := s.nsp.link.(adapter.RoomFollower)
	if !ok {
		return nil
	}
	for _, name := range followed[:max(0, len(followed)-1)] {
		follower.FollowRoomSoon(name)
	}
	for _, name := range followed {
		if err := follower.FollowRoom(ctx, name); err != nil {
			return fmt.Errorf("socketio: join %.64q: %w", name, err)
		}
	}
	return nil
}

func (s *Socket) join(name string) (joined bool, err error) {
	if name == "" {
		return false, errors.New("the empty name is the namespace itself")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left {
		return false, ErrDisconnected
	}
	if _, in := s.rooms[name]; in || name == s.id {
		return false, nil
	}
	if s.rooms == nil {
		s.rooms = make(map[string]*rooms.Membership[Socket])
	}
	s.rooms[name], _ = s.nsp.rooms.Join(name, s, nil)
	s.nsp.count.joins.Add(1)
	return true, nil
}

// Leave leaves rooms. Rooms that the socket is not in are ignored, and so is its own id.
func (s *Socket) Leave(names ...string) {
	for _, name := range names {
		s.mu.Lock()
		m, in := s.rooms[name]
		if in {
			delete(s.rooms, name)
		}
		last := in && s.nsp.rooms.Leave(m)
		s.mu.Unlock()
		if in {
			s.nsp.count.leaves.Add(1)
		}
		if last {
			s.nsp.unfollow(name)
		}
	}
}

// leaveAll takes the socket out of everything, for good.
func (s *Socket) leaveAll() {
	s.mu.Lock()
	s.left = true
	memberships := s.rooms
	s.rooms = nil
	everyone := s.everyone
	s.everyone = nil
	s.mu.Unlock()
	if everyone != nil {
		s.nsp.sockets.remove(s)
		s.nsp.rooms.Leave(everyone)
		s.nsp.unfollow(s.id)
	}
	for name, m := range memberships {
		s.nsp.count.leaves.Add(1)
		if s.nsp.rooms.Leave(m) {
			s.nsp.unfollow(name)
		}
	}
}

// Emit sends an event to this client. It waits while the client's outbox is full, at most until ctx ends.
// []byte at any depth of an argument travels as binary, everything else as encoding/json writes it; Args and Raw
// are passed on unchanged.
func (s *Socket) Emit(ctx context.Context, event string, args ...any) error {
	f, err := s.event(event, args, 0, false)
	if err == nil {
		err = s.sendWait(ctx, f)
	}
	if err != nil {
		return fmt.Errorf("socketio: emit %q: %w", event, err)
	}
	s.nsp.count.emits.Add(1)
	return nil
}

// EmitWithAck sends an event to this client and waits for its acknowledgement, whose arguments it returns. The wait
// ends with ctx, after Options.AckTimeout if ctx has no deadline, or with ErrDisconnected. At most 1 024 may be
// outstanding for a socket: ErrTooManyAcks.
func (s *Socket) EmitWithAck(ctx context.Context, event string, args ...any) (Args, error) {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.nsp.server.options.AckTimeout)
		defer cancel()
	}
	answer, err := s.emitWithAck(ctx, event, args)
	if err != nil {
		return Args{}, fmt.Errorf("socketio: emit %q with ack: %w", event, err)
	}
	return answer, nil
}

func (s *Socket) emitWithAck(ctx context.Context, event string, args []any) (Args, error) {
	id := s.nsp.ackID.Add(1) - 1
	f, err := s.event(event, args, id, true)
	if err != nil {
		return Args{}, err
	}
	answer, err := s.acks.expect(id)
	if err != nil {
		return Args{}, err
	}
	defer s.acks.forget(id)
	if err := s.sendWait(ctx, f); err != nil {
		return Args{}, err
	}
	s.nsp.count.emits.Add(1)
	select {
	case r := <-answer:
		return r.args, r.err
	case <-ctx.Done():
		return Args{}, context.Cause(ctx)
	}
}

func (s *Socket) event(event string, args []any, id uint64, hasID bool) (*frame.Frame, error) {
	if parser.Reserved(event) {
		return nil, ErrReservedEvent
	}
	p := takePayload()
	defer p.release()
	if err := p.array(&event, args); err != nil {
		return nil, err
	}
	f, _ := p.packet(parser.Event, s.nsp.name, id, hasID)
	return f, nil
}

// sendWait queues a frame for this client.
func (s *Socket) sendWait(ctx context.Context, f *frame.Frame) error {
	if s.state.Load() == stateDisconnected {
		return ErrDisconnected
	}
	return sendError(s.conn.session.SendWait(ctx, f))
}

// sendError turns the engine's errors into ours.
func sendError(err error) error {
	switch {
	case errors.Is(err, engineio.ErrClosed):
		return ErrDisconnected
	case errors.Is(err, engineio.ErrDropped):
		return ErrDropped
	case errors.Is(err, engineio.ErrSlow):
		return ErrSlowConsumer
	}
	return err
}

// VolatileEmitter emits to one client, or drops.
type VolatileEmitter struct{ socket *Socket }

// Volatile returns an emitter that drops what this client is not ready for (ErrDropped): on polling when no
// request waits, on WebSocket when the connection is congested.
func (s *Socket) Volatile() VolatileEmitter { return VolatileEmitter{s} }

// Emit sends an event or drops it. It never waits.
func (v VolatileEmitter) Emit(_ context.Context, event string, args ...any) error {
	s := v.socket
	f, err := s.event(event, args, 0, false)
	if err == nil {
		if err = ErrDisconnected; s.state.Load() != stateDisconnected {
			err = sendError(s.conn.session.Send(f, true))
		}
	}
	if err != nil {
		return fmt.Errorf("socketio: emit %q: %w", event, err)
	}
	s.nsp.count.emits.Add(1)
	return nil
}

// To returns a broadcast to rooms that leaves this socket out.
func (s *Socket) To(rooms ...string) Broadcast { return s.Broadcast().To(rooms...) }

// In is To.
func (s *Socket) In(rooms ...string) Broadcast { return s.To(rooms...) }

// Except returns a broadcast to the namespace that leaves out this socket and the members of rooms.
func (s *Socket) Except(rooms ...string) Broadcast { return s.Broadcast().Except(rooms...) }

// Local returns a broadcast to the clients of this node that leaves this socket out.
func (s *Socket) Local() Broadcast { return s.Broadcast().Local() }

// Broadcast returns a broadcast to the namespace that leaves this socket out.
func (s *Socket) Broadcast() Broadcast { return Broadcast{nsp: s.nsp, from: s} }

// Disconnect takes the client out of the namespace with a DISCONNECT packet, after which official clients do not
// come back by themselves. With closeTransport, all its namespaces are left and the connection is closed.
func (s *Socket) Disconnect(closeTransport bool) {
	if closeTransport {
		s.conn.disconnectAll()
		return
	}
	s.leaveByServer(nil)
}

// leaveByServer sends the DISCONNECT and queues the end.
func (s *Socket) leaveByServer(detail error) {
	if s.state.Load() == stateConnected {
		_ = s.conn.session.Send(control(parser.Disconnect, s.nsp.name, nil), false) // a closed session needs none
	}
	s.end(ServerNamespaceDisconnect, detail)
}

// end queues the end of the socket and wakes those who wait for its client. Only the first call counts.
func (s *Socket) end(reason Reason, detail error) {
	s.state.Store(stateDisconnected)
	s.acks.close()
	s.life.mu.Lock()
	first := !s.life.ended
	s.life.ended = true
	if first && s.life.done != nil {
		close(s.life.done)
	}
	s.life.mu.Unlock()
	if first {
		s.inbox.push(item{kind: itemDisconnect, reason: reason, detail: detail}, &s.nsp.server.workers, s.run)
	}
}

// receives reports whether broadcasts reach the socket. One that comes to a room which a middleware joined must
// neither overtake the answer to CONNECT nor be lost when that answer has left: it waits for the step in between.
func (s *Socket) receives() bool {
	state := s.state.Load()
	if state == stateJoining {
		s.life.mu.Lock()
		state = s.state.Load()
		s.life.mu.Unlock()
	}
	return state == stateConnected
}

// handlerContext is the context of a socket's handlers: it ends when the socket disconnects. A pointer to a
// Socket converts into it, so that an event costs no allocation.
type handlerContext Socket

var _ context.Context = (*handlerContext)(nil)

func (*handlerContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (*handlerContext) Value(any) any               { return nil }

func (c *handlerContext) Done() <-chan struct{} {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if c.life.done == nil {
		c.life.done = make(chan struct{})
		if c.life.ended {
			close(c.life.done)
		}
	}
	return c.life.done
}

func (c *handlerContext) Err() error {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if c.life.ended {
		return context.Canceled
	}
	return nil
}
