package socketio

import (
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
	session   *engineio.Session // of conn; for broadcasts, which fetch nothing else of that
	state     atomic.Uint32
	conn      *connection
	recovered bool
	id        string
	pid       string // private, if sessions are kept for recovery
	nsp       *Namespace
	auth      []byte
	inbox     inbox
	acks      acks
	kicked    atomic.Bool // the server ended it: what its client sent before is not for handlers
	outgoing  atomic.Pointer[[]*anyListener]

	// Guarded by connection.mu.
	clientLeft bool    // by a DISCONNECT packet
	dismissed  bool    // all handlers have returned
	held       bool    // its connection ends when it is dismissed
	successor  *Socket // joins the namespace when this one is dismissed

	mu        sync.Mutex
	rooms     map[string]*rooms.Membership[Socket] // without the namespace itself
	everyone  *rooms.Membership[Socket]            // in the namespace itself
	left      bool                                 // rooms were left for good
	listeners *listeners
	data      map[string]any

	// end and receives are called inside broadcasts, which hold locks of rooms, and s.mu is held while joining: so
	// this has a lock of its own, under which only an outbox is locked.
	life struct {
		mu     sync.Mutex
		ended  bool
		detail error
		done   chan struct{}        // made when a handler's context is asked for it
		after  map[*func()]struct{} // of contexts that derive from that one
	}
}

func newSocket(nsp *Namespace, conn *connection, auth []byte) *Socket {
	s := &Socket{id: newID(), nsp: nsp, session: conn.session, conn: conn, auth: auth}
	if conn.session.Protocol() == 3 { // whose clients derive it from the id of the connection
		if s.id = conn.session.ID(); nsp.name != "/" {
			s.id = nsp.name + "#" + s.id
		}
	}
	return s
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
func (s *Socket) Transport() string { return s.session.Transport() }

// Connected reports whether the socket is in its namespace: after the middlewares, until it disconnects.
func (s *Socket) Connected() bool { return s.state.Load() == stateConnected }

// Handshake returns how the client came.
func (s *Socket) Handshake() Handshake {
	h := s.session.Handshake()
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

// Recovered reports whether this is a session that was interrupted and went on: the id, the rooms and the data are
// those of before, and the client got what it missed. See Options.Recovery.
func (s *Socket) Recovered() bool { return s.recovered }

// DisconnectDetail returns what is known of the end besides its reason, such as the error of the network or what was
// wrong with a packet; nil if there is nothing, or while the socket is connected.
func (s *Socket) DisconnectDetail() error {
	s.life.mu.Lock()
	defer s.life.mu.Unlock()
	return s.life.detail
}

// connectReply is the payload that answers CONNECT.
func (s *Socket) connectReply() []byte {
	switch {
	case s.session.Protocol() == 3:
		return nil
	case s.pid != "":
		return []byte(`{"sid":"` + s.id + `","pid":"` + s.pid + `"}`)
	}
	return []byte(`{"sid":"` + s.id + `"}`)
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
		joined, err := s.join(name)
		if err != nil {
			return fmt.Errorf("socketio: join %.64q: %w", name, err)
		}
		if joined {
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
	if most := s.nsp.server.options.MaxRoomsPerSocket; most > 0 && len(s.rooms) >= most {
		s.nsp.server.count.limitedRooms.Add(1)
		return false, ErrTooManyRooms
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

// joined returns the rooms that were joined, without the own id.
func (s *Socket) joined() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.rooms))
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
	s.OffAnyOutgoing()
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
// come back by themselves; events of the client that wait to be handled are dropped. With closeTransport, all its
// namespaces are left and the connection is closed. In a middleware, before the socket is connected, only the latter
// has an effect: return an error there.
func (s *Socket) Disconnect(closeTransport bool) {
	if closeTransport {
		s.conn.disconnectAll()
		return
	}
	s.leaveByServer(nil)
}

// leaveByServer sends the DISCONNECT and queues the end.
func (s *Socket) leaveByServer(detail error) {
	if !s.state.CompareAndSwap(stateConnected, stateDisconnected) { // one of several: a second packet would end the
		return // socket with which the client is back by then
	}
	s.kicked.Store(true)
	s.end(ServerNamespaceDisconnect, detail) // first: a client that closes the connection at once must not be the reason
	s.conn.control(control(s.nsp.server, parser.Disconnect, s.nsp.name, nil))
}

// end queues the end of the socket and wakes those who wait for its client. Only the first call counts.
func (s *Socket) end(reason Reason, detail error) {
	s.state.Store(stateDisconnected)
	s.nsp.count.asked[ackDisconnected].Add(uint64(s.acks.close()))
	s.life.mu.Lock()
	first := !s.life.ended
	s.life.ended = true
	if first {
		s.life.detail = detail
		for f := range s.life.after {
			go (*f)()
		}
		s.life.after = nil
	}
	if first && s.life.done != nil {
		close(s.life.done)
	}
	s.life.mu.Unlock()
	if first {
		s.inbox.push(item{kind: itemDisconnect, reason: reason}, &s.nsp.server.workers, s.run)
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

// AfterFunc is what the context package looks for, so that deriving a context costs no goroutine: f is called on one
// of its own when the socket has ended. stop tells whether it came in time.
func (c *handlerContext) AfterFunc(f func()) (stop func() bool) {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if c.life.ended {
		go f()
		return func() bool { return false }
	}
	if c.life.after == nil {
		c.life.after = make(map[*func()]struct{})
	}
	c.life.after[&f] = struct{}{}
	return func() bool {
		c.life.mu.Lock()
		defer c.life.mu.Unlock()
		_, waiting := c.life.after[&f]
		delete(c.life.after, &f)
		return waiting
	}
}
