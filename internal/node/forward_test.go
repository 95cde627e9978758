package node

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// pollAt polls with a session at a node.
func pollAt(t *testing.T, addr, sid, body string) (int, string) {
	t.Helper()
	response, err := newClient(t).Post("http://"+addr+handshake+"&sid="+sid, "text/plain;charset=UTF-8", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

// shakeHands opens a polling session and returns its id.
func shakeHands(t *testing.T, addr string) string {
	t.Helper()
	_, body := get(t, "http://"+addr+handshake)
	parts := strings.Split(body, `"`)
	if len(parts) < 4 {
		t.Fatalf("handshake: %s", body)
	}
	return parts[3]
}

func TestNodesPassRequestsOn(t *testing.T) {
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte("a secret in a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"secret in Redis":   nil,
		"secret in a file":  {"--cluster.secret-file=" + secretFile},
		"secret of a flag":  {"--cluster.secret=0123456789abcdef"},
		"advertised a host": {"--cluster.advertise=127.0.0.1"},
		"all interfaces":    {"--internal-addr=:0"},
	} {
		t.Run(name, func(t *testing.T) {
			broker := miniredis.RunT(t)
			args := append([]string{"--redis.url=redis://" + broker.Addr()}, args...)
			a, b := serve(t, args...), serve(t, append(args, "--node.id=beta")...)
			first, _ := a.addrs()
			second, internal := b.addrs()
			if name == "all interfaces" {
				internal = strings.Replace(internal, "[::]", "127.0.0.1", 1)
			}
			sid := shakeHands(t, first)
			b.until("the other node takes a request for the session", func() bool {
				status, _ := pollAt(t, second, sid, "3")
				return status == http.StatusOK
			})
			_, metrics := get(t, "http://"+internal+"/metrics")
			for _, want := range []string{"chorus_forward_nodes 1", `chorus_requests_forwarded_total{result="ok"} 1`, "chorus_relayed_connections 0",
				`chorus_forwards_refused_total{reason="replayed"} 0`} {
				if !strings.Contains(metrics, want) {
					t.Errorf("/metrics lacks %s", want)
				}
			}
			kept := name != "secret in a file" && name != "secret of a flag"
			if key := "socket.io#chorus-secret"; broker.Exists(key) != kept {
				t.Errorf("%s in Redis: %v, want %v", key, !kept, kept)
			}
			if strings.Contains(a.stderr.String()+b.stderr.String(), "0123456789abcdef") {
				t.Error("the log shows the secret")
			}
			if status, body := get(t, "http://"+internal+handshake+"&sid="+sid); status != http.StatusForbidden {
				t.Errorf("the internal address answers a client: %d %s", status, body)
			}
		})
	}
}

// A client of another node loses nothing while a node waits for clients of its own to hear of its end.
func TestNodePassesRequestsOnUntilItEnds(t *testing.T) {
	broker := miniredis.RunT(t)
	a, b := serve(t, "--redis.url=redis://"+broker.Addr()), serve(t, "--redis.url=redis://"+broker.Addr(), "--node.id=beta")
	first, _ := a.addrs()
	second, _ := b.addrs()
	sid := shakeHands(t, first)
	b.until("the other node takes a request for the session", func() bool {
		status, _ := pollAt(t, second, sid, "3")
		return status == http.StatusOK
	})
	shakeHands(t, second) // never polls, so is never told
	b.signal(os.Interrupt)
	client, passed := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, 0
	for {
		response, err := client.Post("http://"+second+handshake+"&sid="+sid, "text/plain;charset=UTF-8", strings.NewReader("3"))
		if err != nil { // nobody listens any more
			break
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatalf("status %d after %d requests, want 200 to the end", response.StatusCode, passed)
		}
		passed++
	}
	if code := b.exit(patience); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if passed == 0 {
		t.Error("no request was passed on while the node ended")
	}
}

func TestForwardingSwitchedOff(t *testing.T) {
	broker := miniredis.RunT(t)
	for _, args := range [][]string{{"--no-node.forward"}, {"--internal-addr="}} {
		on := serve(t, "--redis.url=redis://"+broker.Addr())
		off := start(t, append([]string{"serve", "--addr=127.0.0.1:0", "--internal-addr=127.0.0.1:0", "--node.id=off",
			"--redis.url=redis://" + broker.Addr()}, args...)...)
		first, _ := on.addrs()
		var second string
		off.until("it listens", func() bool {
			_, rest, found := strings.Cut(off.stderr.String(), `"msg":"listening","node":"off","addr":["`)
			second, _, _ = strings.Cut(rest, `"`)
			return found
		})
		on.until("the nodes know each other", func() bool { return strings.Contains(off.stderr.String(), "node joined") })
		if status, _ := pollAt(t, second, shakeHands(t, first), "3"); status != http.StatusBadRequest {
			t.Errorf("%v: a request was passed on, %d", args, status)
		}
		if status, _ := pollAt(t, first, shakeHands(t, second), "3"); status != http.StatusBadRequest {
			t.Errorf("%v: a request was passed to it, %d", args, status)
		}
		if warned := strings.Contains(off.stderr.String(), "no internal address or no route tag"); warned != (args[0] == "--internal-addr=") {
			t.Errorf("%v: a warning: %v", args, warned)
		}
	}
}

// secrets runs a sharedSecret and returns what it gives to use.
func secrets(t *testing.T, broker *miniredis.Miniredis) (*sharedSecret, <-chan string) {
	client := redis.NewClient(&redis.Options{Addr: broker.Addr(), MaxRetries: -1})
	s := newSharedSecret(client, "p", quiet)
	used := make(chan string, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.run(ctx, func(b []byte) error { used <- string(b); return nil })
	}()
	t.Cleanup(func() {
		cancel()
		client.Close()
		<-done
	})
	return s, used
}

func TestSharedSecret(t *testing.T) {
	broker := miniredis.RunT(t)
	a, fromA := secrets(t, broker)
	first := <-fromA
	b, fromB := secrets(t, broker)
	if second := <-fromB; second != first || len(first) < 40 {
		t.Fatalf("secrets %q and %q, want one that is long", first, second)
	}
	broker.FlushAll() // and the nodes go on with what they have
	a.look()
	if got := <-fromA; got != first {
		t.Errorf("after Redis forgot it: %q, want %q", got, first)
	}
	if got, _ := broker.Get("p#chorus-secret"); got != first {
		t.Errorf("Redis has %q, want %q", got, first)
	}
	other := "brought by a node that came first"
	if err := broker.Set("p#chorus-secret", other); err != nil {
		t.Fatal(err)
	}
	for used, s := range map[<-chan string]*sharedSecret{fromA: a, fromB: b} {
		s.look()
		if got := <-used; got != other {
			t.Errorf("after Redis got another: %q, want %q", got, other)
		}
	}
	broker.Close()
	a.look()
	a.look()
	if err := broker.Restart(); err != nil {
		t.Fatal(err)
	}
	if got := <-fromA; got != other {
		t.Errorf("after Redis was away: %q, want %q", got, other)
	}
	if err := broker.Set("p#chorus-secret", "short"); err != nil {
		t.Fatal(err)
	}
	if err := a.refresh(context.Background(), func([]byte) error { return nil }); err == nil {
		t.Error("a key that holds something else: no error")
	}
}

func TestAdvertised(t *testing.T) {
	e, err := listen("internal-addr", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	_, port, _ := net.SplitHostPort(e.addrs()[0])
	for _, tt := range []struct {
		redis, configured, want string
		warned                  bool
	}{
		{"redis://127.0.0.1:6379", "", "127.0.0.1:" + port, false},
		{"redis://192.0.2.1:6379", "", "127.0.0.1:" + port, true},
		{"redis://192.0.2.1:6379", "10.0.0.7", "10.0.0.7:" + port, false},
		{"redis://192.0.2.1:6379", "node1.example:80", "node1.example:80", false},
		{"redis://192.0.2.1:6379", "[fd00::1]:80", "[fd00::1]:80", false},
		{"redis://192.0.2.1:6379", "fd00::1", "[fd00::1]:" + port, false},
	} {
		var log buffer
		n := &node{config: &config{Redis: redisConfig{URL: tt.redis}}, internal: e}
		n.log = (&config{Log: logConfig{Format: "text"}}).logger(&process{stderr: &log, loaded: &loaded{}}, slog.LevelWarn)
		if got := n.advertised(tt.configured); got != tt.want || strings.Contains(log.String(), "loopback") != tt.warned {
			t.Errorf("advertised(%q) with Redis at %s = %s, log %q, want %s", tt.configured, tt.redis, got, log.String(), tt.want)
		}
	}
	if ip := net.ParseIP(ownIP(true, nil)); ip == nil || ip.To4() == nil {
		t.Errorf("own address is %v, want one of IPv4", ip)
	}
}

// The demo's nodes pass requests on too, although its front routes by session.
func TestDemoNodesPassRequestsOn(t *testing.T) {
	r := start(t, "demo", "--addr=127.0.0.1:0", "--internal-addr=127.0.0.1:0", "--log.format=json")
	var nodes []string
	r.until("it runs", func() bool {
		nodes = nil
		for line := range strings.Lines(r.stdout.String()) {
			if fields := strings.Fields(line); len(fields) > 2 && strings.HasPrefix(fields[0], "node") {
				nodes = append(nodes, strings.TrimPrefix(fields[1], "http://"))
			}
		}
		return len(nodes) == demoNodes
	})
	sid := shakeHands(t, nodes[0])
	for _, n := range nodes {
		r.until("every node takes the request", func() bool {
			status, _ := pollAt(t, n, sid, "3")
			return status == http.StatusOK
		})
	}
}
