package redisadapter_test

import (
	"testing"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/redisadapter"
)

// TestRequestsWithoutAMaster loses a master of a Redis Cluster for good: nobody is left there, so that requests are answered.
func TestRequestsWithoutAMaster(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, 3)
	adapters := make([]adapter.Adapter, 2)
	for i := range adapters {
		adapters[i] = redisadapter.NewPubSub(cluster.client(t), &redisadapter.Options{Logger: quiet(nil), Watchdog: 2 * time.Second})
	}
	one := joinAdapter(t, adapters[0], "a")
	joinAdapter(t, adapters[1], "b", "c")
	one.awaitMembers(t, 1)
	cluster.servers[2].kill()
	eventually(t, "an answer", func() bool {
		got, err := one.ask(t.Context(), &adapter.Message{Kind: adapter.Count})
		return err == nil && summary(got) == "2"
	})
}
