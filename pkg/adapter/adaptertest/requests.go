package adaptertest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/chorus/pkg/adapter"
)

// Requests describe the adapters that RunRequests tests, whose links implement adapter.Requester.
type Requests struct {
	// Connect returns the adapters of at least three nodes of a new cluster, as for Run.
	Connect func(t *testing.T) []adapter.Adapter
	// Kill ends the node of an adapter that Connect returned as SIGKILL does: it says nothing any more, not even
	// goodbye. nil skips what needs it.
	Kill func(t *testing.T, a adapter.Adapter)
	// Unnamed tells that nodes do not know each other by name: one that is silent is a number, and one that leaves or
	// dies may be waited for until the adapter's own limit.
	Unnamed bool
	// FirstValue tells that only the first value of an acknowledgement is carried.
	FirstValue bool
	// TextOnly tells that server-side events and their answers carry no binary values.
	TextOnly bool
	// AnyOrder tells that messages of different kinds may overtake each other.
	AnyOrder bool
}

// RunRequests tests what an adapter carries besides broadcasts: the other kinds of messages, requests and their
// responses. The adapters' own limit for requests should be short, such as 500 ms, since tests wait for it; no test
// needs an answer faster than that.
func RunRequests(t *testing.T, r Requests) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *requestTest)
	}{
		{"Kinds", testKinds},
		{"KindsInOrder", testKindsInOrder},
		{"Nodes", testNodes},
		{"Fetch", testFetch},
		{"Count", testCount},
		{"ServerSideEmit", testServerSideEmit},
		{"BroadcastWithAck", testBroadcastWithAck},
		{"RequestNamespaces", testRequestNamespaces},
		{"NoOtherNodes", testNoOtherNodes},
		{"SilentNode", testSilentNode},
		{"ContextEnds", testContextEnds},
		{"AcksEndWithContext", testAcksEndWithContext},
		{"EndedContextOfRequest", testRequestWithEndedContext},
		{"NodeLeaves", testNodeLeaves},
		{"NodeDies", testNodeDies},
		{"OwnLeave", testOwnLeave},
		{"RequestAfterLeave", testRequestAfterLeave},
		{"ConcurrentRequests", testConcurrentRequests},
		{"HugeAnswers", testHugeAnswers},
		{"ManyAcks", testManyAcks},
		{"AbsurdAnswers", testAbsurdAnswers},
	} {
		t.Run(test.name, func(t *testing.T) {
			adapters := r.Connect(t)
			if len(adapters) < 3 {
				t.Fatalf("Connect returned %d adapters, want at least 3", len(adapters))
			}
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				for i, a := range adapters {
					if err := a.Close(ctx); err != nil {
						t.Errorf("Close of node %d: %v", i, err)
					}
				}
			})
			test.run(t, &requestTest{Requests: r, adapters: adapters})
		})
	}
}

// requestTest is one test of RunRequests.
type requestTest struct {
	Requests
	adapters []adapter.Adapter
}

// join joins a namespace on every node and waits until all know of each other.
func (r *requestTest) join(t *testing.T, namespace string, rooms ...string) []*Node {
	t.Helper()
	nodes := Join(t, r.adapters, namespace, rooms...)
	r.awaitNodes(t, nodes, len(nodes))
	return nodes
}

// awaitNodes waits until every node sees n, and knows them by name if the adapter has names.
func (r *requestTest) awaitNodes(t *testing.T, nodes []*Node, n int) {
	t.Helper()
	for i, node := range nodes {
		requester, ok := node.Link.(adapter.Requester)
		if !ok {
			t.Fatalf("the link of node %d is no adapter.Requester", i)
		}
		var seen []adapter.Node
		var err error
		for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			seen, err = requester.Nodes(t.Context())
			unknown := slices.ContainsFunc(seen, func(n adapter.Node) bool { return n.ID == "" })
			if err == nil && len(seen) == n && (r.Unnamed || !unknown) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("node %d sees %v (%v), want %d nodes", i, seen, err, n)
			}
		}
	}
}

// asked is a request that is under way, or what came of it.
type asked struct {
	node      *Node
	done      chan struct{}
	err       error // when done
	mu        sync.Mutex
	busy      bool // a response is being handed over
	ended     bool // Request has returned
	wrong     bool // two at a time, or one after the end
	responses []*adapter.Response
	changed   chan struct{}
}

// ask starts a request.
func (n *Node) ask(ctx context.Context, m *adapter.Message) *asked {
	a := &asked{node: n, done: make(chan struct{}), changed: make(chan struct{}, 1)}
	go func() {
		err := n.Link.(adapter.Requester).Request(ctx, m, a.response)
		a.mu.Lock()
		a.ended, a.err = true, err
		a.mu.Unlock()
		close(a.done)
	}()
	return a
}

func (a *asked) response(r *adapter.Response) {
	a.mu.Lock()
	a.wrong = a.wrong || a.busy || a.ended
	a.busy = true
	a.mu.Unlock()
	a.mu.Lock()
	a.responses = append(a.responses, r)
	a.busy = false
	a.mu.Unlock()
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// await waits for a number of responses.
func (a *asked) await(t *testing.T, n int) {
	t.Helper()
	timeout := time.After(patience)
	for {
		a.mu.Lock()
		have := len(a.responses)
		a.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-a.changed:
		case <-timeout:
			t.Fatalf("%d responses came within %v, want %d", have, patience, n)
		}
	}
}

// result waits for the end.
func (a *asked) result(t *testing.T) ([]*adapter.Response, error) {
	t.Helper()
	select {
	case <-a.done:
	case <-time.After(patience):
		t.Fatalf("Request has not returned within %v", patience)
	}
	a.check(t)
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.responses, a.err
}

// check fails when responses were not handed over one at a time, or after the end.
func (a *asked) check(t *testing.T) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wrong {
		t.Error("two responses came at the same time, or one after Request had returned")
	}
}

// request asks and waits for the result.
func (n *Node) request(t *testing.T, m *adapter.Message) ([]*adapter.Response, error) {
	t.Helper()
	return n.ask(t.Context(), m).result(t)
}

// expectSilent checks that exactly one node was silent: the given one.
func (r *requestTest) expectSilent(t *testing.T, err error, node adapter.Node) {
	t.Helper()
	silent, ok := errors.AsType[*adapter.SilentNodesError](err)
	switch {
	case !ok:
		t.Errorf("Request = %v, want a SilentNodesError", err)
	case silent.Cause == nil:
		t.Errorf("Request = %v without a cause", err)
	case r.Unnamed:
		if silent.Unnamed != 1 || len(silent.Nodes) != 0 {
			t.Errorf("Request = %v, want 1 unnamed", err)
		}
	case silent.Unnamed != 0 || len(silent.Nodes) != 1 || silent.Nodes[0].ID != node.ID:
		t.Errorf("Request = %v, want %s (%s) silent", err, node, node.ID)
	}
}

// self returns how others know a node.
func self(t *testing.T, n *Node) adapter.Node {
	t.Helper()
	nodes, err := n.Link.(adapter.Requester).Nodes(t.Context())
	if err != nil || len(nodes) == 0 {
		t.Fatalf("Nodes = %v, %v", nodes, err)
	}
	return nodes[0]
}
