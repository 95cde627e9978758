package socketio_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/chorus/pkg/socketio"
)

// log collects what happened.
type eventLog struct {
	mu   sync.Mutex
	list []string
}

func (l *eventLog) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, s)
}

func (l *eventLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.list = nil }()
	return l.list
}

func TestOrderOfListeners(t *testing.T) {
	server, p, s := connected(t)
	var l eventLog
	failed := make(chan error, 1)
	server.OnError(func(_ context.Context, _ *socketio.Socket, err error) { failed <- err })
	server.OnAny(func(_ context.Context, _ *socketio.Socket, event string, _ socketio.Args) {
		l.add("any of all " + event)
	})
	removeAny := s.OnAny(func(_ context.Context, event string, _ socketio.Args) { l.add("any " + event) })
	s.PrependAny(func(_ context.Context, event string, _ socketio.Args) { l.add("first any " + event) })
	s.Use(func(_ context.Context, event string, args socketio.Args) error {
		l.add("use " + event)
		if event == "bad" {
			return errors.New("refused")
		}
		return nil
	})
	server.On("e", func(context.Context, *socketio.Socket, socketio.Args) error { l.add("handler of all"); return nil })
	s.On("e", func(context.Context, *socketio.Socket, socketio.Args) error { l.add("handler"); return nil })
	s.Once("once", func(context.Context, *socketio.Socket, socketio.Args) error { l.add("once"); return nil })
	server.On("sync", func(ctx context.Context, _ *socketio.Socket, args socketio.Args) error { return args.Ack(ctx) })
	sync := func(want ...string) {
		t.Helper()
		p.send(`421["sync"]`)
		p.expect(`431[]`)
		got := slices.DeleteFunc(l.take(), func(s string) bool { return s[len(s)-4:] == "sync" })
		if !slices.Equal(got, want) {
			t.Errorf("heard %q, want %q", got, want)
		}
	}
	p.send(`42["e"]`)
	sync("any of all e", "first any e", "any e", "use e", "handler of all", "handler")
	p.send(`42["bad"]`)
	sync("any of all bad", "first any bad", "any bad", "use bad")
	if err := receive(t, failed); err == nil {
		t.Error("the middleware's error did not reach OnError")
	}
	removeAny()
	s.Off("e")
	p.send(`42["e"]`)
	sync("any of all e", "first any e", "use e", "handler of all")
	s.OffAny()
	p.send(`42["once"]`)
	p.send(`42["once"]`)
	sync("any of all once", "use once", "once", "any of all once", "use once")
}

func TestOnAnyOutgoing(t *testing.T) {
	server, p, s := connected(t)
	var l eventLog
	remove := s.OnAnyOutgoing(func(_ context.Context, event string, args socketio.Args) {
		l.add(event + string(args.Raw(0).JSON()))
	})
	s.PrependAnyOutgoing(func(_ context.Context, event string, _ socketio.Args) { l.add("first " + event) })
	ctx := t.Context()
	server.On("ack", func(ctx context.Context, _ *socketio.Socket, args socketio.Args) error {
		return args.Ack(ctx, "no event")
	})
	_ = s.Emit(ctx, "a", 1)
	_ = server.Emit(ctx, "b", 2)
	_ = server.Except(s.ID()).Emit(ctx, "not for it", 3)
	_ = s.Volatile().Emit(ctx, "c", 4)
	_ = s.Send(ctx, 5)
	p.send(`421["ack"]`)
	p.expect(`42["a",1]`, `42["b",2]`, `42["c",4]`, `42["message",5]`, `431["no event"]`)
	if want := []string{"first a", "a1", "first b", "b2", "first c", "c4", "first message", "message5"}; !slices.Equal(l.take(), want) {
		t.Errorf("outgoing listeners heard something else than %q", want)
	}
	remove()
	s.OffAnyOutgoing()
	_ = server.Emit(ctx, "d")
	if got := l.take(); len(got) != 0 {
		t.Errorf("removed listeners heard %q", got)
	}
}

func TestKickedClientsEventsAreDropped(t *testing.T) {
	server, p, s := connected(t)
	entered, release := make(chan struct{}), make(chan struct{})
	handled := make(chan string, 9)
	server.On("login", func(_ context.Context, s *socketio.Socket, _ socketio.Args) error {
		close(entered)
		<-release
		s.Disconnect(false)
		return nil
	})
	server.On("secret", func(context.Context, *socketio.Socket, socketio.Args) error { handled <- "secret"; return nil })
	server.OnDisconnect(func(context.Context, *socketio.Socket, socketio.Reason) { handled <- "disconnect" })
	p.send(`42["login"]`)
	receive(t, entered)
	p.send(`42["secret"]`)
	p.send(`42["secret"]`)
	close(release)
	p.expect("41")
	if got := receive(t, handled); got != "disconnect" {
		t.Errorf("after Disconnect the handler of %s ran", got)
	}
	if s.Connected() {
		t.Error("still connected")
	}
}

