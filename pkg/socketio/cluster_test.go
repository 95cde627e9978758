package socketio_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/siotest"
)

// clusterNode is a server of a cluster in memory, with one client.
type clusterNode struct {
	*socketio.Server
	bus    *adaptertest.BusNode
	client *siotest.Client
	log    *strings.Builder // to be read when nothing runs
}

// inCluster runs a test with three nodes, each with a client that is in the room of its node's name and in "all".
func inCluster(t *testing.T, test func(t *testing.T, bus *adaptertest.Bus, one, two, three *clusterNode)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		bus := adaptertest.NewBus(nil)
		var nodes []*clusterNode
		for _, name := range []string{"one", "two", "three"} {
			n := &clusterNode{bus: bus.Add(name), log: new(strings.Builder)}
			var err error
			n.Server, err = socketio.NewServer(&socketio.Options{
				Adapter: n.bus, AckTimeout: time.Minute,
				Logger: slog.New(slog.NewTextHandler(n.log, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			n.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
				s.Set("node", name)
				return s.Join(ctx, name, "all")
			})
			n.client, err = siotest.Connect(t.Context(), n, &siotest.Options{Auth: map[string]string{"token": name}})
			if err != nil {
				t.Fatal(err)
			}
			nodes = append(nodes, n)
		}
		synctest.Wait()
		test(t, bus, nodes[0], nodes[1], nodes[2])
		for _, n := range nodes {
			n.client.Close()
			if err := n.Shutdown(context.Background()); err != nil && !errors.Is(err, socketio.ErrServerClosed) {
				t.Errorf("Shutdown: %v", err)
			}
		}
	})
}

// replies answers every event of a client with a word.
func replies(t *testing.T, n *clusterNode, word string) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour) // longer than any test
		defer cancel()
		for {
			e, err := n.client.Next(ctx)
			if err != nil {
				return
			}
			if e.WantsAck() {
				if err := e.Ack(context.Background(), word); err != nil {
					t.Error(err)
				}
			}
		}
	}()
}

// words returns the first arguments, sorted.
func words(t *testing.T, answers []socketio.Args) []string {
	t.Helper()
	var list []string
	for _, a := range answers {
		var w string
		if err := a.Decode(&w); err != nil {
			t.Errorf("answer: %v", err)
		}
		list = append(list, w)
	}
	slices.Sort(list)
	return list
}

func found(t *testing.T, b socketio.Broadcast) (ids []string, err error) {
	t.Helper()
	for s, e := range b.Sockets(t.Context()) {
		if e != nil {
			if s != nil || err != nil {
				t.Errorf("Sockets yields %v, %v after %v", s, e, err)
			}
			err = e
			continue
		}
		ids = append(ids, s.ID())
	}
	return ids, err
}

// silent returns the names of the nodes that an error calls silent.
func silent(err error) (names []string) {
	if e, ok := errors.AsType[*adapter.SilentNodesError](err); ok {
		for _, n := range e.Nodes {
			names = append(names, n.Name)
		}
		slices.Sort(names)
	}
	return names
}

func TestClusterSockets(t *testing.T) {
	inCluster(t, func(t *testing.T, _ *adaptertest.Bus, one, two, three *clusterNode) {
		a, b, c := one.client.ID(), two.client.ID(), three.client.ID()
		for _, tt := range []struct {
			name string
			b    socketio.Broadcast
			want []string
		}{
			{"all", one.To(), []string{a, b, c}},
			{"a room of all", one.To("all"), []string{a, b, c}},
			{"a room of another node", one.To("two"), []string{b}},
			{"rooms", one.To("two", "three"), []string{b, c}},
			{"id", one.To(c), []string{c}},
			{"own id", one.To(a), []string{a}},
			{"except", one.Except("two"), []string{a, c}},
			{"except an id", one.To("all").Except(a), []string{b, c}},
			{"local", one.Local(), []string{a}},
			{"nobody", one.To("nobody"), nil},
		} {
			ids, err := found(t, tt.b)
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			if len(tt.want) == 3 && ids[0] != a {
				t.Errorf("%s: %s comes first, want the local socket", tt.name, ids[0])
			}
			slices.Sort(ids)
			slices.Sort(tt.want)
			if !slices.Equal(ids, tt.want) {
				t.Errorf("%s: Sockets = %q, want %q", tt.name, ids, tt.want)
			}
			if n, err := tt.b.Count(t.Context()); n != len(tt.want) || err != nil {
				t.Errorf("%s: Count = %d, %v, want %d", tt.name, n, err, len(tt.want))
			}
		}
		st := one.Stats()
		if n := st.Requests[socketio.RequestKey{Type: "fetch", Result: "ok"}]; n != 9 {
			t.Errorf("%d fetches are counted, want 9", n)
		}
		if st.Nodes != 3 {
			t.Errorf("Stats.Nodes = %d, want 3", st.Nodes)
		}
		nodes, err := one.Nodes(t.Context())
		if err != nil || len(nodes) != 3 || nodes[0].Name != "one" {
			t.Errorf("Nodes = %v, %v", nodes, err)
		}
	})
}

