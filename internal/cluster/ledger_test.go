package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/chorus/pkg/adapter"
)

const (
	limit  = 5 * time.Second
	patent = time.Minute // how long the caller waits
)

func node(id string) adapter.Node { return adapter.Node{ID: id} }

// step is something that happens to a request at a point of time.
type step struct {
	at time.Duration
	do func(l *Ledger)
}

func answer(from string, count int) func(*Ledger) {
	return func(l *Ledger) {
		l.Answer(Answer{Request: "r", From: from, Response: &adapter.Response{Count: count}})
	}
}

func ack(from string) func(*Ledger) {
	return func(l *Ledger) {
		l.Answer(Answer{Request: "r", From: from, Ack: true, Response: &adapter.Response{Packet: &adapter.Packet{}}})
	}
}

func left(id string, goodbye bool) func(*Ledger) {
	return func(l *Ledger) { l.Left(id, goodbye) }
}

func TestLedger(t *testing.T) {
	two := []adapter.Node{node("b"), node("a")}
	for _, tt := range []struct {
		name      string
		due       Debtors
		steps     []step
		responses int
		silent    []string
		unnamed   int
		cause     error
		err       error // besides SilentNodesError
		after     time.Duration
	}{
		{name: "nobody"},
		{name: "all answer", due: Debtors{Named: two, Unnamed: 1}, responses: 3, after: 3,
			steps: []step{{1, answer("a", 0)}, {2, answer("", 0)}, {3, answer("b", 0)}}},
		{name: "one that was lost pays for nobody", due: Debtors{Lost: two[:1], Unnamed: 1}, responses: 2, after: 3,
			steps: []step{{1, answer("b", 0)}, {2, answer("b", 0)}, {3, answer("", 0)}}},
		{name: "one that was lost is not waited for", due: Debtors{Named: two[1:], Lost: two[:1], Acks: true}, responses: 2, after: 2,
			steps: []step{{1, answer("b", 1)}, {2, answer("a", 0)}}},
		{name: "counts are no acknowledgements", due: Debtors{Named: two}, responses: 2, after: 2,
			steps: []step{{1, answer("a", 7)}, {2, answer("b", 7)}}},
		{name: "twice is once", due: Debtors{Named: two}, responses: 2, after: 3,
			steps: []step{{1, answer("a", 0)}, {2, answer("a", 0)}, {3, answer("b", 0)}}},
		{name: "limit", due: Debtors{Named: two, Unnamed: 2}, responses: 2, after: limit, silent: []string{"b"}, unnamed: 1, cause: context.DeadlineExceeded,
			steps: []step{{1, answer("a", 0)}, {2, answer("x", 0)}, {3, answer("x", 0)}}},
		{name: "lost", due: Debtors{Named: two}, responses: 1, after: 2, silent: []string{"a"}, cause: errLost,
			steps: []step{{1, answer("b", 0)}, {2, left("a", false)}}},
		{name: "goodbye", due: Debtors{Named: two}, responses: 1, after: 2,
			steps: []step{{1, answer("b", 0)}, {2, left("a", true)}}},
		{name: "acknowledgements", due: Debtors{Named: two, Unnamed: 1, Acks: true}, responses: 7, after: 7,
			steps: []step{{1, ack("a")}, {2, answer("a", 2)}, {3, answer("b", 0)}, {4, ack("")}, {5, ack("a")}, {6, answer("", 2)}, {7, ack("")}}},
		{name: "acknowledgements end with ctx", due: Debtors{Named: two, Acks: true}, responses: 3, after: patent, err: context.DeadlineExceeded,
			steps: []step{{1, answer("a", 2)}, {2, answer("b", 0)}, {3, ack("a")}}},
		{name: "late but not too late", due: Debtors{Named: two, Unnamed: 1, Acks: true}, responses: 5, after: limit + 3,
			steps: []step{{1, answer("a", 1)}, {limit + 1, answer("b", 1)}, {limit + 2, answer("", 0)}, {limit + 2, ack("b")}, {limit + 3, ack("a")}}},
		{name: "lost with acknowledgements", due: Debtors{Named: two, Acks: true}, responses: 3, after: 4, silent: []string{"a"}, cause: errLost,
			steps: []step{{1, answer("a", 2)}, {2, ack("a")}, {3, left("a", false)}, {4, answer("b", 0)}}},
		{name: "goodbye with acknowledgements", due: Debtors{Named: two, Acks: true}, responses: 2, after: 3,
			steps: []step{{1, answer("a", 2)}, {2, answer("b", 0)}, {3, left("a", true)}}},
		{name: "lost, then its answer", due: Debtors{Named: two}, responses: 2, after: 3,
			steps: []step{{1, left("a", false)}, {2, answer("a", 0)}, {3, answer("b", 0)}}},
		{name: "lost, then its count", due: Debtors{Named: two, Acks: true}, responses: 2, after: 3, silent: []string{"a"}, cause: errLost,
			steps: []step{{1, left("a", false)}, {2, answer("a", 1)}, {3, answer("b", 0)}}},
		{name: "given up, then goodbye", due: Debtors{Named: two, Acks: true}, responses: 2, after: limit + 2,
			steps: []step{{1, answer("b", 1)}, {limit + 1, left("a", true)}, {limit + 2, ack("b")}}},
		{name: "absurd counts", due: Debtors{Named: two, Acks: true}, responses: 2, after: patent, err: context.DeadlineExceeded,
			steps: []step{{1, answer("a", math.MinInt)}, {2, answer("b", math.MaxInt)}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l Ledger
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), patent)
				defer cancel()
				responses := 0
				err := l.Run(ctx, "r", tt.due, limit, func() error {
					for _, s := range tt.steps {
						time.AfterFunc(s.at, func() { s.do(&l) })
					}
					return nil
				}, func(*adapter.Response) { responses++ })
				if d := time.Since(start); d != tt.after {
					t.Errorf("Run returned after %v, want %v", d, tt.after)
				}
				if responses != tt.responses {
					t.Errorf("%d responses, want %d", responses, tt.responses)
				}
				silent, isSilent := errors.AsType[*adapter.SilentNodesError](err)
				switch {
				case tt.silent == nil && tt.unnamed == 0:
					if !errors.Is(err, tt.err) || isSilent {
						t.Errorf("Run = %v, want %v", err, tt.err)
					}
				case !isSilent || !errors.Is(err, tt.cause) || silent.Unnamed != tt.unnamed || !slices.Equal(ids(silent.Nodes), tt.silent):
					t.Errorf("Run = %v, want silent %q and %d unnamed: %v", err, tt.silent, tt.unnamed, tt.cause)
				}
				if len(l.open) != 0 {
					t.Errorf("%d requests are left open", len(l.open))
				}
			})
		})
	}
}

