package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/chorus/pkg/adapter"
)

func contextOf(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

// countWith lets nodes answer counts at once.
func countWith(nodes []*Node, count int) {
	for _, n := range nodes {
		n.AnswerWith(func(_ *adapter.Message, respond func(*adapter.Response)) {
			respond(&adapter.Response{Count: count})
		})
	}
}

// holdBack lets a node keep its answers. The function that is returned gives them.
func holdBack(n *Node) (asked <-chan struct{}, release func()) {
	var mu sync.Mutex
	var kept []func()
	waiting := make(chan struct{}, 1000)
	n.AnswerWith(func(_ *adapter.Message, respond func(*adapter.Response)) {
		mu.Lock()
		defer mu.Unlock()
		kept = append(kept, func() { respond(&adapter.Response{}) })
		waiting <- struct{}{}
	})
	return waiting, func() {
		mu.Lock()
		defer mu.Unlock()
		for _, f := range kept {
			f()
		}
		kept = nil
	}
}

func receive(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal("the request has not come")
	}
}

var count = &adapter.Message{Kind: adapter.Count}

func testRequestNamespaces(t *testing.T, r *requestTest) {
	main, admin := r.join(t, "/"), r.join(t, "/admin")
	countWith(main, 1)
	countWith(admin, 100)
	for nodes, want := range map[*Node]int{main[0]: 1, admin[0]: 100} {
		responses, err := nodes.request(t, count)
		if got := counts(responses); err != nil || !slices.Equal(got, slices.Repeat([]int{want}, len(main)-1)) {
			t.Errorf("counts are %v, %v, want %d of each", got, err, want)
		}
	}
}

// testNoOtherNodes: a namespace that no other node has is asked of nobody, though there are other nodes.
func testNoOtherNodes(t *testing.T, r *requestTest) {
	r.join(t, "/everywhere")
	nodes := Join(t, r.adapters[:1], "/only here")
	countWith(nodes, 1)
	for _, kind := range []adapter.Kind{adapter.Fetch, adapter.Count, adapter.ServerSideEmit, adapter.Broadcast} {
		m := &adapter.Message{Kind: kind, Packet: adapter.Packet{Data: []byte(`["q"]`)}}
		if responses, err := nodes[0].request(t, m); err != nil || len(responses) != 0 {
			t.Errorf("Request of kind %d = %d responses, %v, want none", kind, len(responses), err)
		}
	}
	r.awaitNodes(t, nodes, 1)
}

// testSilentNode: the adapter's own limit ends the wait.
func testSilentNode(t *testing.T, r *requestTest) {
	nodes := r.join(t, "/")
	countWith(nodes, 7)
	last := nodes[len(nodes)-1]
	_, release := holdBack(last)
	for range 2 {
		a := nodes[0].ask(t.Context(), count)
		responses, err := a.result(t)
		r.expectSilent(t, err, self(t, last))
		if got := counts(responses); !slices.Equal(got, slices.Repeat([]int{7}, len(nodes)-2)) {
			t.Errorf("counts are %v, want 7 of the others", got)
		}
		release() // too late
		defer a.check(t)
	}
	countWith(nodes, 8)
	responses, err := nodes[1].request(t, count) // who has not seen it silent
	if got := counts(responses); err != nil || !slices.Equal(got, slices.Repeat([]int{8}, len(nodes)-1)) {
		t.Errorf("counts are %v, %v, want 8 of all", got, err)
	}
}

func testContextEnds(t *testing.T, r *requestTest) {
	nodes := r.join(t, "/")
	countWith(nodes, 7)
	last := nodes[len(nodes)-1]
	asked, release := holdBack(last)
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	a := nodes[0].ask(ctx, count)
	a.await(t, len(nodes)-2)
	receive(t, asked)
	cancel(enough)
	responses, err := a.result(t)
	r.expectSilent(t, err, self(t, last))
	if !errors.Is(err, enough) || len(responses) != len(nodes)-2 {
		t.Errorf("Request = %d responses, %v, want those of the others and the cause", len(responses), err)
	}
	release()
	countWith(nodes, 8)
	if responses, err := nodes[0].request(t, count); err != nil || slices.Contains(counts(responses), 0) {
		t.Errorf("the next Request = %v, %v: it has an answer to the last", counts(responses), err)
	}
	a.check(t)
}

