package redisadapter_test

import (
	"fmt"
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
		o.Node.Name = fmt.Sprint("node ", i)
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

// A cluster of Redis has the streams on one server and the channels on others.
func TestStreamsRedisCluster(t *testing.T) {
	cluster := startCluster(t, 3)
	for _, sharded := range []bool{false, true} {
		t.Run(fmt.Sprint("sharded ", sharded), func(t *testing.T) {
			adaptertest.Run(t, func(t *testing.T) []adapter.Adapter {
				adapters := make([]adapter.Adapter, 3)
				for i := range adapters {
					adapters[i] = redisadapter.NewStreams(cluster.client(t), &redisadapter.StreamsOptions{
						Options: redisadapter.Options{Logger: quiet(nil)}, StreamName: t.Name(), StreamCount: 3, ShardedPubSub: sharded, LocalAfter: 10 * time.Second,
					})
				}
				return adapters
			})
		})
	}
}

func TestStreamsRequests(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	for _, sharded := range []bool{false, true} {
		t.Run(fmt.Sprint("sharded ", sharded), func(t *testing.T) {
			t.Parallel()
			adaptertest.RunRequests(t, adaptertest.Requests{
				FirstValue: true,
				AnyOrder:   true, // events between servers do not go through the stream
				Kill:       func(_ *testing.T, a adapter.Adapter) { redisadapter.Kill(a) },
				Connect: func(t *testing.T) []adapter.Adapter {
					return streamNodes(t, server.addr, 3, redisadapter.StreamsOptions{
						ShardedPubSub: sharded, StreamName: t.Name(), Options: requestOptions(t),
					})
				},
			})
		})
	}
}