// To break off ends the request, wherever it is.
func TestClusterSocketsBreak(t *testing.T) {
	inCluster(t, func(t *testing.T, bus *adaptertest.Bus, one, two, three *clusterNode) {
		for range one.Sockets(t.Context()) {
			break // at the local one, before any answer
		}
		two.bus.Silence(true) // would be waited for
		start := time.Now()
		n := 0
		for s, err := range one.Sockets(t.Context()) {
			if err != nil {
				t.Errorf("Sockets: %v", err)
			}
			if n++; s.ID() == three.client.ID() {
				break
			}
		}
		if n != 2 || time.Since(start) != 0 {
			t.Errorf("%d sockets in %v, want 2 at once", n, time.Since(start))
		}
		if n := one.Stats().Requests[socketio.RequestKey{Type: "fetch", Result: "ok"}]; n != 2 {
			t.Errorf("%d fetches are ok, want 2: to break off is no fault", n)
		}
	})
}

func TestClusterSilentNodes(t *testing.T) {
	inCluster(t, func(t *testing.T, bus *adaptertest.Bus, one, two, three *clusterNode) {
		replies(t, one, "1")
		replies(t, two, "2")
		replies(t, three, "3")
		three.OnServerSide("q", func(ctx context.Context, args socketio.Args) error { return args.Ack(ctx, "three") })
		two.bus.Silence(true)
		ids, err := found(t, one.To())
		if !slices.Equal(silent(err), []string{"two"}) || len(ids) != 2 {
			t.Errorf("Sockets = %d, %v, want 2 and two silent", len(ids), err)
		}
		if n, err := one.Count(t.Context()); !slices.Equal(silent(err), []string{"two"}) || n != 2 {
			t.Errorf("Count = %d, %v, want 2 and two silent", n, err)
		}
		answers, err := one.EmitWithAck(t.Context(), "q")
		if got := words(t, answers); !slices.Equal(silent(err), []string{"two"}) || !slices.Equal(got, []string{"1", "3"}) {
			t.Errorf("EmitWithAck = %q, %v, want 1, 3 and two silent", got, err)
		}
		answers, err = one.ServerSideEmitWithAck(t.Context(), "q")
		if got := words(t, answers); !slices.Equal(silent(err), []string{"two"}) || !slices.Equal(got, []string{"three"}) {
			t.Errorf("ServerSideEmitWithAck = %q, %v, want three and two silent", got, err)
		}
		three.bus.Silence(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if n, err := one.Count(ctx); !slices.Equal(silent(err), []string{"three", "two"}) || n != 1 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Count = %d, %v, want 1 and both silent", n, err)
		}
		want := map[socketio.RequestKey]uint64{
			{Type: "fetch", Result: "partial"}: 1, {Type: "count", Result: "partial"}: 1, {Type: "count", Result: "timeout"}: 1,
			{Type: "broadcast_ack", Result: "partial"}: 1, {Type: "serverside_emit", Result: "partial"}: 1,
		}
		for key, n := range one.Stats().Requests {
			if n != want[key] {
				t.Errorf("Requests[%v] = %d, want %d", key, n, want[key])
			}
		}
	})
}

