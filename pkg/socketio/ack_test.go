package socketio_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio"
)

func TestBroadcastWithAck(t *testing.T) {
	server, front := start(t, nil)
	a, b, c := dial(t, front, "/"), dial(t, front, "/"), dial(t, front, "/")
	var clients sync.WaitGroup // one script after the other: a connection has one writer
	clients.Go(func() {
		for i, p := range []*peer{a, b, c} {
			p.expect(`420["q",1]`)
			p.send([]string{`430["a"]`, `430[]`, `430["c",2]`}[i])
		}
	})
	answers, err := server.EmitWithAck(t.Context(), "q", 1)
	if err != nil || len(answers) != 3 {
		t.Fatalf("EmitWithAck = %d answers, %v; want 3", len(answers), err)
	}
	clients.Wait()
	if answers, err := server.To("nobody").EmitWithAck(t.Context(), "q"); err != nil || len(answers) != 0 {
		t.Errorf("EmitWithAck to nobody = %v, %v", answers, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	clients.Go(func() { a.expect(`422["r"]`); a.send(`432["only a"]`) })
	answers, err = server.EmitWithAck(ctx, "r")
	var missing *socketio.MissingAcksError
	if !errors.As(err, &missing) || !errors.Is(err, context.DeadlineExceeded) || missing.Expected != 3 || missing.Received != 1 || len(answers) != 1 {
		t.Errorf("EmitWithAck in vain = %d answers, %v", len(answers), err)
	}
	clients.Wait()
	clients.Go(func() {
		b.expect(`422["r"]`, `423["s"]`)
		b.ws.Close()
		c.expect(`422["r"]`, `423["s"]`)
		c.send(`433[]`)
		a.expect(`423["s"]`)
		a.send(`433[]`)
	})
	answers, err = server.EmitWithAck(t.Context(), "s")
	if !errors.As(err, &missing) || !errors.Is(err, socketio.ErrDisconnected) || len(answers) != 2 {
		t.Errorf("EmitWithAck to one that leaves = %d answers, %v", len(answers), err)
	}
}

// crowded is an adapter that has other nodes and cannot ask them.
type crowded struct{ adapter.Adapter }

func (a crowded) Join(ctx context.Context, nsp string, local adapter.Local) (adapter.Link, error) {
	l, err := a.Adapter.Join(ctx, nsp, local)
	return struct{ adapter.Link }{l}, err
}

func TestRequestsAreLocalIfTheAdapterCannotAsk(t *testing.T) {
	server, front := start(t, &socketio.Options{Adapter: crowded{adapter.NewMemory()}})
	p := dial(t, front, "/")
	if _, err := server.To("r").EmitWithAck(t.Context(), "q"); !errors.Is(err, socketio.ErrLocalOnly) {
		t.Errorf("EmitWithAck = %v, want ErrLocalOnly", err)
	}
	if _, err := server.To("r").Local().EmitWithAck(t.Context(), "q"); err != nil {
		t.Errorf("local EmitWithAck = %v", err)
	}
	if _, err := server.ServerSideEmitWithAck(t.Context(), "q"); !errors.Is(err, socketio.ErrLocalOnly) {
		t.Errorf("ServerSideEmitWithAck = %v, want ErrLocalOnly", err)
	}
	if _, err := server.Nodes(t.Context()); !errors.Is(err, socketio.ErrLocalOnly) {
		t.Errorf("Nodes = %v, want ErrLocalOnly", err)
	}
	if n, err := server.Count(t.Context()); n != 1 || !errors.Is(err, socketio.ErrLocalOnly) {
		t.Errorf("Count = %d, %v, want 1, ErrLocalOnly", n, err)
	}
	if n, err := server.Local().Count(t.Context()); n != 1 || err != nil {
		t.Errorf("local Count = %d, %v, want 1", n, err)
	}
	var found []string
	var last error
	for s, err := range server.Sockets(t.Context()) {
		if last = err; err == nil {
			found = append(found, s.ID())
		}
	}
	if !slices.Equal(found, []string{p.sids["/"]}) || !errors.Is(last, socketio.ErrLocalOnly) {
		t.Errorf("Sockets = %q, %v, want the one here and ErrLocalOnly", found, last)
	}
	if _, err := socketio.NewServer(&socketio.Options{Adapter: crowded{adapter.NewMemory()}, Recovery: &socketio.Recovery{}}); err == nil {
		t.Error("recovery in a cluster was accepted")
	}
}

// Every cause is told, and none that was not.
func TestMissingAcksSayWhy(t *testing.T) {
	server, front := start(t, nil)
	all := []error{socketio.ErrDropped, socketio.ErrTooManyAcks, socketio.ErrDisconnected, context.DeadlineExceeded, context.Canceled}
	check := func(err error, want ...error) {
		t.Helper()
		for _, cause := range all {
			if errors.Is(err, cause) != slices.Contains(want, cause) {
				t.Errorf("error %q: is %q = %t", err, cause, !slices.Contains(want, cause))
			}
		}
	}
	polling(t, front)("40") // no request waits: not ready for what is volatile
	_, err := server.Volatile().EmitWithAck(t.Context(), "q")
	check(err, socketio.ErrDropped)

	p := dial(t, front, "/")
	id := p.sids["/"]
	canceled, cancel := context.WithCancel(t.Context())
	var asked sync.WaitGroup
	for range 1024 {
		asked.Go(func() { _, _ = server.To(id).EmitWithAck(canceled, "w") })
	}
	for range 1024 {
		p.read()
	}
	_, err = server.To(id).EmitWithAck(t.Context(), "one too many")
	check(err, socketio.ErrTooManyAcks)
	_, err = server.Volatile().EmitWithAck(t.Context(), "q") // one is not ready, one owes too many
	check(err, socketio.ErrDropped, socketio.ErrTooManyAcks)
	cancel()
	asked.Wait()
	q := dial(t, front, "/")
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	_, err = server.Volatile().Except(id).EmitWithAck(short, "q") // one is not ready, one does not answer
	check(err, socketio.ErrDropped, context.DeadlineExceeded)
	q.ws.Close()
}

func TestSocketEmitterWithAck(t *testing.T) {
	server, front := start(t, nil)
	const double socketio.Call[int, int] = "double"
	sockets := make(chan *socketio.Socket, 1)
	server.OnConnect(func(_ context.Context, s *socketio.Socket) error { sockets <- s; return nil })
	p := dial(t, front, "/")
	s := receive(t, sockets)
	var client sync.WaitGroup
	client.Go(func() {
		p.expect(`420["double",4]`)
		p.send(`430[8]`)
	})
	if n, err := double.Call(t.Context(), s.Volatile(), 4); n != 8 || err != nil {
		t.Errorf("Call of a volatile emitter = %d, %v", n, err)
	}
	client.Wait()
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.Compress(false).EmitWithAck(short, "q"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("EmitWithAck in vain = %v", err)
	}
	if _, err := s.Volatile().EmitWithAck(t.Context(), "connect"); !errors.Is(err, socketio.ErrReservedEvent) {
		t.Errorf("EmitWithAck of a reserved event = %v", err)
	}

	poll := polling(t, front)
	poll("40")
	s = receive(t, sockets)
	if _, err := s.Volatile().EmitWithAck(t.Context(), "q"); !errors.Is(err, socketio.ErrDropped) {
		t.Errorf("volatile EmitWithAck to a client that is not ready = %v", err)
	}
	for _, compress := range []bool{true, false} {
		done := make(chan error, 1)
		go func() {
			_, err := s.Compress(compress).EmitWithAck(t.Context(), "q", strings.Repeat("x", 4096))
			done <- err
		}()
		_, encoding := poll("")
		if want := map[bool]string{true: "gzip"}[compress]; encoding != want {
			t.Errorf("Compress(%t): encoding %q, want %q", compress, encoding, want)
		}
		client.Go(func() { poll(map[bool]string{true: "433[]", false: "434[]"}[compress]) })
		if err := receive(t, done); err != nil {
			t.Errorf("EmitWithAck = %v", err)
		}
		_ = s.Emit(t.Context(), "end of the poll")
		client.Wait()
	}
}

func TestCallAll(t *testing.T) {
	server, front := start(t, nil)
	const double socketio.Call[int, int] = "double"
	var clients sync.WaitGroup
	answers := []string{`430[8]`, `430["eight"]`, `430[9]`}
	for range answers {
		p := dial(t, front, "/")
		answer := answers[0]
		answers = answers[1:]
		clients.Go(func() {
			p.expect(`420["double",4]`)
			p.send(answer)
		})
	}
	got, err := double.CallAll(t.Context(), server, 4)
	clients.Wait()
	slices.Sort(got)
	var wrong *json.UnmarshalTypeError
	if !slices.Equal(got, []int{8, 9}) || !errors.As(err, &wrong) {
		t.Errorf("CallAll = %v, %v; want 8 and 9, and an error about the third answer", got, err)
	}
	if got, err := double.CallAll(t.Context(), server.To("nobody"), 4); len(got) != 0 || err != nil {
		t.Errorf("CallAll to nobody = %v, %v", got, err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := double.CallAll(short, server.Local(), 4); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("CallAll in vain = %v", err)
	}
}
