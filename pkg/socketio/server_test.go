package socketio_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"example.com/chorus/pkg/socketio"
)

func TestRelayUnchanged(t *testing.T) {
	server, front := start(t, nil)
	server.On("chat message", func(ctx context.Context, _ *socketio.Socket, args socketio.Args) error {
		return server.Emit(ctx, "chat message", args)
	})
	a, b := dial(t, front, "/"), dial(t, front, "/")
	for _, packet := range []string{
		`42["chat message","hello"]`,
		`42["chat message"]`,
		`42["chat message",{"a":[1,2.50,{"b":null}]},"<b>\u2028é😀",-0,1e3]`,
		`42["chat message",{"_placeholder":true,"num":0}]`,
		`42["chat message","` + strings.Repeat("x", 100_000) + `"]`,
	} {
		a.send(packet)
		a.expect(packet)
		b.expect(packet)
	}
	binary := `452-["chat message",{"f":{"num":1,"_placeholder":true}},"x",{"_placeholder":true,"num":0}]`
	a.send(binary)
	a.sendBinary([]byte{1, 2})
	a.sendBinary([]byte{})
	for _, p := range []*peer{a, b} { // numbered anew in the order of the text, as the protocol asks of encoders
		p.expect(`452-["chat message",{"f":{"_placeholder":true,"num":0}},"x",{"_placeholder":true,"num":1}]`, "b:", "b:0102")
	}
}

func TestNamespaces(t *testing.T) {
	server, front := start(t, nil)
	admin := server.Of("admin")
	if admin.Name() != "/admin" || server.Of("/admin") != admin {
		t.Fatalf("Of: name %q", admin.Name())
	}
	admin.Use(func(_ context.Context, s *socketio.Socket) error {
		switch auth := string(s.Handshake().Auth); auth {
		case `{"token":"good"}`:
			return nil
		case `{"token":"data"}`:
			return &socketio.ConnectError{Message: "no", Data: map[string]int{"k": 1}}
		case `{"token":"panic"}`:
			panic("secret")
		default:
			return errors.New("bad token")
		}
	})
	p := open(t, front)
	for _, tt := range []struct{ send, want string }{
		{`40/admin,`, `44/admin,{"message":"bad token"}`},
		{`40/admin,{"token":"data"}`, `44/admin,{"message":"no","data":{"k":1}}`},
		{`40/admin,{"token":"panic"}`, `44/admin,{"message":"internal server error"}`},
		{`40/nope`, `44/nope,{"message":"Invalid namespace"}`},
	} {
		p.send(tt.send)
		p.expect(tt.want)
	}
	p.join("/admin", `{"token":"good"}`)
	p.join("/", "")
	_ = admin.Emit(t.Context(), "x", 1)
	p.expect(`42/admin,["x",1]`)
	p.send("41/admin,")
	p.join("/admin", `{"token":"good"}`) // may come back on the same connection
}

func TestMiddlewareMayEmitAndJoin(t *testing.T) {
	server, front := start(t, nil)
	server.Use(func(ctx context.Context, s *socketio.Socket) error {
		return errors.Join(s.Join(ctx, "early"), s.Emit(ctx, "before"))
	})
	server.OnConnect(func(ctx context.Context, s *socketio.Socket) error { return s.Emit(ctx, "after", s.Rooms()) })
	p := open(t, front)
	p.send("40")
	p.expect(`42["before"]`)
	reply := p.read()
	if !strings.HasPrefix(reply, `40{"sid":"`) {
		t.Fatalf("CONNECT answered %s", reply)
	}
	id := strings.Split(reply, `"`)[3]
	p.expect(fmt.Sprintf(`42["after",[%q,"early"]]`, id))
}