// A node that is killed while it is asked costs the time until the others notice, and later nothing.
func TestClusterKilledNode(t *testing.T) {
	inCluster(t, func(t *testing.T, bus *adaptertest.Bus, one, two, three *clusterNode) {
		replies(t, one, "1")
		replies(t, three, "3")
		two.bus.Kill()
		start := time.Now()
		answers, err := one.EmitWithAck(t.Context(), "q")
		if got := words(t, answers); !slices.Equal(silent(err), []string{"two"}) || !slices.Equal(got, []string{"1", "3"}) {
			t.Errorf("EmitWithAck = %q, %v, want 1, 3 and two silent", got, err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("it took %v, want the lapse, 1 s", d)
		}
		start = time.Now()
		if answers, err = one.EmitWithAck(t.Context(), "q"); err != nil || len(answers) != 2 || time.Since(start) != 0 {
			t.Errorf("EmitWithAck = %d answers, %v after %v, want 2 at once", len(answers), err, time.Since(start))
		}
		if n := one.Stats().Nodes; n != 2 {
			t.Errorf("Stats.Nodes = %d, want 2", n)
		}
	})
}

func TestClusterEmitWithAck(t *testing.T) {
	inCluster(t, func(t *testing.T, bus *adaptertest.Bus, one, two, three *clusterNode) {
		replies(t, one, "1")
		replies(t, two, "2")
		for _, tt := range []struct {
			b    socketio.Broadcast
			want []string
		}{
			{one.To("one", "two"), []string{"1", "2"}},
			{one.To("two"), []string{"2"}},
			{one.To(two.client.ID()), []string{"2"}},
			{one.Except("three"), []string{"1", "2"}},
			{one.To("all").Except("three", one.client.ID()), []string{"2"}},
			{one.Local(), []string{"1"}},
			{one.To("nobody"), nil},
		} {
			start := time.Now()
			answers, err := tt.b.EmitWithAck(t.Context(), "q", []byte{1})
			if got := words(t, answers); err != nil || !slices.Equal(got, tt.want) || time.Since(start) != 0 {
				t.Errorf("EmitWithAck = %q, %v after %v, want %q at once", got, err, time.Since(start), tt.want)
			}
		}
		// One client that does not answer is missed by number, and its node does not count as silent.
		answers, err := one.EmitWithAck(t.Context(), "q")
		missing, ok := errors.AsType[*socketio.MissingAcksError](err)
		if got := words(t, answers); !slices.Equal(got, []string{"1", "2"}) || !ok || missing.Expected != 3 || missing.Received != 2 ||
			!errors.Is(err, context.DeadlineExceeded) || silent(err) != nil {
			t.Errorf("EmitWithAck = %q, %v, want 2 of 3", got, err)
		}
		// A node that is lost after it counted: both errors.
		time.AfterFunc(time.Second, three.bus.Kill)
		_, err = one.EmitWithAck(t.Context(), "q")
		missing, ok = errors.AsType[*socketio.MissingAcksError](err)
		if !ok || missing.Expected != 3 || missing.Received != 2 || !slices.Equal(silent(err), []string{"three"}) {
			t.Errorf("EmitWithAck = %v, want 2 of 3 and three silent", err)
		}
		for result, want := range map[string]uint64{"ok": 7, "partial": 1} { // clients that do not answer change nothing
			if n := one.Stats().Requests[socketio.RequestKey{Type: "broadcast_ack", Result: result}]; n != want {
				t.Errorf("%d requests are %s, want %d", n, result, want)
			}
		}
		if _, err := one.To("two").EmitWithAck(t.Context(), "connect"); !errors.Is(err, socketio.ErrReservedEvent) {
			t.Errorf("EmitWithAck of a reserved event = %v", err)
		}
	})
}

// The acknowledgements that a node passes on are given up in time.
func TestClusterAcksEnd(t *testing.T) {
	inCluster(t, func(t *testing.T, bus *adaptertest.Bus, one, two, three *clusterNode) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for i := range 1030 { // one client may owe 1 024 at a time
			_, err := one.To("two").EmitWithAck(ctx, "q")
			if missing, ok := errors.AsType[*socketio.MissingAcksError](err); i == 0 && (!ok || missing.Expected != 1) {
				t.Fatalf("request %d: %v, want 0 of 1", i, err)
			}
		}
		time.Sleep(2 * time.Second)
		for two.client.Pending() > 0 {
			if _, err := two.client.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		replies(t, two, "2")
		if answers, err := one.To("two").EmitWithAck(t.Context(), "q"); err != nil || len(answers) != 1 {
			t.Errorf("EmitWithAck = %d answers, %v, want 1", len(answers), err)
		}
	})
}

func TestClusterJoinLeaveDisconnect(t *testing.T) {
	inCluster(t, func(t *testing.T, bus *adaptertest.Bus, one, two, three *clusterNode) {
		ctx := t.Context()
		count := func(b socketio.Broadcast, want int) {
			t.Helper()
			synctest.Wait()
			if n, err := b.Count(ctx); n != want || err != nil {
				t.Errorf("Count = %d, %v, want %d", n, err, want)
			}
		}
		must(one.To("one", "two").Join(ctx, "x", "y"))
		count(three.To("x"), 2)
		must(three.To("x").Except("two").Emit(ctx, "for one"))
		must(one.client.Expect(ctx, "for one"))
		must(three.To("x").Emit(ctx, "for both"))
		must(one.client.Expect(ctx, "for both"))
		must(two.client.Expect(ctx, "for both"))
		must(three.Leave(ctx, "y"))
		count(one.To("y"), 0)
		count(one.To("x"), 2)
		must(one.Local().Join(ctx, "z"))
		must(two.Local().Leave(ctx, "x"))
		count(three.To("z"), 1)
		count(three.To("x"), 1)
		must(three.Join(ctx, "w"))
		count(one.To("w"), 3)
		if err := one.Join(ctx, "a", ""); err == nil {
			t.Error("the empty room was joined")
		}
		must(one.To("two").Disconnect(ctx, false))
		count(one.To(), 2)
		if reason, err := two.client.Wait(ctx); err != nil || reason != siotest.Reason("io server disconnect") {
			t.Errorf("the client of two ended with %q, %v", reason, err)
		}
		must(one.Except("one").Disconnect(ctx, true))
		count(one.To(), 1)
		if n := one.Stats().Requests[socketio.RequestKey{Type: "disconnect", Result: "ok"}]; n != 2 {
			t.Errorf("%d disconnects are counted, want 2", n)
		}
	})
}

// A broadcast of a socket leaves it out, whatever is asked of the others.
func TestClusterBroadcastOfASocket(t *testing.T) {
	inCluster(t, func(t *testing.T, bus *adaptertest.Bus, one, two, three *clusterNode) {
		for s, err := range one.Local().Sockets(t.Context()) {
			must(err)
			socket, ok := s.Local()
			if !ok {
				t.Fatal("a socket of this node is none")
			}
			must(socket.Broadcast().Join(t.Context(), "others"))
		}
		synctest.Wait()
		ids, err := found(t, one.To("others"))
		if err != nil || len(ids) != 2 || slices.Contains(ids, one.client.ID()) {
			t.Errorf("Sockets = %q, %v, want those of the others", ids, err)
		}
	})
}

func TestLoneServerAsksNobody(t *testing.T) {
	server, _ := start(t, nil)
	if answers, err := server.ServerSideEmitWithAck(t.Context(), "q"); err != nil || len(answers) != 0 {
		t.Errorf("ServerSideEmitWithAck = %v, %v", answers, err)
	}
	if err := server.ServerSideEmit(t.Context(), "q"); err != nil {
		t.Errorf("ServerSideEmit = %v", err)
	}
	if nodes, err := server.Nodes(t.Context()); err != nil || len(nodes) != 1 {
		t.Errorf("Nodes = %v, %v, want this one", nodes, err)
	}
	if n := server.Stats().Nodes; n != 1 {
		t.Errorf("Stats.Nodes = %d, want 1", n)
	}
}

// A namespace that its adapter refused says why nobody can be asked.
func TestBrokenLink(t *testing.T) {
	bus := adaptertest.NewBus(nil)
	node := bus.Add("one")
	server, _ := start(t, &socketio.Options{Adapter: node})
	must(node.Close(t.Context()))
	n := server.Of("/late")
	if _, err := n.Count(t.Context()); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("Count = %v, want %v", err, adapter.ErrClosed)
	}
	if _, err := n.Nodes(t.Context()); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("Nodes = %v, want %v", err, adapter.ErrClosed)
	}
	if n := server.Stats().Requests[socketio.RequestKey{Type: "count", Result: "error"}]; n != 1 {
		t.Errorf("%d failed requests are counted, want 1", n)
	}
}

