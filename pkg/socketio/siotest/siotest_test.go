package siotest_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/parser"
	"example.com/chorus/pkg/socketio/siotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start makes a server for the test.
func start(t *testing.T, o *socketio.Options) *socketio.Server {
	t.Helper()
	server, err := socketio.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Shutdown(context.Background()); err != nil && !errors.Is(err, socketio.ErrServerClosed) {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return server
}

func connect(t *testing.T, h http.Handler, o *siotest.Options) *siotest.Client {
	t.Helper()
	c, err := siotest.Connect(t.Context(), h, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEventsBothWays(t *testing.T) {
	server := start(t, nil)
	server.On("chat message", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		return server.Emit(ctx, "chat message", args)
	})
	alice, bob := connect(t, server, nil), connect(t, server, nil)
	if alice.ID() == "" || alice.ID() == bob.ID() {
		t.Errorf("ids are %q and %q", alice.ID(), bob.ID())
	}
	check(t, alice.Emit(t.Context(), "chat message", "<hello>", 1, map[string]any{"a": []any{true, nil}}))
	for _, c := range []*siotest.Client{alice, bob} {
		var (
			text  string
			n     int
			value struct{ A []any }
		)
		check(t, c.Expect(t.Context(), "chat message", &text, &n, &value))
		if text != "<hello>" || n != 1 || len(value.A) != 2 {
			t.Errorf("got %q, %d, %v", text, n, value)
		}
	}
	check(t, alice.Emit(t.Context(), "chat message"))
	e, err := bob.Next(t.Context())
	check(t, err)
	if e.Name != "chat message" || e.Len() != 0 || e.WantsAck() {
		t.Errorf("got %v", e)
	}
	if err := e.Ack(t.Context()); !errors.Is(err, socketio.ErrNoAck) {
		t.Errorf("Ack of an event without one = %v", err)
	}
}

func TestExpectNamesWhatCame(t *testing.T) {
	server := start(t, nil)
	c := connect(t, server, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := c.Expect(ctx, "news"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `"news"`) {
		t.Errorf("Expect without an event = %v", err)
	}
	check(t, server.Emit(t.Context(), "other", 1))
	if err := c.Expect(t.Context(), "news"); err == nil || !strings.Contains(err.Error(), `got "other" [1]`) {
		t.Errorf("Expect of another event = %v", err)
	}
}

func TestBinary(t *testing.T) {
	server := start(t, nil)
	server.On("echo", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		return args.Ack(ctx, args)
	})
	c := connect(t, server, nil)
	for _, size := range []int{0, 1, 200, 70_000} {
		in := bytes.Repeat([]byte{0xff, 0}, size/2)
		answer, err := c.EmitWithAck(t.Context(), "echo", map[string]any{"deep": []any{in}}, in, "text")
		check(t, err)
		var (
			deep struct{ Deep [][]byte }
			flat []byte
			text string
		)
		check(t, answer.Decode(&deep, &flat, &text))
		if len(deep.Deep) != 1 || !bytes.Equal(deep.Deep[0], in) || !bytes.Equal(flat, in) || text != "text" {
			t.Errorf("%d bytes came back as %d and %d", len(in), len(deep.Deep[0]), len(flat))
		}
	}
	if err := c.Emit(t.Context(), "echo", make(chan int)); err == nil {
		t.Error("Emit of a channel = nil")
	}
}

func TestServerCallsClient(t *testing.T) {
	server := start(t, nil)
	names := make(chan string, 1)
	server.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		answer, err := s.EmitWithAck(ctx, "who?")
		if err != nil {
			return err
		}
		var name string
		err = answer.Decode(&name)
		names <- name
		return err
	})
	c := connect(t, server, nil)
	e, err := c.Next(t.Context())
	check(t, err)
	if !e.WantsAck() {
		t.Error("WantsAck() = false")
	}
	check(t, e.Ack(t.Context(), "Ann"))
	if err := e.Ack(t.Context(), "Ann"); !errors.Is(err, socketio.ErrAcked) {
		t.Errorf("second Ack = %v", err)
	}
	if name := <-names; name != "Ann" {
		t.Errorf("the server got %q", name)
	}
}

