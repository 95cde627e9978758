package redisadapter_test

import (
	"log/slog"
	"testing"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/adapter/redisadapter"
)

var subscriptionModes = []redisadapter.SubscriptionMode{
	redisadapter.SubscriptionStatic, redisadapter.SubscriptionDynamic, redisadapter.SubscriptionDynamicPrivate,
}

// shardedNodes returns the adapters of n nodes.
func shardedNodes(n int, o redisadapter.ShardedOptions, client func() redis.UniversalClient) []adapter.Adapter {
	o.Logger = slog.New(slog.DiscardHandler)
	adapters := make([]adapter.Adapter, n)
	for i := range adapters {
		adapters[i] = redisadapter.NewSharded(client(), &o)
	}
	return adapters
}

func TestSharded(t *testing.T) {
	server := startRedis(t)
	for _, mode := range subscriptionModes {
		t.Run(string(mode), func(t *testing.T) {
			adaptertest.Run(t, func(t *testing.T) []adapter.Adapter {
				return shardedNodes(3, redisadapter.ShardedOptions{SubscriptionMode: mode}, func() redis.UniversalClient {
					return client(t, server.addr)
				})
			})
		})
	}
}

func TestShardedRequests(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	cluster := startCluster(t, 3)
	for _, test := range []struct {
		name   string
		mode   redisadapter.SubscriptionMode
		client func() redis.UniversalClient
	}{
		{"single", redisadapter.SubscriptionDynamic, func() redis.UniversalClient { return client(t, server.addr) }},
		{"cluster", redisadapter.SubscriptionDynamic, func() redis.UniversalClient { return cluster.client(t) }},
		{"cluster, static", redisadapter.SubscriptionStatic, func() redis.UniversalClient { return cluster.client(t) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			adaptertest.RunRequests(t, adaptertest.Requests{
				FirstValue: true,
				AnyOrder:   test.name == "cluster",
				Kill:       func(_ *testing.T, a adapter.Adapter) { redisadapter.Kill(a) },
				Connect: func(t *testing.T) []adapter.Adapter {
					return shardedNodes(3, redisadapter.ShardedOptions{SubscriptionMode: test.mode, Options: requestOptions(t)}, test.client)
				},
			})
		})
	}
}

// TestShardedCluster: where each channel has a server of its own, only the static mode keeps the order across rooms.
func TestShardedCluster(t *testing.T) {
	cluster := startCluster(t, 3)
	for _, mode := range subscriptionModes {
		run := adaptertest.RunOrderedByRoom
		if mode == redisadapter.SubscriptionStatic {
			run = adaptertest.Run
		}
		t.Run(string(mode), func(t *testing.T) {
			run(t, func(t *testing.T) []adapter.Adapter {
				return shardedNodes(3, redisadapter.ShardedOptions{SubscriptionMode: mode}, func() redis.UniversalClient {
					return cluster.client(t)
				})
			})
		})
	}
}
