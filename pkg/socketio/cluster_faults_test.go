package socketio_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/socketio"
)

// faults loses, delays and repeats answers at random.
func faults(r *rand.Rand) func(from, to adapter.Node, response *adapter.Response) []time.Duration {
	var mu sync.Mutex
	return func(adapter.Node, adapter.Node, *adapter.Response) (copies []time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		for range []int{0, 1, 1, 1, 1, 2}[r.IntN(6)] {
			copies = append(copies, time.Duration(r.Int64N(int64(10*time.Second))))
		}
		return copies
	}
}

// Whatever the line and the nodes do, each request has one result in its time, which is complete or says what is
// missing, and nothing is left behind.
func TestClusterFaults(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inCluster(t, func(t *testing.T, bus *adaptertest.Bus, one, two, three *clusterNode) {
				r := rand.New(rand.NewPCG(seed, 4))
				for _, n := range []*clusterNode{one, two, three} {
					n.OnServerSide("q", func(ctx context.Context, args socketio.Args) error { return args.Ack(ctx, "a") })
					if r.IntN(4) > 0 {
						replies(t, n, "a")
					}
				}
				bus.Answers(faults(rand.New(rand.NewPCG(seed, 5))))
				time.AfterFunc(time.Duration(r.Int64N(int64(20*time.Second))), []func(){
					two.bus.Kill, func() { two.bus.Silence(true) }, func() { must(two.Shutdown(context.Background())) }, func() {},
				}[seed%4])
				var wg sync.WaitGroup
				for range 40 {
					kind, wait, timeout := r.IntN(4), time.Duration(r.Int64N(int64(20*time.Second))), time.Duration(1+r.Int64N(int64(20*time.Second)))
					wg.Go(func() {
						time.Sleep(wait)
						checkRequest(t, one, kind, timeout)
					})
				}
				wg.Wait()
			})
		})
	}
}

// checkRequest asks and checks that the result is consistent.
func checkRequest(t *testing.T, n *clusterNode, kind int, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	start := time.Now()
	var got int
	var err error
	switch kind {
	case 0:
		seen := map[string]bool{}
		for s, e := range n.Sockets(ctx) {
			if err = e; err != nil {
				continue
			}
			if seen[s.ID()] {
				t.Errorf("socket %s comes twice", s.ID())
			}
			seen[s.ID()] = true
			got++
		}
	case 1:
		got, err = n.Count(ctx)
	case 2:
		var answers []socketio.Args
		answers, err = n.ServerSideEmitWithAck(ctx, "q")
		got = 1 + len(answers)
	case 3:
		var answers []socketio.Args
		answers, err = n.EmitWithAck(ctx, "q")
		missing, ok := errors.AsType[*socketio.MissingAcksError](err)
		if ok && (missing.Received != len(answers) || missing.Expected <= missing.Received || missing.Cause == nil) {
			t.Errorf("EmitWithAck = %d answers, %+v", len(answers), missing)
		}
		got = max(len(answers), 1)
	}
	if d := time.Since(start); d > timeout {
		t.Errorf("request of kind %d took %v, want at most %v", kind, d, timeout)
	}
	if got < 1 || got > 3 && kind != 3 { // an acknowledgement that comes twice cannot be told from another
		t.Errorf("request of kind %d found %d", kind, got)
	}
	_, silent := errors.AsType[*adapter.SilentNodesError](err)
	_, missing := errors.AsType[*socketio.MissingAcksError](err)
	repeated := kind == 3 && errors.Is(err, context.DeadlineExceeded) // one that came twice hides one that is missing
	if err != nil && !silent && !missing && !repeated {
		t.Errorf("request of kind %d = %v", kind, err)
	}
	if err == nil && got < 2 && kind != 3 { // one node may have left in order, no more
		t.Errorf("request of kind %d found %d and no error", kind, got)
	}
}
