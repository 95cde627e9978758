package redisadapter_test

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/adapter/redisadapter"
)

// processCPU returns the processor time that this process used.
func processCPU(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// redisCPU returns the processor time that Redis used.
func redisCPU(b *testing.B, c *redis.Client) time.Duration {
	b.Helper()
	info, err := c.Info(b.Context(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	var total time.Duration
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_user" || name == "used_cpu_sys" {
			s, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(err)
			}
			total += time.Duration(s * float64(time.Second))
		}
	}
	return total
}

// churning is one node under churn.
type churning struct {
	server *redisServer
	admin  *redis.Client
	local  *adaptertest.Local
	link   adapter.Link
	node   adapter.Adapter
	own    int // subscriptions without any room
}

func startChurn(b *testing.B, s redisadapter.Subscription) *churning {
	b.Helper()
	server := startRedis(b, "--client-output-buffer-limit", "pubsub 0 0 0")
	c := &churning{server: server, admin: client(b, server.addr), local: adaptertest.NewLocal()}
	c.node = redisadapter.NewPubSub(client(b, server.addr), &redisadapter.Options{Subscription: s, Logger: quiet(nil)})
	b.Cleanup(func() { _ = c.node.Close(b.Context()) })
	var err error
	if c.link, err = c.node.Join(b.Context(), "/", c.local); err != nil {
		b.Fatal(err)
	}
	c.await(b, func() bool { return c.node.(adapter.Status).Ready() == nil })
	c.own = c.subscriptions()
	return c
}

func (c *churning) await(b *testing.B, ok func() bool) {
	b.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatal("not within a minute")
		}
	}
}

func (c *churning) subscriptions() int {
	n := 0
	for _, each := range c.node.(adapter.Counted).Stats().Subscriptions {
		n += each
	}
	return n
}

// BenchmarkChurn lets sockets come and go: each follows its own id and gives it up again. 1000 are there at a time.
func BenchmarkChurn(b *testing.B) {
	for name, s := range subscriptions {
		b.Run(name, func(b *testing.B) {
			c := startChurn(b, s)
			f := c.link.(adapter.RoomFollower)
			go1, redis1 := processCPU(b), redisCPU(b, c.admin)
			b.ReportAllocs()
			const there = 1000
			n := 0
			leave := func(i int) {
				id := fmt.Sprint("socket ", i)
				c.local.Exit(id)
				f.UnfollowRoom(id)
			}
			for b.Loop() {
				id := fmt.Sprint("socket ", n)
				c.local.Enter(id)
				if err := f.FollowRoom(b.Context(), id); n%100 == 0 && err != nil {
					b.Fatal(err)
				}
				if n >= there {
					leave(n - there)
				}
				n++
			}
			for i := max(0, n-there); i < n; i++ {
				leave(i)
			}
			c.await(b, func() bool { return c.subscriptions() == c.own })
			report(b, c, go1, redis1, n)
		})
	}
}

// BenchmarkBurst lets as many sockets come as there are rounds, all at once, and then all go.
func BenchmarkBurst(b *testing.B) {
	for name, s := range subscriptions {
		b.Run(name, func(b *testing.B) {
			c := startChurn(b, s)
			f := c.link.(adapter.RoomFollower)
			go1, redis1 := processCPU(b), redisCPU(b, c.admin)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				id := fmt.Sprint("socket ", n)
				c.local.Enter(id)
				f.FollowRoomSoon(id)
				n++
			}
			if s == redisadapter.SubscribeRooms {
				c.await(b, func() bool { return c.subscriptions() == c.own+n })
			}
			for i := range n {
				id := fmt.Sprint("socket ", i)
				c.local.Exit(id)
				f.UnfollowRoom(id)
			}
			c.await(b, func() bool { return c.subscriptions() == c.own })
			report(b, c, go1, redis1, n)
		})
	}
}

func report(b *testing.B, c *churning, go1, redis1 time.Duration, n int) {
	b.Helper()
	micros := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(n) }
	b.ReportMetric(micros(processCPU(b)-go1), "cpu-us/op")
	b.ReportMetric(micros(redisCPU(b, c.admin)-redis1), "redis-us/op")
}

// BenchmarkReconnect cuts the connection of a node that follows 100 000 rooms: the time until all are followed again.
func BenchmarkReconnect(b *testing.B) {
	const rooms = 100_000
	for name, s := range subscriptions {
		b.Run(name, func(b *testing.B) {
			c := startChurn(b, s)
			for i := range rooms {
				id := fmt.Sprint("socket ", i)
				c.local.Enter(id)
				c.link.(adapter.RoomFollower).FollowRoomSoon(id)
			}
			if s == redisadapter.SubscribeRooms {
				c.await(b, func() bool { return c.subscriptions() == c.own+rooms })
			}
			gaps := make(chan time.Duration, 1)
			c.node.(adapter.Traced).AddTrace(&adapter.Trace{Gap: func(d time.Duration) { gaps <- d }})
			var longest time.Duration
			go1, redis1 := processCPU(b), redisCPU(b, c.admin)
			n := 0
			for b.Loop() {
				if err := c.admin.ClientKillByFilter(b.Context(), "TYPE", "pubsub").Err(); err != nil {
					b.Fatal(err)
				}
				longest = max(longest, <-gaps)
				n++
			}
			b.ReportMetric(float64(longest.Milliseconds()), "longest-ms")
			report(b, c, go1, redis1, n)
		})
	}
}
