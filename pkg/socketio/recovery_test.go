package socketio_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/chorus/pkg/socketio"
)

// session is what a client must keep to come back.
type session struct{ sid, pid, offset string }

// connect joins "/" and returns the packets before the answer, and the session.
func (p *peer) connect(auth string) (before []string, s session) {
	p.t.Helper()
	p.send("40" + auth)
	for {
		got := p.read()
		var reply struct{ SID, PID string }
		if strings.HasPrefix(got, "40") && json.Unmarshal([]byte(got[2:]), &reply) == nil && reply.PID != "" {
			return before, session{sid: reply.SID, pid: reply.PID}
		}
		before = append(before, got)
	}
}

// event reads one and returns it without its offset.
func (p *peer) event() (packet, offset string) {
	p.t.Helper()
	return cutOffset(p.t, p.read())
}

func cutOffset(t testing.TB, packet string) (rest, offset string) {
	t.Helper()
	i := strings.LastIndex(packet, `,"`)
	if i < 0 || !strings.HasSuffix(packet, `"]`) {
		t.Fatalf("no offset in %s", packet)
	}
	return packet[:i] + "]", packet[i+2 : len(packet)-2]
}

func (s session) auth() string {
	return fmt.Sprintf(`{"pid":%q,"offset":%q,"token":"x"}`, s.pid, s.offset)
}

func TestRecovery(t *testing.T) {
	server, front := start(t, &socketio.Options{Recovery: &socketio.Recovery{}})
	middlewares := 0
	server.Use(func(context.Context, *socketio.Socket) error { middlewares++; return nil })
	sockets := make(chan *socketio.Socket, 9)
	server.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		sockets <- s
		if s.Recovered() {
			return nil
		}
		s.Set("name", "Ann")
		return s.Join(ctx, "r")
	})
	left := make(chan socketio.Reason, 9)
	server.OnDisconnect(func(_ context.Context, _ *socketio.Socket, reason socketio.Reason) { left <- reason })
	ctx := t.Context()

	p := open(t, front)
	_, s := p.connect("")
	first := receive(t, sockets)
	_ = server.Emit(ctx, "one")
	if got, offset := p.event(); got != `42["one"]` {
		t.Fatalf("got %s", got)
	} else {
		s.offset = offset
	}
	p.ws.Close()
	receive(t, left)
	_ = server.To("r").Emit(ctx, "two", []byte{7})
	_ = server.To("q").Emit(ctx, "other room")
	_ = server.Except("r").Emit(ctx, "not for r")
	_ = server.To(s.sid).Emit(ctx, "three")
	_ = server.Volatile().Emit(ctx, "volatile")
	_ = server.Emit(ctx, "four")

	q := open(t, front)
	before, again := q.connect(s.auth())
	if again.sid != s.sid || again.pid != s.pid {
		t.Fatalf("came back as %+v, was %+v", again, s)
	}
	var got []string
	for _, packet := range before {
		if strings.HasPrefix(packet, "b:") {
			got = append(got, packet)
			continue
		}
		rest, offset := cutOffset(t, packet)
		got = append(got, rest)
		again.offset = offset
	}
	if want := []string{`451-["two",{"_placeholder":true,"num":0}]`, "b:07", `42["three"]`, `42["four"]`}; !slices.Equal(got, want) {
		t.Errorf("missed events were %q, want %q", got, want)
	}
	second := receive(t, sockets)
	rooms := second.Rooms()
	slices.Sort(rooms)
	want := []string{first.ID(), "r"}
	slices.Sort(want)
	name, _ := second.Get("name")
	if !second.Recovered() || second.ID() != first.ID() || !slices.Equal(rooms, want) || name != "Ann" || middlewares != 1 {
		t.Errorf("recovered %t as %s with rooms %v, name %v, %d runs of the middleware", second.Recovered(), second.ID(), rooms, name, middlewares)
	}
	if auth := string(second.Handshake().Auth); !strings.Contains(auth, `"token":"x"`) {
		t.Errorf("auth is %s, want that of the new connection", auth)
	}
	_ = second.Emit(ctx, "five")
	if got, _ := q.event(); got != `42["five"]` {
		t.Errorf("after the recovery: %s", got)
	}

	// Once only, also while the session is live on another connection: that one is ended and its session goes on.
	r := open(t, front)
	_, third := r.connect(again.auth())
	if third.sid != s.sid {
		t.Errorf("a client that came back before its loss was noticed got a fresh session")
	}
	q.expectClosed()
	receive(t, left)

	// On purpose is for good.
	r.send("41")
	if reason := receive(t, left); reason != socketio.ClientNamespaceDisconnect {
		t.Errorf("reason %q", reason)
	}
	x := open(t, front)
	third.offset = again.offset
	if _, fresh := x.connect(third.auth()); fresh.sid == s.sid || fresh.pid == s.pid {
		t.Error("a session that its client left on purpose was restored")
	}
	st := server.Stats().Namespaces[0]
	if st.Recoveries["ok"] != 2 || st.Recoveries["unknown"] != 1 {
		t.Errorf("Recoveries = %v", st.Recoveries)
	}
}

