package redisadapter_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisCluster is a real cluster of Redis on ports of its own.
type redisCluster struct {
	servers []*redisServer
	ids     []string
}

// startCluster starts a cluster of masters with equal shares of the slots. It ends with the test.
func startCluster(t testing.TB, masters int) *redisCluster {
	t.Helper()
	c := new(redisCluster)
	for range masters {
		c.add(t)
	}
	const slots = 16384
	for i, s := range c.servers {
		from, to := i*slots/masters, (i+1)*slots/masters-1
		s.do(t, "CLUSTER", "ADDSLOTSRANGE", from, to)
		s.do(t, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
	}
	for _, s := range c.servers[1:] {
		c.meet(t, s)
	}
	c.awaitOK(t)
	return c
}

// add starts a server that belongs to no cluster yet.
func (c *redisCluster) add(t testing.TB) *redisServer {
	t.Helper()
	s := startRedis(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000",
		"--cluster-port", freePort(t), "--cluster-allow-replica-migration", "no")
	c.servers = append(c.servers, s)
	c.ids = append(c.ids, fmt.Sprint(s.do(t, "CLUSTER", "MYID")))
	return s
}

func (c *redisCluster) meet(t testing.TB, s *redisServer) {
	t.Helper()
	host, port, err := net.SplitHostPort(c.servers[0].addr)
	if err != nil {
		t.Fatal(err)
	}
	bus := c.servers[0].args[7]
	s.do(t, "CLUSTER", "MEET", host, port, bus)
}

// awaitOK waits until all servers find that all are there.
func (c *redisCluster) awaitOK(t testing.TB) {
	t.Helper()
	for _, s := range c.servers {
		rdb := redis.NewClient(&redis.Options{Addr: s.addr})
		var info string
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			info = rdb.ClusterInfo(context.Background()).Val()
			want := fmt.Sprintf("cluster_known_nodes:%d\r\n", len(c.servers))
			if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, want) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the cluster of Redis is not ready: %s", info)
			}
		}
		_ = rdb.Close()
	}
}

// move gives a slot to another server, as redis-cli does: an importing server gets a new epoch with it, by which the
// others know that its claim is the newest.
func (c *redisCluster) move(t testing.TB, slot, to int) {
	t.Helper()
	from := c.owner(t, slot)
	if from == to {
		return
	}
	c.servers[to].do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", c.ids[from])
	c.servers[from].do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", c.ids[to])
	c.servers[to].do(t, "CLUSTER", "SETSLOT", slot, "NODE", c.ids[to])
	for i, s := range c.servers {
		if i != to {
			s.do(t, "CLUSTER", "SETSLOT", slot, "NODE", c.ids[to])
		}
	}
}

// owner returns the index of the server that is in charge of a slot.
func (c *redisCluster) owner(t testing.TB, slot int) int {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: c.servers[0].addr})
	defer func() { _ = rdb.Close() }()
	shards, err := rdb.ClusterShards(context.Background()).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, shard := range shards {
		if !slices.ContainsFunc(shard.Slots, func(r redis.SlotRange) bool { return int64(slot) >= r.Start && int64(slot) <= r.End }) {
			continue
		}
		for _, n := range shard.Nodes {
			if i := slices.Index(c.ids, n.ID); i >= 0 && n.Role == "master" {
				return i
			}
		}
	}
	t.Fatalf("nobody is in charge of slot %d", slot)
	return 0
}

// client returns a client of the cluster.
func (c *redisCluster) client(t testing.TB) redis.UniversalClient {
	t.Helper()
	return clusterClient(t, c.servers[0].addr, c.servers[1].addr)
}

// clusterClient returns a client of a cluster that has servers at these addresses.
func clusterClient(t testing.TB, addrs ...string) redis.UniversalClient {
	// go-redis leaves a goroutine for a second after as many failed dials as its pool has places.
	const places = 1 << 10
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, PoolSize: places})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// do runs one command on a server.
func (s *redisServer) do(t testing.TB, args ...any) any {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: s.addr})
	defer func() { _ = rdb.Close() }()
	v, err := rdb.Do(context.Background(), args...).Result()
	if err != nil {
		t.Fatalf("%v on %s: %v", args, s.addr, err)
	}
	return v
}

func freePort(t testing.TB) string {
	t.Helper()
	_, port, err := net.SplitHostPort(freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}