// A second DISCONNECT would end the socket with which the client is back by then.
func TestDisconnectIsSentOnce(t *testing.T) {
	server, front := start(t, nil)
	sockets := make(chan *socketio.Socket, 1)
	server.OnConnect(func(_ context.Context, s *socketio.Socket) error { sockets <- s; return nil })
	p := open(t, front)
	for range 500 {
		p.join("/", "")
		s := receive(t, sockets)
		var several sync.WaitGroup
		for range 8 {
			several.Go(func() { s.Disconnect(false) })
		}
		several.Wait()
		p.expect("41") // and then the answer to the next CONNECT
	}
}

// A client that leaves and joins in turn gets no more handlers running than one that stays.
func TestLeavingAndJoiningDoesNotMultiplyHandlers(t *testing.T) {
	server, front := start(t, nil)
	var running, most atomic.Int64
	release := make(chan struct{})
	server.On("slow", func(context.Context, *socketio.Socket, socketio.Args) error {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		<-release
		return nil
	})
	var order eventLog
	server.OnConnect(func(context.Context, *socketio.Socket) error { order.add("connect"); return nil })
	server.OnDisconnect(func(context.Context, *socketio.Socket, socketio.Reason) { order.add("disconnect") })
	p := dial(t, front, "/")
	p.send(`42["slow"]`)
	p.send("41")
	p.send("40") // is held back
	p.send(`42["slow"]`)
	p.expectClosed() // an event before the answer to CONNECT breaks the protocol
	close(release)
	eventually(t, "all is over", func() bool { return len(server.Stats().Namespaces[0].Disconnects) > 0 && running.Load() == 0 })
	if n := most.Load(); n != 1 {
		t.Errorf("%d handlers of one client ran at once, want 1", n)
	}
	q := dial(t, front, "/")
	order.take()
	for range 20 {
		q.send("41")
		q.join("/", "")
	}
	q.send("41")
	eventually(t, "21 disconnections", func() bool {
		order.mu.Lock()
		defer order.mu.Unlock()
		return len(order.list) == 41
	})
	for i, what := range order.take() {
		if want := []string{"disconnect", "connect"}[i%2]; what != want {
			t.Fatalf("step %d was %s, want %s", i, what, want)
		}
	}
}

// A handler that no packet can reach is a mistake, also on a single socket.
func TestReservedNamesHaveNoHandlers(t *testing.T) {
	server, _, s := connected(t)
	handler := func(context.Context, *socketio.Socket, socketio.Args) error { return nil }
	for what, register := range map[string]func(){
		"Namespace.On": func() { server.On("disconnect", handler) },
		"Socket.On":    func() { s.On("disconnect", handler) },
		"Socket.Once":  func() { s.Once("disconnecting", handler) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s takes a handler of a reserved name", what)
				}
			}()
			register()
		}()
	}
}

func TestNamespaceOnAnyIsTakenAway(t *testing.T) {
	server, front := start(t, nil)
	var seen atomic.Int64
	count := func(context.Context, *socketio.Socket, string, socketio.Args) { seen.Add(1) }
	remove := server.OnAny(count)
	server.OnAny(count)
	server.On("sync", func(ctx context.Context, _ *socketio.Socket, args socketio.Args) error { return args.Ack(ctx) })
	p := dial(t, front, "/")
	for id, want := range []int64{2, 3, 4} {
		p.send(fmt.Sprintf(`42%d["sync"]`, id))
		p.expect(fmt.Sprintf(`43%d[]`, id))
		if got := seen.Load(); got != want {
			t.Errorf("after %d events the handlers saw %d, want %d", id+1, got, want)
		}
		remove() // also twice
	}
}

// In OnDisconnecting the rooms are still there, but the client is not.
func TestDisconnecting(t *testing.T) {
	server, front := start(t, nil)
	type seen struct {
		connected bool
		rooms     int
		err       error
	}
	told := make(chan seen, 1)
	server.OnDisconnecting(func(ctx context.Context, s *socketio.Socket, _ socketio.Reason) {
		told <- seen{s.Connected(), len(s.Rooms()), s.Emit(ctx, "too late")}
	})
	p := dial(t, front, "/")
	p.send("41")
	if got := receive(t, told); got.connected || got.rooms != 1 || !errors.Is(got.err, socketio.ErrDisconnected) {
		t.Errorf("in OnDisconnecting: %+v", got)
	}
}