// A socket that is still in a middleware is in rooms, but broadcasts do not reach it.
func TestBroadcastsDoNotReachMiddlewares(t *testing.T) {
	server, front := start(t, nil)
	joined, release := make(chan struct{}), make(chan struct{})
	server.Use(func(ctx context.Context, s *socketio.Socket) error {
		err := s.Join(ctx, "r")
		close(joined)
		<-release
		return err
	})
	p := open(t, front)
	p.send("40")
	receive(t, joined)
	for _, b := range []socketio.Emitter{server, server.To("r")} {
		if err := b.Emit(t.Context(), "early"); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	if got := p.read(); !strings.HasPrefix(got, `40{"sid":"`) {
		t.Fatalf("CONNECT answered %s", got)
	}
	if err := server.To("r").Emit(t.Context(), "late"); err != nil {
		t.Fatal(err)
	}
	p.expect(`42["late"]`)
}

func TestRoomsAndExcept(t *testing.T) {
	server, front := start(t, nil)
	server.On("join", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		var room string
		if err := args.Decode(&room); err != nil {
			return err
		}
		return errors.Join(s.Join(ctx, room), args.Ack(ctx))
	})
	server.On("leave", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		s.Leave("r")
		return args.Ack(ctx)
	})
	sockets := make(chan *socketio.Socket, 3)
	server.OnConnect(func(_ context.Context, s *socketio.Socket) error { sockets <- s; return nil })
	ps := make([]*peer, 3)
	for i := range ps {
		ps[i] = dial(t, front, "/")
	}
	byID := map[string]*socketio.Socket{}
	for range ps {
		s := receive(t, sockets)
		byID[s.ID()] = s
	}
	for i, room := range []string{"r", "r", "q"} {
		ps[i].send(fmt.Sprintf(`421["join",%q]`, room))
		ps[i].expect(`431[]`)
	}
	first := byID[ps[0].sids["/"]]
	ctx := t.Context()
	tests := []struct {
		name string
		b    socketio.Broadcast
		want []int
	}{
		{"room", server.To("r"), []int{0, 1}},
		{"two rooms", server.To("r").In("q", "r"), []int{0, 1, 2}},
		{"socket id", server.To(ps[2].sids["/"]), []int{2}},
		{"id and its room", server.To(ps[0].sids["/"], "r"), []int{0, 1}},
		{"unknown room", server.To("none"), nil},
		{"except room", server.Except("r"), []int{2}},
		{"except id", server.Except(ps[2].sids["/"]), []int{0, 1}},
		{"room except id", server.To("r").Except(ps[1].sids["/"]), []int{0}},
		{"from a socket", first.Broadcast(), []int{1, 2}},
		{"from a socket to its room", first.To("r"), []int{1}},
		{"from a socket except", first.Except("q"), []int{1}},
		{"local volatile", server.Local().Volatile(), []int{0, 1, 2}},
	}
	for i, tt := range tests {
		if err := tt.b.Emit(ctx, "n", i); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		_ = server.Emit(ctx, "mark") // what came before it must be the event or nothing
		for j, p := range ps {
			got := p.read()
			if reached := got == fmt.Sprintf(`42["n",%d]`, i); reached != slices.Contains(tt.want, j) {
				t.Errorf("%s: client %d got %s", tt.name, j, got)
			} else if reached {
				p.expect(`42["mark"]`)
			}
		}
	}
	ps[0].send(`422["leave"]`)
	ps[0].expect(`432[]`)
	if got := first.Rooms(); !slices.Equal(got, []string{first.ID()}) {
		t.Errorf("Rooms after Leave = %v", got)
	}
}

