package redisadapter_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/redisadapter"
)

// counting is a namespace that counts what it gets.
type counting struct {
	rooms     map[string]bool
	delivered atomic.Int64
	ended     atomic.Bool
}

func (c *counting) Deliver(m *adapter.Message) {
	if bytes.HasPrefix(m.Packet.Data, []byte(`["end"`)) {
		c.ended.Store(true)
		return
	}
	c.delivered.Add(1)
}
func (c *counting) Answer(*adapter.Message, func(*adapter.Response)) {}
func (c *counting) HasRoom(room string) bool                         { return c.rooms[room] }

// BenchmarkReading lets 20 nodes in one process hear chat messages to 2000 rooms, each with 10 members somewhere: what
// they read, and the processor time of all 20 together.
func BenchmarkReading(b *testing.B) {
	const nodes, rooms, members = 20, 2000, 10
	for name, s := range subscriptions {
		b.Run(name, func(b *testing.B) {
			server := startRedis(b, "--client-output-buffer-limit", "pubsub 0 0 0")
			random := rand.New(rand.NewPCG(1, 2))
			locals := make([]*counting, nodes)
			for i := range locals {
				locals[i] = &counting{rooms: map[string]bool{}}
			}
			for r := range rooms {
				for range members {
					locals[random.IntN(nodes)].rooms[fmt.Sprint("room ", r)] = true
				}
			}
			adapters, links := make([]adapter.Adapter, nodes), make([]adapter.Link, nodes)
			for i := range adapters {
				adapters[i] = redisadapter.NewPubSub(client(b, server.addr), &redisadapter.Options{Subscription: s, Logger: quiet(nil)})
				b.Cleanup(func() { _ = adapters[i].Close(b.Context()) })
				var err error
				if links[i], err = adapters[i].Join(b.Context(), "/", locals[i]); err != nil {
					b.Fatal(err)
				}
			}
			for i, a := range adapters {
				for a.(adapter.Status).Ready() != nil {
					time.Sleep(time.Millisecond)
				}
				for room := range locals[i].rooms {
					if err := links[i].(adapter.RoomFollower).FollowRoom(b.Context(), room); err != nil {
						b.Fatal(err)
					}
				}
			}
			admin := client(b, server.addr)
			m := chat()
			cpu, read, redis1 := processCPU(b), sentByRedis(b, admin), redisCPU(b, admin)
			n := 0
			for b.Loop() {
				m.Rooms = []string{fmt.Sprint("room ", n%rooms)}
				if err := links[n%nodes].Publish(b.Context(), m); err != nil {
					b.Fatal(err)
				}
				n++
			}
			for _, l := range links { // each ends its own messages
				_ = l.Publish(b.Context(), &adapter.Message{Packet: adapter.Packet{Data: []byte(`["end"]`)}})
			}
			want := int64(0)
			for r := range rooms {
				for i, l := range locals {
					if l.rooms[fmt.Sprint("room ", r)] && i != r%nodes {
						want += int64((n + rooms - 1 - r) / rooms)
					}
				}
			}
			total := func() (sum int64) {
				for _, l := range locals {
					sum += l.delivered.Load()
				}
				return sum
			}
			for deadline := time.Now().Add(time.Minute); total() < want; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					b.Fatalf("%d deliveries, want %d", total(), want)
				}
			}
			each := float64(n)
			b.ReportMetric(float64((processCPU(b)-cpu).Nanoseconds())/1e3/each, "cpu-us/op")
			b.ReportMetric(float64((redisCPU(b, admin)-redis1).Nanoseconds())/1e3/each, "redis-us/op")
			b.ReportMetric((sentByRedis(b, admin)-read)/each/nodes, "read-B/node/op")
			b.ReportMetric(float64(total())/each, "deliveries/op")
		})
	}
}

// sentByRedis returns how many bytes Redis sent.
func sentByRedis(b *testing.B, c *redis.Client) float64 {
	b.Helper()
	info, err := c.Info(b.Context(), "stats").Result()
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, "total_net_output_bytes:"); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("Redis does not say what it sent")
	return 0
}
