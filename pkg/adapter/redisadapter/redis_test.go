package redisadapter_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisServer is a real redis-server on a port of its own.
type redisServer struct {
	addr string
	args []string
	cmd  *exec.Cmd
}

// startRedis starts a redis-server that ends with the test. That none is installed fails the test, unless
// ALLOW_TEST_SKIP=1 is set.
func startRedis(t testing.TB, args ...string) *redisServer {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		const need = "this test needs redis-server: apt-get install redis-server"
		if os.Getenv("ALLOW_TEST_SKIP") == "1" {
			t.Skip(need)
		}
		t.Fatal(need)
	}
	s := &redisServer{addr: freeAddr(t), args: append([]string{"--dir", t.TempDir()}, args...)}
	s.start(t)
	t.Cleanup(func() { s.kill() })
	return s
}

// start starts the server, again after kill, and waits until it answers.
func (s *redisServer) start(t testing.TB) {
	t.Helper()
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"}, s.args...)
	s.cmd = exec.Command("redis-server", args...)
	var output bytes.Buffer
	s.cmd.Stdout, s.cmd.Stderr = &output, &output
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1, DialerRetries: 1})
	defer func() { _ = c.Close() }()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := c.Ping(context.Background()).Err()
		if err == nil || isReply(err) {
			return
		}
		if time.Now().After(deadline) {
			s.kill()
			t.Fatalf("redis-server does not answer: %v\n%s", err, &output)
		}
	}
}

// given are the addresses that freeAddr gave away.
var given sync.Map

// freeAddr returns an address to listen on. Nobody else gets it while its server is down: it is no other test's, and its
// port is below those that systems give to whoever asks for any.
func freeAddr(t testing.TB) string {
	t.Helper()
	var err error
	for range 1000 {
		addr := fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000))
		if _, again := given.LoadOrStore(addr, true); again {
			continue
		}
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal(err)
	return ""
}

func isReply(err error) bool {
	_, ok := err.(redis.Error)
	return ok
}

// kill ends the server at once.
func (s *redisServer) kill() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
}