func TestAcks(t *testing.T) {
	type sum struct{ A, B int }
	const add socketio.Call[sum, int] = "add"
	server, front := start(t, nil)
	add.Handle(server, func(_ context.Context, _ *socketio.Socket, s sum) (int, error) {
		if s.A < 0 {
			return 0, errors.New("negative")
		}
		return s.A + s.B, nil
	})
	server.On("twice", func(ctx context.Context, _ *socketio.Socket, args socketio.Args) error {
		if err := args.Ack(ctx, []byte{7}, "x"); err != nil {
			return err
		}
		if err := args.Ack(ctx); !errors.Is(err, socketio.ErrAcked) {
			t.Errorf("second Ack = %v, want ErrAcked", err)
		}
		return nil
	})
	failed := make(chan error, 9)
	server.OnError(func(_ context.Context, _ *socketio.Socket, err error) { failed <- err })
	connected := make(chan *socketio.Socket, 1)
	server.OnConnect(func(_ context.Context, s *socketio.Socket) error { connected <- s; return nil })
	p := dial(t, front, "/")
	s := receive(t, connected)

	p.send(`4212["add",{"A":2,"B":3}]`)
	p.expect(`4312[5]`)
	p.send(`42["add",{"A":-1}]`)
	if err := receive(t, failed); !strings.Contains(err.Error(), "negative") {
		t.Errorf("OnError got %v", err)
	}
	p.send(`42["add",{"A":"wrong type"}]`)
	if err := receive(t, failed); err == nil {
		t.Error("OnError got nothing")
	}
	p.send(`423["twice"]`)
	p.expect(`461-3[{"_placeholder":true,"num":0},"x"]`, "b:07")

	go func() {
		got := p.read() // the counter of the namespace begins at 0
		if got != `420["add",{"A":1,"B":2}]` {
			t.Errorf("Call sent %s", got)
		}
		p.send(`430[3]`)
	}()
	if got, err := add.Call(t.Context(), s, sum{1, 2}); got != 3 || err != nil {
		t.Errorf("Call = %d, %v, want 3", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.EmitWithAck(ctx, "silent"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("EmitWithAck without answer = %v, want DeadlineExceeded", err)
	}
	go p.ws.Close()
	if _, err := s.EmitWithAck(t.Context(), "gone"); !errors.Is(err, socketio.ErrDisconnected) {
		t.Errorf("EmitWithAck to one that leaves = %v, want ErrDisconnected", err)
	}
}

// A handler may wait for an acknowledgement of the client whose event it handles.
func TestHandlerWaitsForItsClient(t *testing.T) {
	server, front := start(t, nil)
	server.On("ask", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		answer, err := s.EmitWithAck(ctx, "question")
		if err != nil {
			return err
		}
		return args.Ack(ctx, answer)
	})
	p := dial(t, front, "/")
	p.send(`421["ask"]`)
	p.expect(`420["question"]`)
	p.send(`430["answer",{"a":1}]`)
	p.expect(`431["answer",{"a":1}]`)
}

func TestDisconnectOrderAndReasons(t *testing.T) {
	type ending struct {
		during, after []string
		reason        socketio.Reason
		events        int64
	}
	server, front := start(t, nil)
	endings := make(chan ending, 1)
	var events atomic.Int64
	var during []string
	server.OnConnect(func(ctx context.Context, s *socketio.Socket) error { return s.Join(ctx, "r") })
	server.On("count", func(context.Context, *socketio.Socket, socketio.Args) error { events.Add(1); return nil })
	server.On("leave", func(_ context.Context, s *socketio.Socket, _ socketio.Args) error { s.Disconnect(false); return nil })
	server.On("close", func(_ context.Context, s *socketio.Socket, _ socketio.Args) error { s.Disconnect(true); return nil })
	server.OnDisconnecting(func(_ context.Context, s *socketio.Socket, _ socketio.Reason) { during = s.Rooms() })
	server.OnDisconnect(func(_ context.Context, s *socketio.Socket, reason socketio.Reason) {
		endings <- ending{during, s.Rooms(), reason, events.Swap(0)}
	})
	tests := []struct {
		name   string
		act    func(p *peer)
		reason socketio.Reason
	}{
		{"client disconnects", func(p *peer) { p.send("41") }, socketio.ClientNamespaceDisconnect},
		{"client closes", func(p *peer) { p.ws.Close() }, ""}, // close or error, as TCP sees it
		{"server disconnects", func(p *peer) { p.send(`42["leave"]`); p.expect("41") }, socketio.ServerNamespaceDisconnect},
		{"server closes", func(p *peer) { p.send(`42["close"]`); p.expect("41"); p.expectClosed() }, socketio.ServerNamespaceDisconnect},
		{"violation", func(p *peer) { p.send(`42["connect"]`); p.expectClosed() }, socketio.ForcedClose},
		{"second CONNECT", func(p *peer) { p.send("40"); p.expectClosed() }, socketio.ForcedClose},
		{"event for another namespace", func(p *peer) { p.send(`42/x,["a"]`); p.expectClosed() }, socketio.ForcedClose},
		{"binary without header", func(p *peer) { p.sendBinary([]byte{1}); p.expectClosed() }, socketio.ForcedClose},
		{"text instead of binary", func(p *peer) { p.send(`451-["a",{"_placeholder":true,"num":0}]`); p.send(`42["a"]`); p.expectClosed() }, socketio.ForcedClose},
		{"placeholder out of range", func(p *peer) {
			p.send(`451-["a",{"_placeholder":true,"num":1}]`)
			p.sendBinary([]byte{1})
			p.expectClosed()
		}, socketio.ForcedClose},
		{"bad engine packet", func(p *peer) { p.send("9"); p.expectClosed() }, socketio.ParseError},
	}
	for _, tt := range tests {
		p := dial(t, front, "/")
		for range 3 {
			p.send(`42["count"]`)
		}
		tt.act(p)
		got := receive(t, endings)
		if tt.reason != "" && got.reason != tt.reason {
			t.Errorf("%s: reason %q, want %q", tt.name, got.reason, tt.reason)
		}
		if len(got.during) != 2 || len(got.after) != 0 || got.events != 3 {
			t.Errorf("%s: rooms %v while disconnecting and %v after, %d events before; want 2, none, 3", tt.name, got.during, got.after, got.events)
		}
		p.ws.Close()
	}
	eventually(t, "no socket left", func() bool { return server.Len() == 0 })
}

func TestPanicEndsThatSocketOnly(t *testing.T) {
	server, front := start(t, nil)
	server.On("panic", func(context.Context, *socketio.Socket, socketio.Args) error { panic("boom") })
	failed := make(chan error, 1)
	server.OnError(func(_ context.Context, _ *socketio.Socket, err error) { failed <- err })
	server.Of("/other")
	p, other := dial(t, front, "/", "/other"), dial(t, front, "/")
	p.send(`42["panic"]`)
	p.expect("41")
	var panicked *socketio.PanicError
	if err := receive(t, failed); !errors.As(err, &panicked) || panicked.Value != "boom" || len(panicked.Stack) == 0 {
		t.Errorf("OnError got %v", err)
	}
	_ = server.Emit(t.Context(), "x")
	_ = server.Of("/other").Emit(t.Context(), "y")
	other.expect(`42["x"]`)
	p.expect(`42/other,["y"]`)
	if n := server.Stats().HandlerPanics; n != 1 {
		t.Errorf("HandlerPanics = %d, want 1", n)
	}
}

func TestEmitRefuses(t *testing.T) {
	server, front := start(t, nil)
	connected := make(chan *socketio.Socket, 1)
	server.OnConnect(func(_ context.Context, s *socketio.Socket) error { connected <- s; return nil })
	p := dial(t, front, "/")
	s := receive(t, connected)
	eleven := make([]any, 11)
	for i := range eleven {
		eleven[i] = []byte{byte(i)}
	}
	for _, e := range []socketio.Emitter{server, server.To("r"), s, s.Volatile()} {
		if err := e.Emit(t.Context(), "disconnect"); !errors.Is(err, socketio.ErrReservedEvent) {
			t.Errorf("%T: Emit of a reserved name = %v", e, err)
		}
		if err := e.Emit(t.Context(), "x", eleven...); !errors.Is(err, socketio.ErrTooManyAttachments) {
			t.Errorf("%T: Emit of 11 attachments = %v", e, err)
		}
		if err := e.Emit(t.Context(), "x", make(chan int)); err == nil {
			t.Errorf("%T: Emit of a channel = nil", e)
		}
	}
	p.ws.Close()
	eventually(t, "Emit to a socket that left fails", func() bool {
		return errors.Is(s.Emit(t.Context(), "x"), socketio.ErrDisconnected)
	})
	if err := s.Join(t.Context(), "r"); err != nil && !errors.Is(err, socketio.ErrDisconnected) {
		t.Errorf("Join after the end = %v", err)
	}
}

// What handlers derive from their context ends with the socket, and costs no goroutine until then.
func TestHandlerContext(t *testing.T) {
	server, p, _ := connected(t)
	derived, ended := make(chan context.Context, 1), make(chan bool, 1)
	server.On("e", func(ctx context.Context, _ *socketio.Socket, _ socketio.Args) error {
		if ctx.Err() != nil {
			t.Error("the context ended before the socket")
		}
		before := runtime.NumGoroutine()
		child, cancel := context.WithTimeout(ctx, time.Hour)
		stop := context.AfterFunc(ctx, func() { t.Error("called after it was stopped") })
		if !stop() {
			t.Error("stop = false, want true")
		}
		context.AfterFunc(child, func() { cancel(); ended <- true })
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines, %d before", n, before)
		}
		derived <- child
		return nil
	})
	p.send(`42["e"]`)
	child := receive(t, derived)
	p.ws.Close()
	receive(t, ended)
	if child.Err() == nil {
		t.Error("the derived context did not end")
	}
}