func TestNamespacesAndRefusals(t *testing.T) {
	server := start(t, nil)
	server.Of("/chat").Use(func(ctx context.Context, s *socketio.Socket) error {
		if string(s.Handshake().Auth) != `{"token":"secret"}` {
			return &socketio.ConnectError{Message: "who are you?", Data: map[string]any{"code": 7}}
		}
		return nil
	})
	main := connect(t, server, nil)
	chat, err := main.Of(t.Context(), "chat", map[string]any{"token": "secret"})
	check(t, err)
	if _, err := main.Of(t.Context(), "/chat", nil); err == nil {
		t.Error("joined a namespace twice")
	}
	check(t, server.Emit(t.Context(), "main"))
	check(t, server.Of("/chat").Emit(t.Context(), "chat"))
	check(t, chat.Expect(t.Context(), "chat"))
	check(t, main.Expect(t.Context(), "main"))

	check(t, chat.Disconnect(t.Context()))
	_, err = main.Of(t.Context(), "/chat", nil)
	refusal, ok := errors.AsType[*socketio.ConnectError](err)
	if !ok || refusal.Message != "who are you?" || refusal.Data.(map[string]any)["code"] != 7.0 {
		t.Errorf("a refused namespace = %v", err)
	}
	_, err = siotest.Connect(t.Context(), server, &siotest.Options{Namespace: "/nowhere"})
	if refusal, ok := errors.AsType[*socketio.ConnectError](err); !ok || refusal.Message != "Invalid namespace" {
		t.Errorf("an unknown namespace = %v", err)
	}
	if _, err = main.Of(t.Context(), "/chat", "no object"); err == nil {
		t.Error("auth that is no object = nil")
	}
}

