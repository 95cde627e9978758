package redisadapter_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/adapter/redisadapter"
)

// shardedPair returns two nodes in the main namespace, of which the second has members in the rooms.
func shardedPair(t *testing.T, rdb func() redis.UniversalClient, rooms ...string) (from, to *adaptertest.Node) {
	t.Helper()
	adapters := shardedNodes(2, redisadapter.ShardedOptions{}, rdb)
	nodes := adaptertest.Join(t, adapters, "/", rooms...)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, a := range adapters {
			if err := a.Close(ctx); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
	return nodes[0], nodes[1]
}

// stream publishes numbered messages to each choice of rooms, about a thousand a second, until stop is called, which
// returns how many there were of each.
func stream(t *testing.T, from *adaptertest.Node, choices [][]string) (stop func() int) {
	t.Helper()
	var n atomic.Int64
	done := make(chan struct{})
	var publishing sync.WaitGroup
	publishing.Go(func() {
		pace := time.NewTicker(time.Millisecond * time.Duration(len(choices)))
		defer pace.Stop()
		for {
			for c, rooms := range choices {
				from.Publish(t, adaptertest.Event(fmt.Sprintf("%d %d", c, n.Load()), rooms...))
			}
			n.Add(1)
			select {
			case <-pace.C:
			case <-done:
				return
			}
		}
	})
	end := sync.OnceFunc(func() {
		close(done)
		publishing.Wait()
	})
	t.Cleanup(end)
	return func() int {
		end()
		return int(n.Load())
	}
}

// numbers returns what was heard of each choice of rooms, and fails the test unless the numbers grow: a repetition or
// a wrong order would not.
func numbers(t *testing.T, to *adaptertest.Node, choices int) [][]int {
	t.Helper()
	heard := make([][]int, choices)
	for _, m := range to.Messages() {
		text := strings.Split(strings.Trim(strings.TrimPrefix(string(m.Packet.Data), `["event",`), `"]`), " ")
		c, err := strconv.Atoi(text[0])
		if err != nil {
			t.Fatalf("heard %s", m.Packet.Data)
		}
		n, err := strconv.Atoi(text[1])
		if err != nil {
			t.Fatalf("heard %s", m.Packet.Data)
		}
		if h := heard[c]; len(h) > 0 && h[len(h)-1] >= n {
			t.Fatalf("heard number %d of choice %d after %d", n, c, h[len(h)-1])
		}
		heard[c] = append(heard[c], n)
	}
	return heard
}

// awaitFlow waits until something is heard of every choice of rooms that was published after now.
func awaitFlow(t *testing.T, to *adaptertest.Node, choices int) time.Duration {
	t.Helper()
	start := time.Now()
	last := make([]int, choices)
	for c, h := range numbers(t, to, choices) {
		last[c] = len(h)
	}
	eventually(t, "messages on all channels", func() bool {
		for c, h := range numbers(t, to, choices) {
			if len(h) < last[c]+20 { // more than what may have been under way
				return false
			}
		}
		return true
	})
	return time.Since(start)
}

func reconnects(a adapter.Adapter, cause string) uint64 {
	return a.(adapter.Counted).Stats().Reconnects[adapter.ReconnectKey{Role: adapter.RoleSubscribe, Cause: cause}]
}

// TestShardedMovingSlots moves the slots of channels under traffic: they are heard again where they are, what was missed
// is a counted gap, nothing comes twice and nothing that was taken for publication is given up.
func TestShardedMovingSlots(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, 3)
	choices := [][]string{nil, {"a"}, {"b"}, {"c"}}
	from, to := shardedPair(t, func() redis.UniversalClient { return cluster.client(t) }, "a", "b", "c")
	var gaps atomic.Int64
	to.Adapter.(adapter.Traced).AddTrace(&adapter.Trace{Gap: func(time.Duration) { gaps.Add(1) }})
	stop := stream(t, from, choices)
	awaitFlow(t, to, len(choices))
	const rounds = 4
	for range rounds {
		for c, channel := range []string{"socket.io#/#", "socket.io#/#a#", "socket.io#/#b#"} {
			slot := redisadapter.SlotOf(channel)
			cluster.move(t, slot, (cluster.owner(t, slot)+1+c%2)%3)
		}
		if d := awaitFlow(t, to, len(choices)); d > 2*time.Second {
			t.Errorf("all channels were back after %v, want at most 2 s", d)
		}
	}
	published := stop()
	// Channels that move at about the same time have one gap.
	eventually(t, "counting the gaps", func() bool { return gaps.Load() > 0 })
	eventually(t, "being ready again", func() bool {
		return from.Adapter.(adapter.Status).Ready() == nil && to.Adapter.(adapter.Status).Ready() == nil
	})
	if n := reconnects(to.Adapter, "moved"); n == 0 || n > 3*rounds {
		t.Errorf("%d reconnections because of moved slots, want 1 to %d", n, 3*rounds)
	}
	heard := numbers(t, to, len(choices))
	for c := range choices {
		t.Logf("channel %d: heard %d of %d", c, len(heard[c]), published)
	}
	if n := len(heard[3]); n < published-50 {
		t.Errorf("heard %d of %d messages on a channel whose slot did not move", n, published)
	}
	if errs := from.Adapter.(adapter.Counted).Stats().PublishErrors; len(errs) > 0 {
		t.Errorf("messages given up: %v, want none", errs)
	}
}

