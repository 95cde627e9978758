package redisadapter_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/adapter/redisadapter"
)

const masterName = "chorus"

// startSentinel starts a Sentinel that watches a master and its replica, and returns where it is.
func startSentinel(t *testing.T, master *redisServer) string {
	t.Helper()
	host, port, err := net.SplitHostPort(master.addr)
	if err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	_, own, _ := net.SplitHostPort(addr)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	conf := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nsentinel monitor %s %s %s 1\nsentinel down-after-milliseconds %[3]s 500\n"+
		"sentinel failover-timeout %[3]s 2000\n", own, filepath.Dir(file), masterName, host, port)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-server", file, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return addr
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// After a failover both directions go through the new master, without anybody's help.
func TestSentinelFailover(t *testing.T) {
	master := startRedis(t)
	host, port, _ := net.SplitHostPort(master.addr)
	replica := startRedis(t, "--replicaof", host, port)
	sentinel := startSentinel(t, master)
	watcher := redis.NewSentinelClient(&redis.Options{Addr: sentinel})
	t.Cleanup(func() { _ = watcher.Close() })
	eventually(t, "the Sentinel knows the replica", func() bool {
		replicas, err := watcher.Replicas(context.Background(), masterName).Result()
		return err == nil && len(replicas) == 1 && replicas[0]["master-link-status"] == "ok"
	})

	adapters := make([]adapter.Adapter, 2)
	for i := range adapters {
		rdb := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: masterName, SentinelAddrs: []string{sentinel}})
		a := redisadapter.NewPubSub(rdb, nil)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			_ = a.Close(ctx) // of messages to the dead master
			_ = rdb.Close()
		})
		adapters[i] = a
	}
	nodes := adaptertest.Join(t, adapters, "/")
	awaitHeard(t, nodes[0], nodes[1], "before")

	isMaster := func(s *redisServer) func() bool {
		return func() bool {
			addr, err := watcher.GetMasterAddrByName(context.Background(), masterName).Result()
			return err == nil && net.JoinHostPort(addr[0], addr[1]) == s.addr
		}
	}
	// In order: the old master lives on as a replica, and nobody may be left there.
	if err := watcher.Failover(t.Context(), masterName).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica is the master", isMaster(replica))
	eventually(t, "the old master is its replica", func() bool {
		replicas, err := watcher.Replicas(context.Background(), masterName).Result()
		return err == nil && len(replicas) == 1 && replicas[0]["master-link-status"] == "ok"
	})
	awaitHeard(t, nodes[0], nodes[1], "after the first failover")
	there := redis.NewClient(&redis.Options{Addr: replica.addr})
	defer func() { _ = there.Close() }()
	eventually(t, "both listen at the new master", func() bool {
		n, err := there.PubSubNumSub(t.Context(), "socket.io#/#").Result()
		return err == nil && n["socket.io#/#"] == int64(len(adapters))
	})
	replica.kill()
	eventually(t, "the first master is the master again", isMaster(master))
	awaitHeard(t, nodes[0], nodes[1], "after the second failover")
	for i, a := range adapters {
		eventually(t, fmt.Sprintf("node %d is ready", i), func() bool { return a.(adapter.Status).Ready() == nil })
	}
}
