package redisadapter_test

import (
	"fmt"
	"path"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/adapter/redisadapter"
)

func TestMain(m *testing.M) {
	logging.Disable() // go-redis reports each failed dial on standard error
	goleak.VerifyTestMain(m)
}

// nodes returns the adapters of n nodes on the Redis server at addr.
func nodes(t *testing.T, addr string, n int, o redisadapter.Options) []adapter.Adapter {
	o.Logger = quiet(o.Logger)
	adapters := make([]adapter.Adapter, n)
	for i := range adapters {
		o.Node.Name = fmt.Sprint("node ", i)
		adapters[i] = redisadapter.NewPubSub(client(t, addr), &o)
	}
	return adapters
}

func client(t testing.TB, addr string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// subscriptions are the ways to hear rooms, each of which must pass all tests.
var subscriptions = map[string]redisadapter.Subscription{
	"rooms": redisadapter.SubscribeRooms, "pattern": redisadapter.SubscribePattern,
}

func TestMiniredis(t *testing.T) {
	for name, s := range subscriptions {
		t.Run(name, func(t *testing.T) {
			adaptertest.Run(t, func(t *testing.T) []adapter.Adapter {
				return nodes(t, miniredis.RunT(t).Addr(), 3, redisadapter.Options{Subscription: s})
			})
		})
	}
}

func TestRedis(t *testing.T) {
	server := startRedis(t)
	for name, s := range subscriptions {
		t.Run(name, func(t *testing.T) {
			adaptertest.Run(t, func(t *testing.T) []adapter.Adapter {
				return nodes(t, server.addr, 3, redisadapter.Options{Subscription: s, Prefix: t.Name()})
			})
		})
	}
}

// requestOptions are for a test of adaptertest.RunRequests. What it does not wait for is so long that a busy machine does
// not come near it.
func requestOptions(t *testing.T) redisadapter.Options {
	o := redisadapter.Options{
		Logger: quiet(nil), Prefix: t.Name(), RequestTimeout: patience, HeartbeatInterval: 200 * time.Millisecond, HeartbeatLapse: 3 * time.Second,
	}
	switch path.Base(t.Name()) {
	case "SilentNode":
		o.RequestTimeout = 3 * time.Second
	case "NodeDies":
		o.HeartbeatLapse = 1500 * time.Millisecond
	}
	return o
}

func TestRedisRequests(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	for specific, s := range map[bool]redisadapter.Subscription{false: redisadapter.SubscribeRooms, true: redisadapter.SubscribePattern} {
		t.Run(fmt.Sprint("specific ", specific), func(t *testing.T) {
			t.Parallel()
			adaptertest.RunRequests(t, adaptertest.Requests{
				FirstValue: true,
				Kill:       func(_ *testing.T, a adapter.Adapter) { redisadapter.Kill(a) },
				Connect: func(t *testing.T) []adapter.Adapter {
					o := requestOptions(t)
					o.Subscription, o.PublishOnSpecificResponseChannel = s, specific
					return nodes(t, server.addr, 3, o)
				},
			})
		})
	}
}