// TestShardedKilledConnections: the connections that listen are cut, one master's or all at once.
func TestShardedKilledConnections(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, 3)
	choices := [][]string{nil, {"a"}, {"b"}, {"c"}}
	from, to := shardedPair(t, func() redis.UniversalClient { return cluster.client(t) }, "a", "b", "c")
	stop := stream(t, from, choices)
	awaitFlow(t, to, len(choices))
	for i := range 6 {
		before := reconnects(to.Adapter, "closed")
		servers := cluster.servers
		if i%2 == 0 {
			servers = servers[i/2 : i/2+1]
		}
		for _, s := range servers {
			s.do(t, "CLIENT", "KILL", "TYPE", "pubsub")
		}
		eventually(t, "noticing", func() bool { return reconnects(to.Adapter, "closed") > before })
		if d := awaitFlow(t, to, len(choices)); d > time.Second {
			t.Errorf("all channels were back after %v, want at most 1 s", d)
		}
	}
	stop()
	numbers(t, to, len(choices))
}

// TestShardedFailover kills a master that has a replica: its channels move there.
func TestShardedFailover(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, 3)
	slot := redisadapter.SlotOf("socket.io#/#")
	owner := cluster.owner(t, slot)
	replica := cluster.add(t)
	cluster.meet(t, replica)
	cluster.awaitOK(t)
	replica.do(t, "CLUSTER", "REPLICATE", cluster.ids[owner])
	eventually(t, "replicating", func() bool {
		return strings.Contains(fmt.Sprint(replica.do(t, "INFO", "replication")), "master_link_status:up")
	})
	choices := [][]string{nil, {"a"}, {"b"}, {"c"}}
	from, to := shardedPair(t, func() redis.UniversalClient { return cluster.client(t) }, "a", "b", "c")
	stop := stream(t, from, choices)
	awaitFlow(t, to, len(choices))
	var others []int // choices whose channels are elsewhere
	for c, channel := range []string{"socket.io#/#", "socket.io#/#a#", "socket.io#/#b#", "socket.io#/#c#"} {
		if cluster.owner(t, redisadapter.SlotOf(channel)) != owner {
			others = append(others, c)
		}
	}
	cluster.servers[owner].kill()
	cluster.servers = slices.Delete(cluster.servers, owner, owner+1)
	if d := awaitFlow(t, to, len(choices)); d > 9*time.Second {
		t.Errorf("all channels were back after %v, want at most 9 s", d)
	}
	published := stop()
	eventually(t, "hearing the last messages", func() bool {
		for _, h := range numbers(t, to, len(choices)) {
			if h[len(h)-1] != published-1 {
				return false
			}
		}
		return true
	})
	eventually(t, "being ready again", func() bool {
		return from.Adapter.(adapter.Status).Ready() == nil && to.Adapter.(adapter.Status).Ready() == nil
	})
	heard := numbers(t, to, len(choices))
	for c := range choices {
		t.Logf("channel %d: heard %d of %d", c, len(heard[c]), published)
	}
	for c := range choices { // what waited for the successor is not lost, but for what was older than the watchdog allows
		if len(heard[c]) < 200 {
			t.Errorf("heard %d of %d messages on channel %d; the sender gave up %v", len(heard[c]), published, c,
				from.Adapter.(adapter.Counted).Stats().PublishErrors)
		}
	}
	for _, c := range others {
		if len(heard[c]) < published*9/10 {
			t.Errorf("heard %d of %d messages on channel %d, which did not live on the killed master", len(heard[c]), published, c)
		}
	}
}