func TestHandshake(t *testing.T) {
	server := start(t, nil)
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", server)
	mux.HandleFunc("/broken/", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	seen := make(chan socketio.Handshake, 1)
	server.OnConnect(func(_ context.Context, s *socketio.Socket) error { seen <- s.Handshake(); return nil })
	connect(t, mux, &siotest.Options{
		Header: http.Header{"X-Test": {"yes"}, "Host": {"chat.example"}, "Origin": {"http://chat.example"}},
		Query:  url.Values{"room": {"42"}},
	})
	if h := <-seen; h.Header.Get("X-Test") != "yes" || h.Query["room"] != "42" || h.RemoteAddr != "192.0.2.1:1234" {
		t.Errorf("handshake is %+v", h)
	}
	_, err := siotest.Connect(t.Context(), mux, &siotest.Options{Header: http.Header{"Origin": {"http://evil.example"}}})
	if refused, ok := errors.AsType[*siotest.HandshakeError](err); !ok || refused.Status != 400 || refused.Body != "Forbidden" {
		t.Errorf("a foreign origin = %v", err)
	}
	_, err = siotest.Connect(t.Context(), mux, &siotest.Options{Path: "/elsewhere/"})
	if refused, ok := errors.AsType[*siotest.HandshakeError](err); !ok || refused.Status != 404 {
		t.Errorf("another path = %v", err)
	}
	if _, err = siotest.Connect(t.Context(), mux, &siotest.Options{Path: "/broken/"}); err == nil {
		t.Error("an aborted handshake = nil")
	}
}

func TestEnds(t *testing.T) {
	server := start(t, nil)
	reasons := make(chan socketio.Reason, 1)
	server.OnDisconnect(func(_ context.Context, _ *socketio.Socket, r socketio.Reason) { reasons <- r })
	server.On("leave", func(ctx context.Context, s *socketio.Socket, _ socketio.Args) error {
		defer s.Disconnect(false)
		return s.Emit(ctx, "bye")
	})
	server.On("hang up", func(_ context.Context, s *socketio.Socket, _ socketio.Args) error { s.Disconnect(true); return nil })
	server.On("wait", func(ctx context.Context, s *socketio.Socket, _ socketio.Args) error { <-ctx.Done(); return nil })
	tests := []struct {
		name   string
		end    func(c *siotest.Client) error
		client siotest.Reason
		server socketio.Reason
	}{
		{"client leaves", func(c *siotest.Client) error { return c.Disconnect(t.Context()) }, siotest.ClientDisconnect, socketio.ClientNamespaceDisconnect},
		{"client closes", func(c *siotest.Client) error { c.Close(); return nil }, siotest.TransportClose, socketio.TransportClose},
		{"server disconnects", func(c *siotest.Client) error { return c.Emit(t.Context(), "leave") }, siotest.ServerDisconnect, socketio.ServerNamespaceDisconnect},
		{"server hangs up", func(c *siotest.Client) error { return c.Emit(t.Context(), "hang up") }, siotest.ServerDisconnect, socketio.ServerNamespaceDisconnect},
		{"server shuts down", func(c *siotest.Client) error { return server.Shutdown(t.Context()) }, siotest.TransportClose, socketio.ServerShutdown},
	}
	for _, tt := range tests {
		c := connect(t, server, nil)
		waiting := make(chan error)
		go func() {
			_, err := c.EmitWithAck(t.Context(), "never answered")
			waiting <- err
		}()
		check(t, tt.end(c))
		reason, err := c.Wait(t.Context())
		check(t, err)
		if got := <-reasons; reason != tt.client || got != tt.server {
			t.Errorf("%s: %q and on the server %q, want %q and %q", tt.name, reason, got, tt.client, tt.server)
		}
		if ended, ok := errors.AsType[*siotest.DisconnectError](<-waiting); !ok || ended.Reason != tt.client {
			t.Errorf("%s: an ack that was waited for = %v", tt.name, ended)
		}
		if tt.name == "server disconnects" {
			check(t, c.Expect(t.Context(), "bye")) // what came before is not lost
		}
		_, err = c.Next(t.Context())
		if ended, ok := errors.AsType[*siotest.DisconnectError](err); !ok || ended.Reason != tt.client {
			t.Errorf("%s: Next = %v", tt.name, err)
		}
		if err := c.Emit(t.Context(), "late"); !errors.As(err, new(*siotest.DisconnectError)) {
			t.Errorf("%s: Emit = %v", tt.name, err)
		}
		c.Close()
		if _, err := c.Of(t.Context(), "/", nil); !errors.As(err, new(*siotest.DisconnectError)) {
			t.Errorf("%s: Of after Close = %v", tt.name, err)
		}
	}
	if _, err := siotest.Connect(t.Context(), server, nil); !errors.As(err, new(*siotest.HandshakeError)) {
		t.Errorf("a server that was shut down = %v", err)
	}
}

// What was emitted before Close arrives.
func TestCloseSendsWhatWaits(t *testing.T) {
	server := start(t, nil)
	const events = 100
	got := make(chan int, events)
	server.On("n", func(_ context.Context, _ *socketio.Socket, args socketio.Args) error {
		var n int
		err := args.Decode(&n)
		got <- n
		return err
	})
	c := connect(t, server, nil)
	for n := range events {
		check(t, c.Emit(t.Context(), "n", n))
	}
	c.Close()
	for want := range events {
		if n := <-got; n != want {
			t.Fatalf("got %d, want %d", n, want)
		}
	}
}

// Time stands still in a bubble unless everybody waits.
func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := start(t, nil)
		server.On("later", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
			time.AfterFunc(time.Hour, func() { _ = s.Emit(context.Background(), "now") })
			return args.Ack(ctx)
		})
		c := connect(t, server, nil)
		began := time.Now()
		_, err := c.EmitWithAck(t.Context(), "later")
		check(t, err)
		synctest.Wait()
		if n := c.Pending(); n != 0 {
			t.Errorf("%d events came at once", n)
		}
		if err := c.Expect(t.Context(), "now"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Expect = %v", err)
		}
		time.Sleep(time.Hour) // more than a hundred heartbeats, which the client answers
		synctest.Wait()
		if n := c.Pending(); n != 1 {
			t.Errorf("%d events came after an hour, want 1", n)
		}
		check(t, c.Expect(t.Context(), "now"))
		if d := time.Since(began); d != time.Hour+10*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