// testAcksEndWithContext: clients that do not answer are no silent nodes.
func testAcksEndWithContext(t *testing.T, r *requestTest) {
	nodes := r.join(t, "/")
	for _, n := range nodes {
		n.AnswerWith(func(_ *adapter.Message, respond func(*adapter.Response)) {
			respond(&adapter.Response{Count: 2})
			respond(&adapter.Response{Packet: &adapter.Packet{Data: []byte(`["ok"]`)}})
		})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	a := nodes[0].ask(ctx, &adapter.Message{Packet: adapter.Packet{Data: []byte(`["q"]`)}})
	a.await(t, 2*(len(nodes)-1))
	enough := errors.New("enough")
	cancel(enough)
	responses, err := a.result(t)
	if _, silent := errors.AsType[*adapter.SilentNodesError](err); silent || !errors.Is(err, enough) {
		t.Errorf("Request = %v, want the cause of the context alone", err)
	}
	if len(responses) != 2*(len(nodes)-1) {
		t.Errorf("%d responses, want %d", len(responses), 2*(len(nodes)-1))
	}
}

func testRequestWithEndedContext(t *testing.T, r *requestTest) {
	nodes := r.join(t, "/")
	for _, n := range nodes {
		holdBack(n)
	}
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	for range 100 {
		if _, err := nodes[0].ask(ctx, count).result(t); !errors.Is(err, enough) {
			t.Fatalf("Request = %v, want the cause of the context", err)
		}
	}
}

// testNodeLeaves: a node that leaves in order, while it is asked, is not missed.
func testNodeLeaves(t *testing.T, r *requestTest) {
	nodes := r.join(t, "/")
	last := nodes[len(nodes)-1]
	name := self(t, last)
	countWith(nodes, 7)
	asked, release := holdBack(last)
	a := nodes[0].ask(t.Context(), count)
	a.await(t, len(nodes)-2)
	receive(t, asked)
	if err := last.Adapter.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	last.Seal()
	responses, err := a.result(t)
	if r.Unnamed && err != nil {
		r.expectSilent(t, err, name)
	} else if err != nil {
		t.Errorf("Request = %v, want nil: it said goodbye", err)
	}
	if len(responses) != len(nodes)-2 {
		t.Errorf("%d responses, want %d", len(responses), len(nodes)-2)
	}
	release() // to nobody
	r.awaitNodes(t, nodes[:len(nodes)-1], len(nodes)-1)
	if responses, err := nodes[0].request(t, count); err != nil || len(responses) != len(nodes)-2 {
		t.Errorf("the next Request = %d responses, %v, want %d", len(responses), err, len(nodes)-2)
	}
	if n := last.Late(); n > 0 {
		t.Errorf("%d calls after Close returned", n)
	}
}

// testNodeDies: a node that dies while it is asked is missed, and later not waited for.
func testNodeDies(t *testing.T, r *requestTest) {
	if r.Kill == nil {
		t.Skip("no way to kill a node")
	}
	nodes := r.join(t, "/")
	last := nodes[len(nodes)-1]
	name := self(t, last)
	for _, n := range nodes {
		n.AnswerWith(func(_ *adapter.Message, respond func(*adapter.Response)) {
			respond(&adapter.Response{Count: 1})
			if n != last {
				respond(&adapter.Response{Packet: &adapter.Packet{Data: []byte(`["ok"]`)}})
			}
		})
	}
	ctx, cancel := contextOf(t, patience/2)
	defer cancel()
	a := nodes[0].ask(ctx, &adapter.Message{Packet: adapter.Packet{Data: []byte(`["q"]`)}})
	a.await(t, 2*(len(nodes)-1)-1) // it counted, and its client will not answer
	r.Kill(t, last.Adapter)
	_, err := a.result(t)
	if r.Unnamed {
		if err == nil {
			t.Error("Request = nil, though an acknowledgement is missing")
		}
	} else {
		r.expectSilent(t, err, name)
	}
	r.awaitNodes(t, nodes[:len(nodes)-1], len(nodes)-1)
	for _, n := range nodes[:len(nodes)-1] {
		if responses, err := n.request(t, count); err != nil || len(responses) != len(nodes)-2 {
			t.Errorf("a later Request = %d responses, %v, want %d", len(responses), err, len(nodes)-2)
		}
		m, ok := n.Adapter.(adapter.Member)
		for deadline := time.Now().Add(patience); ok; time.Sleep(time.Millisecond) { // each node notices in its own time
			if !slices.ContainsFunc(m.Members(), func(n adapter.Node) bool { return n.ID == name.ID }) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("Members still has %s", name)
			}
		}
	}
}