// OnError is one of the socket's handlers: it runs with them, not beside them, and holds up nobody else.
func TestOnErrorRunsInOrder(t *testing.T) {
	server, front := start(t, nil)
	release := make(chan struct{})
	failed := make(chan error, 1)
	server.On("wait", func(context.Context, *socketio.Socket, socketio.Args) error { <-release; return nil })
	server.OnError(func(_ context.Context, _ *socketio.Socket, err error) { failed <- err })
	p := dial(t, front, "/")
	p.send(`42["wait"]`)
	p.send(`42["connect"]`)
	p.expectClosed()
	select {
	case err := <-failed:
		t.Errorf("OnError ran beside a handler: %v", err)
	default:
	}
	close(release)
	var broken *socketio.ProtocolError
	if err := receive(t, failed); !errors.As(err, &broken) {
		t.Errorf("OnError got %v", err)
	}
	if n := server.Stats().Violations; n != 1 {
		t.Errorf("Violations = %d, want 1", n)
	}
}

// A client that sends faster than its handlers work is not read any further, and others do not notice.
func TestFullInboxStopsReading(t *testing.T) {
	server, front := start(t, nil)
	release, begun := make(chan struct{}), make(chan struct{}, 1000)
	var handled atomic.Int64
	server.On("slow", func(context.Context, *socketio.Socket, socketio.Args) error {
		begun <- struct{}{}
		<-release
		handled.Add(1)
		return nil
	})
	server.On("echo", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error { return args.Ack(ctx) })
	p, other := dial(t, front, "/"), dial(t, front, "/")
	const events = 1000
	for range events {
		p.send(`42["slow"]`)
	}
	receive(t, begun)
	other.send(`421["echo"]`)
	other.expect(`431[]`)
	if got := server.Stats().Namespaces[0].EventsReceived; got != 2 {
		t.Errorf("%d events were taken from the inboxes, want 2", got)
	}
	close(release)
	eventually(t, "all events handled", func() bool { return handled.Load() == events })
}