// A server that stops reading does not stop the client's waits.
func TestContextEndsWhileServerDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := start(t, &socketio.Options{InboxTimeout: time.Hour, PingInterval: 2 * time.Hour})
		release := make(chan struct{})
		server.On("slow", func(context.Context, *socketio.Socket, socketio.Args) error { <-release; return nil })
		c := connect(t, server, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var err error
		for err == nil {
			err = c.Emit(ctx, "slow")
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Emit = %v", err)
		}
		close(release)
		synctest.Wait()
		check(t, c.Emit(t.Context(), "slow"))
	})
}

func TestOverflow(t *testing.T) {
	server := start(t, nil)
	server.On("flood", func(ctx context.Context, s *socketio.Socket, _ socketio.Args) error {
		var err error
		for n := 0; err == nil; n++ {
			err = s.Emit(ctx, "n", n)
		}
		if errors.Is(err, socketio.ErrDisconnected) || errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	})
	c := connect(t, server, nil)
	check(t, c.Emit(t.Context(), "flood"))
	reason, err := c.Wait(t.Context())
	check(t, err)
	if reason != siotest.Overflow {
		t.Errorf("a client that takes nothing ended with %q", reason)
	}
	n := -1
	check(t, c.Expect(t.Context(), "n", &n))
	if n != 0 {
		t.Errorf("the first event is %d", n)
	}
}

func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := start(t, &socketio.Options{Recovery: &socketio.Recovery{Window: time.Minute}})
		server.OnConnect(func(ctx context.Context, s *socketio.Socket) error { return s.Join(ctx, "room") })
		first := connect(t, server, &siotest.Options{Auth: map[string]any{"token": "t"}})
		if first.Recovered() {
			t.Error("a first connection is recovered")
		}
		check(t, server.Emit(t.Context(), "seen", 1))
		check(t, first.Expect(t.Context(), "seen"))
		first.Close()
		check(t, server.To("room").Emit(t.Context(), "missed", []byte{1, 2}))
		second, err := first.Reconnect(t.Context())
		check(t, err)
		defer second.Close()
		var missed []byte
		check(t, second.Expect(t.Context(), "missed", &missed))
		if !second.Recovered() || second.ID() != first.ID() || !bytes.Equal(missed, []byte{1, 2}) {
			t.Errorf("recovered %t, id %q after %q, missed %v", second.Recovered(), second.ID(), first.ID(), missed)
		}

		second.Close()
		time.Sleep(2 * time.Minute)
		third, err := second.Reconnect(t.Context())
		check(t, err)
		defer third.Close()
		if third.Recovered() || third.ID() == first.ID() {
			t.Error("recovered after the window")
		}
	})
}

func TestParser(t *testing.T) {
	server := start(t, &socketio.Options{Parser: parser.Msgpack()})
	server.On("echo", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error { return args.Ack(ctx, args) })
	c := connect(t, server, &siotest.Options{Parser: parser.Msgpack()})
	answer, err := c.EmitWithAck(t.Context(), "echo", map[string]any{"b": []byte{1}, "n": 1.5}, "text")
	check(t, err)
	var (
		value struct {
			B []byte
			N float64
		}
		text string
	)
	check(t, answer.Decode(&value, &text))
	if !bytes.Equal(value.B, []byte{1}) || value.N != 1.5 || text != "text" {
		t.Errorf("got %v, %q", value, text)
	}
	if _, err := siotest.Connect(t.Context(), server, nil); err == nil {
		t.Error("a client with another parser = nil")
	}
}

// Close does not wait for a server that never reads what was emitted before.
func TestCloseWhileServerDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := start(t, &socketio.Options{InboxTimeout: time.Hour})
		server.On("slow", func(ctx context.Context, _ *socketio.Socket, _ socketio.Args) error { <-ctx.Done(); return nil })
		c := connect(t, server, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for c.Emit(ctx, "slow") == nil {
			continue
		}
		began := time.Now()
		c.Close()
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("Close took %v", d)
		}
	})
}
