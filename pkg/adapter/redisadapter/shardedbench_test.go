package redisadapter_test

import (
	"log/slog"
	"testing"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/adapter/redisadapter"
)

// clusterBenchMessages are those of benchMessages, and one with binary data.
func clusterBenchMessages() map[string]redisadapter.ClusterMessage {
	messages := map[string]redisadapter.ClusterMessage{
		"binary": request(3, "", adapter.Message{Packet: packet(`["file","name",{"_placeholder":true,"num":0}]`, make([]byte, 1000)), Rooms: []string{"general"}}),
	}
	for name, m := range benchMessages() {
		messages[name] = request(3, "", *m)
	}
	return messages
}

func BenchmarkClusterEncode(b *testing.B) {
	for name, m := range clusterBenchMessages() {
		b.Run(name, func(b *testing.B) {
			var buf []byte
			b.SetBytes(int64(len(m.Message.Packet.Data)))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if buf, err = redisadapter.AppendCluster(buf[:0], &m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkClusterDecode(b *testing.B) {
	for name, m := range clusterBenchMessages() {
		b.Run(name, func(b *testing.B) {
			wire, err := redisadapter.AppendCluster(nil, &m)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(m.Message.Packet.Data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := redisadapter.DecodeCluster(wire, everyRoom); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkIsOwnCluster(b *testing.B) {
	m := request(3, "", *chat())
	wire, err := redisadapter.AppendCluster(nil, &m)
	if err != nil {
		b.Fatal(err)
	}
	payload, isOwn := string(wire), redisadapter.OwnCluster(m.UID, "/")
	b.ReportAllocs()
	for b.Loop() {
		if !isOwn(payload) {
			b.Fatal("not told for its own")
		}
	}
}

// BenchmarkShardedPublish sends from one goroutine to rooms that nobody listens to, on one Redis and on three masters;
// the time is that of the sender and of everything behind it.
func BenchmarkShardedPublish(b *testing.B) {
	server := startRedis(b)
	cluster := startCluster(b, 3)
	for name, client := range map[string]func() redis.UniversalClient{
		"single": func() redis.UniversalClient {
			rdb := redis.NewClient(&redis.Options{Addr: server.addr})
			b.Cleanup(func() { _ = rdb.Close() })
			return rdb
		},
		"cluster": func() redis.UniversalClient { return cluster.client(b) },
	} {
		b.Run(name, func(b *testing.B) {
			o := redisadapter.ShardedOptions{Options: redisadapter.Options{Logger: slog.New(slog.DiscardHandler)}}
			a := redisadapter.NewSharded(client(), &o)
			link, err := a.Join(b.Context(), "/", adaptertest.NewLocal())
			if err != nil {
				b.Fatal(err)
			}
			for a.(adapter.Status).Ready() != nil {
			}
			rooms := [...]string{"one", "two", "three", "four", "five", "six"}
			messages := make([]*adapter.Message, len(rooms))
			for i, room := range rooms {
				messages[i] = chat()
				messages[i].Rooms = []string{room}
			}
			b.ReportAllocs()
			n := uint64(0)
			for b.Loop() {
				if err := link.Publish(b.Context(), messages[n%uint64(len(messages))]); err != nil {
					b.Fatal(err)
				}
				n++
			}
			if err := a.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
			if got := a.(adapter.Counted).Stats().Published["room"]; got != n {
				b.Fatalf("%d messages were published, want %d", got, n)
			}
		})
	}
}

// BenchmarkShardedChurn follows and gives up a thousand rooms on three masters, each with the confirmation.
func BenchmarkShardedChurn(b *testing.B) {
	cluster := startCluster(b, 3)
	o := redisadapter.ShardedOptions{Options: redisadapter.Options{Logger: slog.New(slog.DiscardHandler)}}
	a := redisadapter.NewSharded(cluster.client(b), &o)
	local := adaptertest.NewLocal()
	link, err := a.Join(b.Context(), "/", local)
	if err != nil {
		b.Fatal(err)
	}
	for a.(adapter.Status).Ready() != nil {
	}
	const rooms = 1000
	names := make([]string, rooms)
	for i := range names {
		names[i] = "room of the churn " + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
	}
	f := link.(adapter.RoomFollower)
	own := a.(adapter.Counted).Stats().Subscriptions["sharded"]
	b.ReportAllocs()
	for b.Loop() {
		for _, room := range names {
			local.Enter(room)
			f.FollowRoomSoon(room)
		}
		for a.(adapter.Counted).Stats().Subscriptions["sharded"] < own+rooms {
		}
		for _, room := range names {
			local.Exit(room)
			f.UnfollowRoom(room)
		}
		for a.(adapter.Counted).Stats().Subscriptions["sharded"] > own {
		}
	}
	if err := a.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// TestClusterAllocations holds the codec to what it promises: writing into a buffer of sufficient size allocates nothing.
func TestClusterAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools at random: allocations are counted in runs without it")
	}
	buf := make([]byte, 0, 4096)
	for name, m := range map[string]redisadapter.ClusterMessage{"JSON": request(3, "", *chat()), "MessagePack": clusterBenchMessages()["binary"]} {
		n := testing.AllocsPerRun(1000, func() {
			buf, _ = redisadapter.AppendCluster(buf[:0], &m)
		})
		if n != 0 {
			t.Errorf("%s: encoding allocates %v times, want 0", name, n)
		}
	}
}