func TestSlowHandlerClosesTheConnection(t *testing.T) {
	server, front := start(t, &socketio.Options{InboxTimeout: 20 * time.Millisecond})
	reasons := make(chan socketio.Reason, 1)
	server.On("slow", func(ctx context.Context, _ *socketio.Socket, _ socketio.Args) error {
		<-ctx.Done() // the context ends with the connection
		return ctx.Err()
	})
	server.OnDisconnect(func(_ context.Context, _ *socketio.Socket, r socketio.Reason) { reasons <- r })
	p := dial(t, front, "/")
	for range 100 {
		if p.ws.WriteMessage(websocket.TextMessage, []byte(`42["slow"]`)) != nil {
			break
		}
	}
	if r := receive(t, reasons); r != socketio.SlowHandler {
		t.Errorf("reason %q, want %q", r, socketio.SlowHandler)
	}
}

// A client that reads nothing is closed by name, and what waited for it was bounded.
func TestSlowConsumerIsClosed(t *testing.T) {
	server, front := start(t, &socketio.Options{QueueBytes: 256 << 10})
	reasons := make(chan socketio.Reason, 1)
	server.OnDisconnect(func(_ context.Context, _ *socketio.Socket, r socketio.Reason) { reasons <- r })
	dial(t, front, "/") // never reads on
	payload := strings.Repeat("x", 64<<10)
	for {
		if err := server.Emit(t.Context(), "x", payload); err != nil {
			t.Fatal(err)
		}
		if queued := server.Stats().QueueBytes; queued > 512<<10 {
			t.Fatalf("%d bytes wait in outboxes, the bound is %d and a message", queued, 256<<10)
		}
		select {
		case r := <-reasons:
			if r != socketio.SlowConsumer {
				t.Errorf("reason %q, want %q", r, socketio.SlowConsumer)
			}
			return
		default:
		}
	}
}

