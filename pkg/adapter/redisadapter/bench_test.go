package redisadapter_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/adapter/redisadapter"
)

// chat is an event of the size of a chat message, with names, numbers and a nested object.
func chat() *adapter.Message {
	return &adapter.Message{
		Packet: adapter.Packet{Data: []byte(`["chat message","Hello everybody, how are you today?",{"name":"Ada","id":4711,"at":1767323045678,"tags":["a","b"]}]`)},
		Rooms:  []string{"general"},
		Sent:   time.Now(),
	}
}

func BenchmarkEncode(b *testing.B) {
	for name, m := range benchMessages() {
		b.Run(name, func(b *testing.B) {
			var buf []byte
			b.SetBytes(int64(len(m.Packet.Data)))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if buf, err = redisadapter.AppendMessage(buf[:0], nodeUID, "/", m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, m := range benchMessages() {
		b.Run(name, func(b *testing.B) {
			wire, err := redisadapter.AppendMessage(nil, nodeUID, "/", m)
			if err != nil {
				b.Fatal(err)
			}
			payload := string(wire)
			b.SetBytes(int64(len(m.Packet.Data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := redisadapter.DecodeMessage(payload, "/", everyRoom); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchMessages() map[string]*adapter.Message {
	large := chat()
	large.Packet.Data = []byte(`["large",["` + strings.Repeat("0123456789", 10_000) + `"]]`)
	return map[string]*adapter.Message{"chat": chat(), "100kB": large}
}

// BenchmarkPublish sends from one goroutine to a real Redis; the time is that of the sender and of everything
// behind it, because the queue is bounded and drained before the clock stops.
func BenchmarkPublish(b *testing.B) {
	server := startRedis(b)
	rdb := redis.NewClient(&redis.Options{Addr: server.addr})
	b.Cleanup(func() { _ = rdb.Close() })
	a := redisadapter.NewPubSub(rdb, &redisadapter.Options{Logger: slog.New(slog.DiscardHandler)})
	link, err := a.Join(b.Context(), "/", adaptertest.NewLocal())
	if err != nil {
		b.Fatal(err)
	}
	m := chat()
	m.Rooms = []string{"nobody listens"}
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		if err := link.Publish(b.Context(), m); err != nil {
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
}

// TestEncodeAllocations holds the encoder to what it promises: into a buffer of sufficient size it allocates
// nothing.
func TestEncodeAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools at random: allocations are counted in runs without it")
	}
	m, buf := chat(), make([]byte, 0, 4096)
	n := testing.AllocsPerRun(1000, func() {
		buf, _ = redisadapter.AppendMessage(buf[:0], nodeUID, "/", m)
	})
	if n != 0 {
		t.Errorf("encoding a chat message allocates %v times, want 0", n)
	}
}
