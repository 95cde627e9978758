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

// sentinels is a master with a replica, a Sentinel that watches them, and two nodes that were told of the Sentinel.
type sentinels struct {
	master, replica *redisServer
	watcher         *redis.SentinelClient
	nodes           []*adaptertest.Node
}

func startSentinels(t *testing.T) *sentinels {
	t.Helper()
	s := &sentinels{master: startRedis(t)}
	host, port, _ := net.SplitHostPort(s.master.addr)
	s.replica = startRedis(t, "--replicaof", host, port)
	sentinel := startSentinel(t, s.master)
	s.watcher = redis.NewSentinelClient(&redis.Options{Addr: sentinel})
	t.Cleanup(func() { _ = s.watcher.Close() })
	eventually(t, "the Sentinel knows the replica", func() bool {
		replicas, err := s.watcher.Replicas(context.Background(), masterName).Result()
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
	s.nodes = adaptertest.Join(t, adapters, "/")
	awaitHeard(t, s.nodes[0], s.nodes[1], "before")
	return s
}

// awaitMoved waits until everything goes through the former replica.
func (s *sentinels) awaitMoved(t *testing.T) {
	t.Helper()
	eventually(t, "the replica is the master", func() bool {
		addr, err := s.watcher.GetMasterAddrByName(context.Background(), masterName).Result()
		return err == nil && net.JoinHostPort(addr[0], addr[1]) == s.replica.addr
	})
	there := redis.NewClient(&redis.Options{Addr: s.replica.addr})
	defer func() { _ = there.Close() }()
	const channel = "socket.io#/#"
	eventually(t, "all listen at the new master", func() bool {
		n, err := there.PubSubNumSub(t.Context(), channel).Result()
		return err == nil && n[channel] == int64(len(s.nodes))
	})
	awaitHeard(t, s.nodes[0], s.nodes[1], "after")
	for i, n := range s.nodes {
		eventually(t, fmt.Sprintf("node %d is ready", i), func() bool { return n.Adapter.(adapter.Status).Ready() == nil })
		reconnects := n.Adapter.(adapter.Counted).Stats().Reconnects
		for _, role := range []adapter.Role{adapter.RolePublish, adapter.RoleSubscribe} {
			if reconnects[adapter.ReconnectKey{Role: role, Cause: "failover"}] == 0 {
				t.Errorf("node %d counts %v, want a failover of %s", i, reconnects, role)
			}
		}
	}
}

func TestFailoverOfADeadMaster(t *testing.T) {
	t.Parallel()
	s := startSentinels(t)
	s.master.kill()
	s.awaitMoved(t)
}

// The old master lives on, and is a master for a while: nobody may be left there.
func TestFailoverInOrder(t *testing.T) {
	t.Parallel()
	s := startSentinels(t)
	if err := s.watcher.Failover(t.Context(), masterName).Err(); err != nil {
		t.Fatal(err)
	}
	s.awaitMoved(t)
}
