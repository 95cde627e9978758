package redisadapter_test

import (
	"testing"

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
func nodes(t *testing.T, addr string, n int) []adapter.Adapter {
	adapters := make([]adapter.Adapter, n)
	for i := range adapters {
		adapters[i] = redisadapter.NewPubSub(client(t, addr), nil)
	}
	return adapters
}

func client(t testing.TB, addr string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestMiniredis(t *testing.T) {
	adaptertest.Run(t, func(t *testing.T) []adapter.Adapter {
		return nodes(t, miniredis.RunT(t).Addr(), 3)
	})
}

func TestRedis(t *testing.T) {
	server := startRedis(t)
	adaptertest.Run(t, func(t *testing.T) []adapter.Adapter {
		return nodes(t, server.addr, 3)
	})
}