func TestParentNamespaceRefuses(t *testing.T) {
	server, _ := start(t, nil)
	p := server.OfFunc(func(context.Context, string, json.RawMessage) (bool, error) { return true, nil })
	ctx := t.Context()
	_, ack := p.EmitWithAck(ctx, "q")
	_, count := p.Count(ctx)
	var sockets error
	for _, err := range p.Sockets(ctx) {
		sockets = err
	}
	for i, err := range []error{ack, count, sockets, p.Join(ctx, "r"), p.Leave(ctx, "r"), p.Disconnect(ctx, true)} {
		if !errors.Is(err, socketio.ErrParentNamespace) {
			t.Errorf("operation %d of a parent = %v", i, err)
		}
	}
}

// Requests of many at the same time do not mix.
func TestClusterConcurrentRequests(t *testing.T) {
	inCluster(t, func(t *testing.T, bus *adaptertest.Bus, one, two, three *clusterNode) {
		bus.Answers(func(from, _ adapter.Node, r *adapter.Response) []time.Duration {
			return []time.Duration{time.Duration(len(r.Sockets)+r.Count+len(from.Name)) * time.Millisecond}
		})
		var wg sync.WaitGroup
		for _, n := range []*clusterNode{one, two, three} {
			for i := range 30 {
				wg.Go(func() {
					b := []socketio.Broadcast{n.To(), n.To("one"), n.Except("two")}[i%3]
					want := []int{3, 1, 2}[i%3]
					if ids, err := found(t, b); err != nil || len(ids) != want {
						t.Errorf("Sockets = %d, %v, want %d", len(ids), err, want)
					}
					if n, err := b.Count(t.Context()); err != nil || n != want {
						t.Errorf("Count = %d, %v, want %d", n, err, want)
					}
				})
			}
		}
		wg.Wait()
	})
}