// testOwnLeave: who leaves does not wait any longer.
func testOwnLeave(t *testing.T, r *requestTest) {
	nodes := r.join(t, "/")
	var others []<-chan struct{}
	for _, n := range nodes[1:] {
		asked, _ := holdBack(n)
		others = append(others, asked)
	}
	a := nodes[0].ask(t.Context(), &adapter.Message{Packet: adapter.Packet{Data: []byte(`["q"]`)}})
	for _, asked := range others {
		receive(t, asked)
	}
	if err := nodes[0].Link.Leave(t.Context()); err != nil {
		t.Errorf("Leave: %v", err)
	}
	if _, err := a.result(t); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("Request = %v, want %v", err, adapter.ErrClosed)
	}
}

func testRequestAfterLeave(t *testing.T, r *requestTest) {
	nodes := r.join(t, "/")
	countWith(nodes, 1)
	if err := nodes[0].Link.Leave(t.Context()); err != nil {
		t.Errorf("Leave: %v", err)
	}
	if _, err := nodes[0].request(t, count); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("Request after Leave = %v, want %v", err, adapter.ErrClosed)
	}
	if _, err := nodes[0].Link.(adapter.Requester).Nodes(t.Context()); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("Nodes after Leave = %v, want %v", err, adapter.ErrClosed)
	}
	if err := nodes[1].Adapter.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := nodes[1].request(t, count); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("Request after Close = %v, want %v", err, adapter.ErrClosed)
	}
}

// testConcurrentRequests: of all kinds, from all nodes, each gets its own answers.
func testConcurrentRequests(t *testing.T, r *requestTest) {
	nodes := r.join(t, "/")
	for _, n := range nodes {
		n.AnswerWith(func(m *adapter.Message, respond func(*adapter.Response)) {
			echo := m.Packet
			switch m.Kind {
			case adapter.Fetch:
				respond(&adapter.Response{Sockets: []adapter.Socket{{ID: m.Except[0], Handshake: []byte(`{}`), Data: []byte(`{}`), Rooms: []string{}}}})
			case adapter.ServerSideEmit:
				go respond(&adapter.Response{Packet: &echo})
			case adapter.Broadcast:
				respond(&adapter.Response{Count: 3})
				for range 3 {
					go respond(&adapter.Response{Packet: &echo})
				}
			}
		})
	}
	var wg sync.WaitGroup
	for i, n := range nodes {
		for j := range 8 {
			wg.Go(func() {
				for k := range 20 {
					r.echo(t, n, len(nodes)-1, fmt.Sprintf("%d.%d.%d", i, j, k), k%3)
				}
			})
		}
	}
	wg.Wait()
}

// echo asks for a word and expects nothing else.
func (r *requestTest) echo(t *testing.T, n *Node, others int, word string, kind int) {
	m := &adapter.Message{
		Kind: []adapter.Kind{adapter.Fetch, adapter.ServerSideEmit, adapter.Broadcast}[kind], Except: []string{word},
		Packet: adapter.Packet{Data: fmt.Appendf(nil, `[%q]`, word)},
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var got []string
	err := n.Link.(adapter.Requester).Request(ctx, m, func(resp *adapter.Response) {
		for _, s := range resp.Sockets {
			got = append(got, s.ID)
		}
		if resp.Packet != nil {
			got = append(got, string(resp.Packet.Data))
		}
	})
	want := slices.Repeat([]string{word}, others)
	if kind > 0 {
		want = slices.Repeat([]string{fmt.Sprintf(`[%q]`, word)}, others*[]int{1, 1, 3}[kind])
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Request %s of kind %d = %q, %v, want %q", word, kind, got, err, want)
	}
}
