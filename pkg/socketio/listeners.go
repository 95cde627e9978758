package socketio

import (
	"context"
	"maps"
	"slices"
)

// listeners are what an application registered with a single socket. Most sockets have none. A table is replaced,
// never changed; it is guarded by Socket.mu, but for outgoing.
type listeners struct {
	events      map[string]Handler
	middlewares []func(context.Context, string, Args) error
	any         []*anyListener
}

// anyListener has an identity, which functions have not, so that it can be taken away.
type anyListener struct {
	call func(ctx context.Context, event string, args Args)
}

func (s *Socket) listen(change func(*listeners)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := listeners{}
	if s.listeners != nil {
		next = *s.listeners
	}
	change(&next)
	s.listeners = &next
}

func (s *Socket) listening() listeners {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listeners == nil {
		return listeners{}
	}
	return *s.listeners
}

// On registers a handler for this socket alone, which is called after that of the namespace; it replaces an
// earlier one for the event. It panics when the name is reserved. Most handlers belong to Namespace.On, which costs
// nothing per socket.
func (s *Socket) On(event string, h Handler) {
	mustBeFree(event)
	s.listen(func(l *listeners) {
		events := maps.Clone(l.events)
		if events == nil {
			events = make(map[string]Handler)
		}
		events[event] = h
		l.events = events
	})
}

// Off takes away the handler of an event that On or Once registered with this socket.
func (s *Socket) Off(event string) {
	s.listen(func(l *listeners) {
		l.events = maps.Clone(l.events)
		delete(l.events, event)
	})
}

// Once is On for the next such event only.
func (s *Socket) Once(event string, h Handler) {
	s.On(event, func(ctx context.Context, s *Socket, args Args) error {
		s.Off(event) // events of a socket are handled one at a time: no second one can be on its way in here
		return h(ctx, s, args)
	})
}

// Use adds a middleware for the events of this socket. Middlewares run in the order in which they were added, before
// the handlers; an error keeps the event from them and goes to OnError. Nothing is sent to the client.
func (s *Socket) Use(m func(ctx context.Context, event string, args Args) error) {
	s.listen(func(l *listeners) { l.middlewares = add(l.middlewares, m) })
}

// OnAny adds a handler that sees every event of this socket before middlewares and other handlers do. remove takes it
// away.
func (s *Socket) OnAny(h func(ctx context.Context, event string, args Args)) (remove func()) {
	a := &anyListener{h}
	s.listen(func(l *listeners) { l.any = add(l.any, a) })
	return func() { s.removeAny(a) }
}

// PrependAny is OnAny for a handler that is called before the others.
func (s *Socket) PrependAny(h func(ctx context.Context, event string, args Args)) (remove func()) {
	a := &anyListener{h}
	s.listen(func(l *listeners) { l.any = append([]*anyListener{a}, l.any...) })
	return func() { s.removeAny(a) }
}

func (s *Socket) removeAny(a *anyListener) {
	s.listen(func(l *listeners) { l.any = without(l.any, a) })
}

// OffAny takes away all handlers of OnAny and PrependAny.
func (s *Socket) OffAny() {
	s.listen(func(l *listeners) { l.any = nil })
}

func without(list []*anyListener, a *anyListener) []*anyListener {
	return slices.DeleteFunc(slices.Clone(list), func(o *anyListener) bool { return o == a })
}

// OnAnyOutgoing adds a handler that sees every event that is sent to this socket, by itself or by a broadcast that
// reaches it; acknowledgements are not events. It is called after the event was queued, by the goroutine that
// emitted. remove takes it away.
func (s *Socket) OnAnyOutgoing(h func(ctx context.Context, event string, args Args)) (remove func()) {
	a := &anyListener{h}
	s.changeOutgoing(func(list []*anyListener) []*anyListener { return add(list, a) })
	return func() { s.removeOutgoing(a) }
}

// PrependAnyOutgoing is OnAnyOutgoing for a handler that is called before the others.
func (s *Socket) PrependAnyOutgoing(h func(ctx context.Context, event string, args Args)) (remove func()) {
	a := &anyListener{h}
	s.changeOutgoing(func(list []*anyListener) []*anyListener { return append([]*anyListener{a}, list...) })
	return func() { s.removeOutgoing(a) }
}

func (s *Socket) removeOutgoing(a *anyListener) {
	s.changeOutgoing(func(list []*anyListener) []*anyListener { return without(list, a) })
}

// OffAnyOutgoing takes away all handlers of OnAnyOutgoing and PrependAnyOutgoing.
func (s *Socket) OffAnyOutgoing() {
	s.changeOutgoing(func([]*anyListener) []*anyListener { return nil })
}

// changeOutgoing counts the sockets with such handlers, so that broadcasts of others do not look for them.
func (s *Socket) changeOutgoing(change func([]*anyListener) []*anyListener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*anyListener
	if old := s.outgoing.Load(); old != nil {
		list = *old
	}
	next := change(list)
	if s.left {
		next = nil
	}
	switch {
	case len(list) == 0 && len(next) > 0:
		s.nsp.outgoing.Add(1)
	case len(list) > 0 && len(next) == 0:
		s.nsp.outgoing.Add(-1)
	}
	s.outgoing.Store(&next)
}

// tellOutgoing calls the handlers of OnAnyOutgoing.
func (s *Socket) tellOutgoing(ctx context.Context, event string, args Args) {
	list := s.outgoing.Load()
	if list == nil {
		return
	}
	for _, a := range *list {
		s.nsp.guarded(s, "outgoing", func() { a.call(ctx, event, args) })
	}
}