// TestShardedLateCluster: a cluster that is away at the start is found when it is there.
func TestShardedLateCluster(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	server.kill()
	logger := slog.New(slog.DiscardHandler)
	a := redisadapter.NewSharded(clusterClient(t, server.addr), &redisadapter.ShardedOptions{Options: redisadapter.Options{Logger: logger}})
	local := adaptertest.NewLocal("a")
	link, err := a.Join(t.Context(), "/", local)
	if err != nil {
		t.Fatal(err)
	}
	if err := link.(adapter.RoomFollower).FollowRoom(t.Context(), "a"); err != nil {
		t.Errorf("FollowRoom without Redis = %v, want nil at once", err)
	}
	if err := a.(adapter.Status).Ready(); err == nil {
		t.Error("ready without Redis")
	}
	if err := link.Publish(t.Context(), adaptertest.Event("lost")); err != nil {
		t.Errorf("Publish without Redis = %v, want nil: it is queued", err)
	}
	eventually(t, "giving the message up", func() bool {
		n := uint64(0)
		for _, count := range a.(adapter.Counted).Stats().PublishErrors {
			n += count
		}
		return n == 1
	})
	if err := a.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// TestShardedMalformed: what a broken or hostile publisher sends is counted, and the next message is delivered.
func TestShardedMalformed(t *testing.T) {
	server := startRedis(t)
	rdb := client(t, server.addr)
	from, to := shardedPair(t, func() redis.UniversalClient { return client(t, server.addr) })
	bad := []string{
		"", "{", "\x84", `{"type":3,"data":{"packet":{"type":2,"data":["disconnect"]},"opts":{}},"uid":"a","nsp":"/"}`,
		`{"type":7,"data":{"opts":{},"requestId":"r"},"uid":"emitter","nsp":"/"}`,
		`{"type":3,"data":{"packet":{"type":2,"data":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `},"opts":{}},"uid":"a","nsp":"/"}`,
	}
	ignored := []string{
		"{}", `{"type":2,"uid":"a","nsp":"/"}`, `{"type":3,"data":{},"uid":"a","nsp":"/other"}`,
		`{"type":11,"data":{"requestId":"nobody asked","clientCount":1},"uid":"a","nsp":"/"}`,
	}
	for _, payload := range append(bad, ignored...) {
		if err := rdb.SPublish(t.Context(), "socket.io#/#", payload).Err(); err != nil {
			t.Fatal(err)
		}
	}
	from.Publish(t, adaptertest.Event("after"))
	to.Await(t, 1)
	received := stats(to).Received
	for result, want := range map[string]int{"malformed": len(bad), "no_match": len(ignored), "delivered": 1} {
		if got := received[adapter.ReceivedKey{Kind: "broadcast", Result: result}]; got != uint64(want) {
			t.Errorf("%d messages are %s, want %d", got, result, want)
		}
	}
}
