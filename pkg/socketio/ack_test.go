package socketio_test

import (
	"context"
	"errors"
	"slices"
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

// crowded is an adapter that has other nodes.
type crowded struct{ adapter.Adapter }

func TestBroadcastWithAckIsLocalInACluster(t *testing.T) {
	server, _ := start(t, &socketio.Options{Adapter: crowded{adapter.NewMemory()}})
	if _, err := server.EmitWithAck(t.Context(), "q"); !errors.Is(err, socketio.ErrLocalOnly) {
		t.Errorf("EmitWithAck in a cluster = %v, want ErrLocalOnly", err)
	}
	if _, err := server.Local().EmitWithAck(t.Context(), "q"); err != nil {
		t.Errorf("local EmitWithAck in a cluster = %v", err)
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