func TestConnectTimeout(t *testing.T) {
	_, front := start(t, &socketio.Options{ConnectTimeout: 20 * time.Millisecond})
	open(t, front).expectClosed()
}

func TestShutdown(t *testing.T) {
	server, front := start(t, nil)
	reasons := make(chan socketio.Reason, 1)
	server.OnDisconnect(func(_ context.Context, _ *socketio.Socket, r socketio.Reason) { reasons <- r })
	p := dial(t, front, "/")
	_ = server.Emit(t.Context(), "last")
	draining := make(chan error, 1)
	go func() { draining <- server.Drain(t.Context(), &socketio.DrainOptions{LameDuck: time.Hour}) }()
	eventually(t, "the server drains", func() bool { return server.Ready() != nil })
	resp, err := http.Get(front.URL + "/socket.io/?EIO=4&transport=polling")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("handshake while draining = %d, Retry-After %q, want 503", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	if err := server.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if err := receive(t, draining); err != nil {
		t.Errorf("Drain = %v, want its end with the last connection's", err)
	}
	p.expect(`42["last"]`) // flushed, and no DISCONNECT follows
	if got, err := p.next(); err == nil {
		t.Errorf("after the shutdown: %s", got)
	}
	if r := receive(t, reasons); r != socketio.ServerShutdown {
		t.Errorf("reason %q, want %q", r, socketio.ServerShutdown)
	}
	if err := server.Shutdown(t.Context()); !errors.Is(err, socketio.ErrServerClosed) {
		t.Errorf("second Shutdown = %v, want ErrServerClosed", err)
	}
}

func TestForeignOriginIsRefused(t *testing.T) {
	_, front := start(t, nil)
	url := "ws" + strings.TrimPrefix(front.URL, "http") + "/socket.io/?EIO=4&transport=websocket"
	_, resp, err := websocket.DefaultDialer.Dial(url, http.Header{"Origin": {"https://evil.example"}})
	if err == nil || resp == nil || resp.StatusCode != 400 {
		t.Errorf("a foreign origin got %v, %v; want 400", resp, err)
	}
	ws, _, err := websocket.DefaultDialer.Dial(url, http.Header{"Origin": {front.URL}})
	if err != nil {
		t.Fatalf("the same origin got %v", err)
	}
	ws.Close()
}

func TestNewServerNamesTheBadOption(t *testing.T) {
	for want, o := range map[string]*socketio.Options{
		"PingInterval": {PingInterval: -1},
		"MaxPayload":   {MaxPayload: -1},
		"Transports":   {Transports: []string{"carrier pigeon"}},
		"RouteTag":     {RouteTag: "a_b"},
		"QueuePolicy":  {QueuePolicy: 7},
	} {
		if _, err := socketio.NewServer(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewServer = %v, want an error that names %s", err, want)
		}
	}
}
