//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// nodeSpec says how one node is started.
type nodeSpec struct {
	addr, internal string
	redisURL       string        // empty: alone
	ping           time.Duration // 0: the server's default
	args           []string      // for Chorus only
}

// A starter starts nodes of one contender.
type starter interface {
	start(n nodeSpec) (*server, error)
}

// nodePeer is Node's socket.io.
type nodePeer struct{ script string }

func (p nodePeer) start(n nodeSpec) (*server, error) {
	host, port, err := net.SplitHostPort(n.addr)
	if err != nil {
		return nil, err
	}
	env := []string{"NODE_ENV=production", "HOST=" + host, "PORT=" + port, "REDIS_URL=" + n.redisURL}
	if n.ping > 0 {
		env = append(env, "PING_INTERVAL="+strconv.FormatInt(n.ping.Milliseconds(), 10))
	}
	return startServer("node", env, "node", p.script)
}

// chorus is a Chorus node that logs as little as the Node peer does.
type chorus struct{ program string }

func (c chorus) start(n nodeSpec) (*server, error) {
	args := []string{"serve", "--addr", n.addr, "--internal-addr", n.internal, "--log.level", "warn"}
	if n.redisURL != "" {
		args = append(args, "--redis.url", n.redisURL)
	}
	if n.ping > 0 {
		args = append(args, "--ping-interval", n.ping.String())
	}
	return startServer("chorus", nil, c.program, append(args, n.args...)...)
}

// roomServer is Chorus as the library is used, with rooms that clients may join.
type roomServer struct{}

func (roomServer) start(n nodeSpec) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"room-server", "--addr", n.addr}
	if n.ping > 0 {
		args = append(args, "--ping-interval", n.ping.String())
	}
	return startServer("room-server", nil, self, args...)
}

// clusterSpec says what is started for one run.
type clusterSpec struct {
	nodes    int
	redis    bool
	redisURL string // of one that runs already
	ping     time.Duration
	args     []string
}

// startCluster starts Redis, if wanted, and nodes on free ports. The returned
// function ends them.
func startCluster(ctx context.Context, s starter, spec clusterSpec) (set *setting, stop func(), err error) {
	var running servers
	defer func() {
		if err != nil {
			running.stop()
		}
	}()
	set = &setting{loops: 1, parallel: 32, timeout: 20 * time.Second}
	redisURL := spec.redisURL
	if spec.redis {
		redis, addr, err := startRedis(ctx)
		if redis != nil {
			running = append(running, redis)
		}
		if err != nil {
			return nil, nil, err
		}
		redisURL, set.redisPID = "redis://"+addr, redis.pid()
	}
	for range spec.nodes {
		addrs, err := freeAddrs(2)
		if err != nil {
			return nil, nil, err
		}
		node, err := s.start(nodeSpec{addr: addrs[0], internal: addrs[1], redisURL: redisURL, ping: spec.ping, args: spec.args})
		if err != nil {
			return nil, nil, err
		}
		running = append(running, node)
		set.pids = append(set.pids, node.pid())
		set.targets = append(set.targets, target{addrs[0], "/socket.io/"})
		set.internal, set.last = addrs[1], node
	}
	if err := running.waitReady(ctx, set.targets); err != nil {
		return nil, nil, err
	}
	// Subscriptions and the first garbage collections are not what is measured.
	if err := pause(ctx, time.Second); err != nil {
		return nil, nil, err
	}
	return set, running.stop, nil
}

func startRedis(ctx context.Context) (*server, string, error) {
	addrs, err := freeAddrs(1)
	if err != nil {
		return nil, "", err
	}
	_, port, err := net.SplitHostPort(addrs[0])
	if err != nil {
		return nil, "", err
	}
	s, err := startServer("redis-server", nil, "redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no")
	if err != nil {
		return nil, "", err
	}
	return s, addrs[0], servers{s}.waitReady(ctx, []target{{addr: addrs[0]}})
}

// freeAddrs finds loopback addresses whose ports nobody listens on.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // only now, so that they differ
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// readVersions describes the machine and the programs, and fails early if one
// of them is missing. Without a program of Chorus it is the revision of the tree.
func readVersions(ctx context.Context, chorus, peer string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	b, err := os.ReadFile(filepath.Join(peer, "node_modules", "socket.io", "package.json"))
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("the Node.js peer is not installed: npm ci --prefix %s", peer)
	}
	if err != nil {
		return "", err
	}
	var socketio struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(b, &socketio); err != nil {
		return "", fmt.Errorf("version of socket.io: %w", err)
	}
	var lines []string
	commands := [][]string{{"node", "--version"}, {chorus, "version"}, {"redis-server", "--version"}}
	if chorus == "" {
		commands[1] = []string{"git", "log", "-1", "--format=chorus %h"}
	}
	for _, command := range commands {
		out, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
		if err != nil {
			return "", fmt.Errorf("%s: %w", strings.Join(command, " "), err)
		}
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		lines = append(lines, first)
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "", err
	}
	cpus, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", err
	}
	redis := lines[2]
	if _, v, ok := strings.Cut(redis, "v="); ok {
		redis, _, _ = strings.Cut(v, " ")
	}
	return fmt.Sprintf("%s, %d x %s, Linux %s. Node.js %s, socket.io %s; %s; Redis %s; load generator: %s.\n",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), cpuModel(string(cpus)), strings.TrimSpace(string(kernel)),
		lines[0], socketio.Version, lines[1], redis, runtime.Version()), nil
}

func cpuModel(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
