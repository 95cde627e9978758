package redisadapter_test

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/adapter/redisadapter"
)

// streamNodes returns the adapters of n nodes on the Redis server at addr.
func streamNodes(t testing.TB, addr string, n int, o redisadapter.StreamsOptions) []adapter.Adapter {
	adapters := make([]adapter.Adapter, n)
	for i := range adapters {
		adapters[i] = redisadapter.NewStreams(client(t, addr), &o)
	}
	return adapters
}

func TestStreamsMiniredis(t *testing.T) {
	adaptertest.Run(t, func(t *testing.T) []adapter.Adapter {
		return streamNodes(t, miniredis.RunT(t).Addr(), 3, redisadapter.StreamsOptions{LocalAfter: 10 * time.Second})
	})
}

func TestStreamsRedis(t *testing.T) {
	server := startRedis(t)
	adaptertest.Run(t, func(t *testing.T) []adapter.Adapter {
		return streamNodes(t, server.addr, 3, redisadapter.StreamsOptions{StreamCount: 3, LocalAfter: 10 * time.Second})
	})
}
