package socketio

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"example.com/chorus/pkg/socketio/parser"
)

// router is what an application registered with a namespace. It is changed under its lock and read without one.
type router struct {
	mu    sync.Mutex
	table atomic.Pointer[routes] // replaced, never changed
}

type routes struct {
	middlewares   []func(context.Context, *Socket) error
	connect       []func(context.Context, *Socket) error
	disconnecting []func(context.Context, *Socket, Reason)
	disconnect    []func(context.Context, *Socket, Reason)
	failed        []func(context.Context, *Socket, error)
	expired       []func(context.Context, ExpiredSession)
	any           []*anyHandler
	events        map[string]Handler
	serverSide    map[string]ServerSideHandler
}

var noRoutes routes

func (r *router) routes() *routes {
	if t := r.table.Load(); t != nil {
		return t
	}
	return &noRoutes
}

func (r *router) update(change func(*routes)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := *r.routes()
	change(&next)
	r.table.Store(&next)
}

// add returns a longer copy of list.
func add[T any](list []T, v T) []T { return append(slices.Clip(list), v) }

// Use adds a middleware, which decides whether a client may join. Middlewares run in the order in which they were
// added; the first error refuses the client with a CONNECT_ERROR (see ConnectError). They may join rooms, emit and
// wait; the client is not in the namespace yet.
func (r *router) Use(m func(ctx context.Context, s *Socket) error) {
	r.update(func(t *routes) { t.middlewares = add(t.middlewares, m) })
}

// OnConnect adds a handler for sockets that joined. It runs before every event of the socket. An error takes the
// socket out of the namespace again.
func (r *router) OnConnect(h func(ctx context.Context, s *Socket) error) {
	r.update(func(t *routes) { t.connect = add(t.connect, h) })
}

// OnDisconnecting adds a handler for sockets that are about to leave: after the events that came before, while
// Rooms still tells the rooms.
func (r *router) OnDisconnecting(h func(ctx context.Context, s *Socket, reason Reason)) {
	r.update(func(t *routes) { t.disconnecting = add(t.disconnecting, h) })
}

// OnDisconnect adds a handler for sockets that left. Its ctx does not end with the socket.
func (r *router) OnDisconnect(h func(ctx context.Context, s *Socket, reason Reason)) {
	r.update(func(t *routes) { t.disconnect = add(t.disconnect, h) })
}

// OnError adds a handler for errors of handlers and of Socket.Use, for panics (PanicError) and for protocol
// violations. Without one they are logged.
func (r *router) OnError(h func(ctx context.Context, s *Socket, err error)) {
	r.update(func(t *routes) { t.failed = add(t.failed, h) })
}

// OnSessionExpired adds a handler for sessions that were kept for recovery and that no client came back to: the time
// to clean up what OnDisconnect left for a return. See Options.Recovery.
func (r *router) OnSessionExpired(h func(ctx context.Context, s ExpiredSession)) {
	r.update(func(t *routes) { t.expired = add(t.expired, h) })
}

// anyHandler has an identity, which functions have not, so that it can be taken away.
type anyHandler struct {
	call func(context.Context, *Socket, string, Args)
}

// OnAny adds a handler that sees every event of every socket before anything else does, also those that a middleware
// refuses and those that have no handler. remove takes it away.
func (r *router) OnAny(h func(ctx context.Context, s *Socket, event string, args Args)) (remove func()) {
	a := &anyHandler{h}
	r.update(func(t *routes) { t.any = add(t.any, a) })
	return func() {
		r.update(func(t *routes) {
			t.any = slices.DeleteFunc(slices.Clone(t.any), func(o *anyHandler) bool { return o == a })
		})
	}
}

// On registers the handler of an event for all sockets. It panics when the event has one, or when the name is
// reserved.
func (r *router) On(event string, h Handler) {
	mustBeFree(event)
	r.update(func(t *routes) {
		if _, dup := t.events[event]; dup {
			panic(fmt.Sprintf("socketio: On(%q): there is a handler for it", event))
		}
		events := maps.Clone(t.events)
		if events == nil {
			events = make(map[string]Handler)
		}
		events[event] = h
		t.events = events
	})
}

// mustBeFree panics for a reserved name, whose handler no packet would ever reach.
func mustBeFree(event string) {
	if parser.Reserved(event) {
		panic(fmt.Sprintf("socketio: On(%q): %v", event, ErrReservedEvent))
	}
}
