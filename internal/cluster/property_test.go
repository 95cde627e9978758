package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/chorus/pkg/adapter"
)

// peer is what a node does in a random run, and what became of it.
type peer struct {
	node      adapter.Node
	unnamed   bool
	count     int
	said      int // copies of its answer that were filed
	acked     int // acknowledgements that were filed
	gone      bool
	goodbye   bool
	goneEarly bool // without goodbye, before all was filed
}

func (p *peer) complete() bool { return p.said > 0 && p.acked >= p.count }

// trial is one request in a cluster whose line loses, delays and repeats answers, and whose nodes leave at any moment.
type trial struct {
	t      *testing.T
	rand   *rand.Rand
	ledger Ledger
	acks   bool
	peers  []*peer

	mu     sync.Mutex // timers may run at the same time
	filed  map[*adapter.Response]int
	handed map[*adapter.Response]int
	in     bool // a response is being handed over
	ended  bool
}

// at lets something happen at a random time, so that anything may come before anything else.
func (x *trial) at(within time.Duration, f func()) {
	time.AfterFunc(time.Duration(x.rand.Int64N(int64(within))), func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		f()
	})
}

// copies is how often an answer arrives: mostly once.
func (x *trial) copies() int { return []int{0, 1, 1, 1, 1, 1, 1, 2, 3}[x.rand.IntN(9)] }

func (x *trial) file(p *peer, r *adapter.Response, ack bool) bool {
	a := Answer{Request: "r", From: p.node.ID, Response: r, Ack: ack}
	if !x.ledger.Answer(a) {
		return false
	}
	if x.ended {
		x.t.Error("an answer was filed after Run had returned")
	}
	x.filed[r]++
	return true
}

// play is what a node sends.
func (x *trial) play(p *peer) {
	if x.rand.IntN(4) == 0 {
		goodbye := x.rand.IntN(2) == 0
		x.at(2*limit, func() {
			if p.unnamed || x.ended {
				return // nobody hears of it
			}
			p.gone, p.goodbye = true, goodbye
			p.goneEarly = !goodbye && !p.complete()
			x.ledger.Left(p.node.ID, goodbye)
		})
	}
	answer := &adapter.Response{Count: p.count}
	for range x.copies() {
		x.at(limit*3/2, func() {
			if x.file(p, answer, false) {
				p.said++
			}
		})
	}
	if !x.acks {
		return
	}
	for range p.count {
		if x.rand.IntN(20) == 0 {
			continue // lost, or a client that does not answer
		}
		r := &adapter.Response{Packet: &adapter.Packet{}}
		x.at(2*limit, func() {
			if x.file(p, r, true) {
				p.acked++
			}
		})
	}
}

func (x *trial) response(r *adapter.Response) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.in || x.ended {
		x.t.Error("a response came during another, or after the return")
	}
	x.in = true
	x.handed[r]++
	x.mu.Unlock()
	runtime.Gosched()
	x.mu.Lock()
	x.in = false
}

// run returns what Run does, after a context that ends at some time or never matters.
func (x *trial) run() error {
	due := Debtors{Acks: x.acks}
	for range x.rand.IntN(5) {
		p := &peer{node: node(string(rune('a' + len(x.peers)))), count: x.rand.IntN(4)}
		due.Named = append(due.Named, p.node)
		x.peers = append(x.peers, p)
	}
	for range x.rand.IntN(3) {
		x.peers = append(x.peers, &peer{unnamed: true, count: x.rand.IntN(4)})
		due.Unnamed++
	}
	ctx, cancel := context.WithTimeout(x.t.Context(), 1+time.Duration(x.rand.Int64N(int64(3*limit))))
	defer cancel()
	err := x.ledger.Run(ctx, "r", due, limit, func() error {
		for _, p := range x.peers {
			x.play(p)
		}
		return nil
	}, x.response)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ended = true
	return err
}

// check compares the result with what was filed until then.
func (x *trial) check(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	silent, isSilent := errors.AsType[*adapter.SilentNodesError](err)
	var want []string
	unnamed, said, unnamedDue := 0, 0, 0
	missingAcks := false
	for _, p := range x.peers {
		switch {
		case p.unnamed:
			unnamed++
			said += p.said
			unnamedDue += p.said*p.count - p.acked // without a name, who answers twice counts as two
		case p.gone && p.goodbye:
		case p.said == 0 || x.acks && p.goneEarly && !(p.said > 0 && p.count == 0):
			want = append(want, p.node.ID)
		case x.acks && !p.gone && p.acked < p.count:
			missingAcks = true
		}
	}
	missingAcks = missingAcks || x.acks && unnamedDue > 0
	missing := max(unnamed-said, 0)
	switch {
	case len(want)+missing > 0:
		if !isSilent || !slices.Equal(ids(silent.Nodes), want) || silent.Unnamed != missing || silent.Cause == nil {
			x.t.Errorf("Run = %v, want silent %q and %d unnamed", err, want, missing)
		}
	case missingAcks:
		if isSilent || !errors.Is(err, context.DeadlineExceeded) {
			x.t.Errorf("Run = %v, want the end of the context: acknowledgements are missing", err)
		}
	case err != nil:
		x.t.Errorf("Run = %v, though nothing is missing", err)
	}
	for r, n := range x.filed {
		if x.handed[r] != n {
			x.t.Errorf("a response that was filed %d times was handed over %d times", n, x.handed[r])
		}
	}
	if len(x.handed) > len(x.filed) || len(x.ledger.open) != 0 {
		x.t.Errorf("%d of %d responses handed over, %d requests left open", len(x.handed), len(x.filed), len(x.ledger.open))
	}
}

// Any order, loss or repetition of answers, and nodes that leave at any moment, end in exactly one result, which says
// what is missing.
func TestLedgerProperties(t *testing.T) {
	trials := 3000
	if testing.Short() {
		trials = 300
	}
	for seed := range uint64(trials) {
		synctest.Test(t, func(t *testing.T) {
			x := &trial{
				t: t, rand: rand.New(rand.NewPCG(seed, 1)), acks: seed%2 == 0,
				filed: map[*adapter.Response]int{}, handed: map[*adapter.Response]int{},
			}
			start := time.Now()
			x.check(x.run())
			if d := time.Since(start); d > 3*limit {
				t.Errorf("Run took %v", d)
			}
			time.Sleep(3 * limit) // what is still under way finds no request
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		})
	}
}