func ids(nodes []adapter.Node) (list []string) {
	for _, n := range nodes {
		list = append(list, n.ID)
	}
	return list
}

// What was filed before ctx ended is handed over, even if both happen at once.
func TestLedgerEndedContext(t *testing.T) {
	for range 100 { // select takes either
		var l Ledger
		ctx, cancel := context.WithCancel(t.Context())
		responses := 0
		err := l.Run(ctx, "r", Debtors{Named: []adapter.Node{node("a"), node("b")}}, limit, func() error {
			answer("a", 0)(&l)
			cancel()
			return nil
		}, func(*adapter.Response) { responses++ })
		silent, ok := errors.AsType[*adapter.SilentNodesError](err)
		if responses != 1 || !ok || !slices.Equal(ids(silent.Nodes), []string{"b"}) || !errors.Is(err, context.Canceled) {
			t.Fatalf("Run = %v with %d responses, want b silent and 1", err, responses)
		}
	}
}

func TestLedgerRefusals(t *testing.T) {
	var l Ledger
	failed := errors.New("line is down")
	if err := l.Run(t.Context(), "r", Debtors{Unnamed: 1}, limit, func() error { return failed }, nil); !errors.Is(err, failed) {
		t.Errorf("Run that cannot send = %v, want %v", err, failed)
	}
	if l.Answer(Answer{Request: "r", Response: &adapter.Response{}}) {
		t.Error("an answer to nothing is taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	for i := range maxRequests {
		sent := make(chan struct{})
		go func() {
			_ = l.Run(ctx, fmt.Sprint(i), Debtors{Unnamed: 1}, time.Hour, func() error { close(sent); return nil }, nil)
			done <- struct{}{}
		}()
		<-sent
	}
	sent := func() error { t.Error("sent"); return nil }
	if err := l.Run(ctx, "more", Debtors{}, limit, sent, nil); !errors.Is(err, ErrTooManyRequests) {
		t.Errorf("one request too many = %v, want %v", err, ErrTooManyRequests)
	}
	if l.Answer(Answer{Request: "1"}) {
		t.Error("an answer without a response is taken")
	}
	if l.Answer(Answer{Request: "1", Ack: true, Response: &adapter.Response{}}) {
		t.Error("an acknowledgement is taken for a request that asks for none")
	}
	cancel()
	for range maxRequests {
		<-done
	}
	if len(l.open) != 0 {
		t.Errorf("%d requests are left open", len(l.open))
	}
	again, stop := context.WithCancel(t.Context())
	defer stop()
	err := l.Run(again, "r", Debtors{Unnamed: 1}, limit, func() error {
		if err := l.Run(again, "r", Debtors{}, limit, sent, nil); !errors.Is(err, ErrRequestID) {
			t.Errorf("an id twice = %v, want %v", err, ErrRequestID)
		}
		answer("", 0)(&l) // still reaches the first
		return nil
	}, func(*adapter.Response) {})
	if err != nil {
		t.Errorf("Run = %v", err)
	}
}

func BenchmarkLedger(b *testing.B) {
	var l Ledger
	due := Debtors{Named: []adapter.Node{node("a"), node("b"), node("c")}}
	r := &adapter.Response{Count: 1}
	b.ReportAllocs()
	for b.Loop() {
		err := l.Run(b.Context(), "r", due, limit, func() error {
			for _, n := range due.Named {
				l.Answer(Answer{Request: "r", From: n.ID, Response: r})
			}
			return nil
		}, func(*adapter.Response) {})
		if err != nil {
			b.Fatal(err)
		}
	}
}