// A volatile event must not spoil the offset that the client keeps, which is the last string of any event.
func TestVolatileKeepsTheOffset(t *testing.T) {
	server, front := start(t, &socketio.Options{Recovery: &socketio.Recovery{}})
	left := make(chan struct{}, 9)
	server.OnDisconnect(func(context.Context, *socketio.Socket, socketio.Reason) { left <- struct{}{} })
	p := open(t, front)
	_, s := p.connect("")
	_ = server.Volatile().Emit(t.Context(), "cursor", "x")
	got, offset := p.event()
	if got != `42["cursor","x"]` {
		t.Fatalf("got %s", got)
	}
	s.offset = offset
	p.ws.Close()
	receive(t, left)
	_ = server.Emit(t.Context(), "missed")
	q := open(t, front)
	before, again := q.connect(s.auth())
	if again.sid != s.sid || len(before) != 1 {
		t.Errorf("recovered %t with %d missed events, want 1", again.sid == s.sid, len(before))
	}
}

func TestRecoveryLimits(t *testing.T) {
	for name, o := range map[string]*socketio.Recovery{"messages": {MaxMessages: 3}, "bytes": {MaxBytes: 100}} {
		server, front := start(t, &socketio.Options{Recovery: o})
		left := make(chan struct{}, 9)
		server.OnDisconnect(func(context.Context, *socketio.Socket, socketio.Reason) { left <- struct{}{} })
		p := open(t, front)
		_, s := p.connect("")
		_ = server.Emit(t.Context(), "x")
		_, s.offset = p.event()
		p.ws.Close()
		receive(t, left)
		for range 10 {
			_ = server.Emit(t.Context(), "0123456789012345678901234567890123456789")
		}
		q := open(t, front)
		if before, fresh := q.connect(s.auth()); fresh.sid == s.sid || len(before) != 0 {
			t.Errorf("%s: a client that missed more than what is kept was recovered with %d events", name, len(before))
		}
		if got := server.Stats().Namespaces[0].Recoveries["too_many"]; got != 1 {
			t.Errorf("%s: too_many = %d, want 1", name, got)
		}
	}
}

// Under constant broadcasts a client that is cut again and again gets each event exactly once and in order.
func TestRecoveryUnderLoad(t *testing.T) {
	server, front := start(t, &socketio.Options{Recovery: &socketio.Recovery{}})
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			_ = server.Emit(context.Background(), "n", n)
			time.Sleep(100 * time.Microsecond)
		}
		stopped <- n
	}()
	next, fresh := -1, 0
	var s session
	take := func(packet string) {
		rest, offset := cutOffset(t, packet)
		s.offset = offset
		var n int
		if _, err := fmt.Sscanf(rest, `42["n",%d]`, &n); err != nil {
			t.Fatalf("got %s", rest)
		}
		if next >= 0 && n != next {
			t.Fatalf("got event %d, want %d", n, next)
		}
		next = n + 1
	}
	for round := range 30 {
		p := open(t, front)
		auth := ""
		if s.offset != "" {
			auth = s.auth()
		}
		before, now := p.connect(auth)
		if round > 0 && now.sid != s.sid {
			fresh++
		}
		offset := s.offset
		s = now
		s.offset = offset
		for _, packet := range before {
			take(packet)
		}
		for range 20 {
			take(p.read())
		}
		p.ws.Close()
	}
	cancel()
	if n := <-stopped; n < 600 || fresh > 0 {
		t.Errorf("%d events, %d rounds without recovery", n, fresh)
	}
}
