package node

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// serveArgs are those of a node on free ports.
var serveArgs = []string{"serve", "--addr=127.0.0.1:0", "--internal-addr=127.0.0.1:0", "--node.id=alpha"}

func serve(t *testing.T, args ...string) *running {
	t.Helper()
	return start(t, append(slices.Clip(serveArgs), args...)...)
}

func TestServeInMemory(t *testing.T) {
	r := serve(t, "--events=chat message,shout", "--public-readyz", "--log.level=debug")
	public, internal := r.addrs()
	a, b := join(t, public), join(t, public)
	if len(a.sid) != sidLength {
		t.Errorf("session id %q has a tag, want none without Redis", a.sid)
	}
	for _, event := range []string{"chat message", "shout"} {
		sent := fmt.Sprintf(`[%q,"<b>hé</b>",{"name":"Ann","n":[1,2.50,null]}]`, event)
		a.write("42" + sent)
		for _, c := range []*chatter{a, b} {
			if got := c.read("42"); got != sent {
				t.Errorf("relayed %s, want %s", got, sent)
			}
		}
	}
	a.write(`427["chat message","again"]`) // with an acknowledgement
	for _, want := range []string{`42["chat message","again"]`, "437[]"} {
		a.read(want)
	}
	b.read(`42["chat message","again"]`)
	a.write(`42["secret","for nobody"]`)
	a.write(`42["chat message","after"]`)
	b.read(`42["chat message","after"]`)

	b.write("41")
	r.until("the log tells of it", func() bool {
		log := r.stderr.String()
		return strings.Contains(log, `"msg":"user connected"`) && strings.Contains(log, `"reason":"client namespace disconnect"`) &&
			strings.Contains(log, `"msg":"chat message","node":"alpha"`) && strings.Contains(log, `hé`)
	})

	code, h := readiness(t, internal)
	if code != http.StatusOK || h.Status != "ready" || h.Redis != "off" || h.Node != "alpha" || h.Connections != 2 || h.Draining || h.Since.IsZero() {
		t.Errorf("/readyz = %d %+v, want 200, ready, 2 connections", code, h)
	}
	if code, _ := readiness(t, public); code != http.StatusOK {
		t.Errorf("public /readyz = %d, want 200", code)
	}
	if code, body := get(t, "http://"+internal+"/healthz"); code != http.StatusOK || !strings.Contains(body, `"ok"`) {
		t.Errorf("/healthz = %d %s, want 200", code, body)
	}
	if code, body := get(t, "http://"+internal+"/version"); code != http.StatusOK || !strings.Contains(body, `"go_version":"go1`) {
		t.Errorf("/version = %d %s, want 200", code, body)
	}
	if code, body := get(t, "http://"+public+"/"); code != http.StatusOK || !strings.Contains(body, `id="messages"`) {
		t.Errorf("/ = %d, want the chat page", code)
	}
	if code, _ := get(t, "http://"+public+"/metrics"); code != http.StatusNotFound {
		t.Errorf("public /metrics = %d, want 404", code)
	}
	r.signal(os.Interrupt)
	a.ended()
	if code := r.exit(2 * time.Second); code != exitOK {
		t.Errorf("exit code %d after SIGINT, want 0", code)
	}
}

func TestTextIsLoggedAtDebugOnly(t *testing.T) {
	r := serve(t)
	public, _ := r.addrs()
	a := join(t, public)
	a.write(`42["chat message","private words"]`)
	a.read(`42["chat message","private words"]`)
	r.until("the message is logged", func() bool { return strings.Contains(r.stderr.String(), `"msg":"chat message"`) })
	if strings.Contains(r.stderr.String(), "private") {
		t.Error("the log at info shows the text of a message")
	}
}

func TestMetricsEndpoint(t *testing.T) {
	m := miniredis.RunT(t)
	r := serve(t, "--redis.url=redis://"+m.Addr(), "--node.route-tag=n1")
	public, internal := r.addrs()
	r.until("it is ready", func() bool { code, _ := readiness(t, internal); return code == http.StatusOK })
	a := join(t, public)
	a.write(`42["chat message","x"]`)
	a.read(`42["chat message","x"]`)

	var body string
	r.until("the broadcast is counted", func() bool {
		_, body = get(t, "http://"+internal+"/metrics")
		return strings.Contains(body, "\n"+`chorus_redis_published_total{channel_kind="broadcast"} 1`+"\n")
	})
	for _, line := range []string{
		`chorus_node_info{adapter="redis",node="alpha"} 1`,
		`chorus_connections{transport="websocket"} 1`,
		`chorus_handshakes_total{result="ok",transport="websocket"} 1`,
		`chorus_sockets{namespace="/"} 1`,
		`chorus_events_received_total{event="other",namespace="/"} 1`,
		`chorus_broadcasts_total{namespace="/",origin="local",scope="all"} 1`,
		`chorus_broadcast_recipients_sum{origin="local"} 1`,
		`chorus_redis_up{role="publish"} 1`,
		`chorus_redis_up{role="subscribe"} 1`,
		`chorus_redis_publish_batch_count 1`,
		`chorus_draining 0`,
	} {
		if !strings.Contains(body, "\n"+line+"\n") {
			t.Errorf("/metrics has no line %s", line)
		}
	}
	for _, prefix := range []string{"chorus_build_info{", "go_sched_latencies_seconds_bucket{", "go_sched_pauses_total_gc_seconds_bucket{", "process_resident_memory_bytes "} {
		if !strings.Contains(body, "\n"+prefix) {
			t.Errorf("/metrics has no series %s", prefix)
		}
	}
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, program) {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// loudRedis refuses every command and repeats its arguments, as Redis does with commands that it does not know.
func loudRedis(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s.Addr().String()
}

func TestPasswordIsNeverShown(t *testing.T) {
	r := serve(t, "--redis.url=redis://:hunter2@"+loudRedis(t), "--log.level=debug")
	_, internal := r.addrs()
	r.until("the refusal is logged", func() bool { return strings.Contains(r.stderr.String(), "***") })
	if strings.Contains(r.stderr.String(), "hunter2") {
		t.Error("the log shows the password of Redis")
	}
	if _, h := readiness(t, internal); h.Redis != "down" || strings.Contains(h.Error, "hunter2") {
		t.Errorf("/readyz says %+v, want no password in it", h)
	}
}

func TestReadinessFollowsRedis(t *testing.T) {
	for _, tt := range []struct {
		degraded   string
		code       int
		statusAway string
	}{{"serve", http.StatusOK, "degraded"}, {"refuse", http.StatusServiceUnavailable, "unavailable"}} {
		t.Run(tt.degraded, func(t *testing.T) {
			m := miniredis.NewMiniRedis()
			if err := m.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(m.Close)
			addr := m.Addr()
			m.Close() // only its port is known
			r := serve(t, "--redis.url=redis://:hunter2@"+addr, "--redis.degraded="+tt.degraded)
			public, internal := r.addrs()
			if code, h := readiness(t, internal); code != http.StatusServiceUnavailable || h.Status != "starting" || h.Redis != "down" || h.Error == "" {
				t.Errorf("without Redis /readyz = %d %+v, want 503 starting", code, h)
			}
			if a := join(t, public); len(a.sid) <= sidLength {
				t.Errorf("session id %q has no tag, want that of the node", a.sid)
			}
			m.RequireAuth("hunter2")
			if err := m.Restart(); err != nil {
				t.Fatal(err)
			}
			r.until("Redis is there", func() bool { _, h := readiness(t, internal); return h.Status == "ready" && h.Redis == "up" })
			r.until("the log tells of it", func() bool { return strings.Contains(r.stderr.String(), "redis is connected") })
			m.Close()
			r.until("Redis is missed", func() bool {
				code, h := readiness(t, internal)
				return code == tt.code && h.Status == tt.statusAway && h.Redis == "down"
			})
			if code, _ := get(t, "http://"+internal+"/healthz"); code != http.StatusOK {
				t.Errorf("/healthz = %d while Redis is away, want 200", code)
			}
			if err := m.Restart(); err != nil {
				t.Fatal(err)
			}
			r.until("Redis is back", func() bool { code, h := readiness(t, internal); return code == http.StatusOK && h.Status == "ready" })
			if strings.Contains(r.stderr.String(), "hunter2") {
				t.Error("the log shows the password of Redis")
			}
		})
	}
}

func TestTakenPorts(t *testing.T) {
	taken := occupy(t)
	for _, tt := range []struct {
		name, flag string
		args       []string
	}{
		{"public", "--addr", []string{"serve", "--addr=" + taken, "--internal-addr="}},
		{"second public", "--addr", []string{"serve", "--addr=127.0.0.1:0," + taken, "--internal-addr="}},
		{"internal", "--internal-addr", []string{"serve", "--addr=127.0.0.1:0", "--internal-addr=" + taken}},
		{"front", "--addr", []string{"demo", "--addr=" + taken, "--internal-addr=127.0.0.1:0"}},
		{"node", "--node-addr", []string{"demo", "--addr=127.0.0.1:0", "--node-addr=" + taken, "--internal-addr=127.0.0.1:0"}},
		{"internal of a node", "--internal-addr", []string{"demo", "--addr=127.0.0.1:0", "--internal-addr=" + taken}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, tt.args...)
			if code := r.exit(patience); code != exitFailure {
				t.Errorf("exit code %d, want 1", code)
			}
			if got := r.stderr.String(); !strings.Contains(got, tt.flag+": listen tcp "+taken) {
				t.Errorf("stderr is %q, want %s and %s named", got, tt.flag, taken)
			}
		})
	}
}

func TestClientBundle(t *testing.T) {
	full, empty := t.TempDir(), t.TempDir()
	if err := os.WriteFile(full+"/socket.io.min.js", []byte("/* Socket.IO v4.8.4 */"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args   []string
		code   int
		warned bool
	}{
		"folder":       {[]string{"--client.dir=" + full}, http.StatusOK, false},
		"empty folder": {[]string{"--client.dir=" + empty}, http.StatusNotFound, true},
		"not served":   {[]string{"--client.dir=" + full, "--client.serve=false"}, http.StatusNotFound, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := serve(t, tt.args...)
			public, _ := r.addrs()
			if code, _ := get(t, "http://"+public+"/socket.io/socket.io.min.js"); code != tt.code {
				t.Errorf("the bundle got %d, want %d", code, tt.code)
			}
			if warned := strings.Contains(r.stderr.String(), "client is missing"); warned != tt.warned {
				t.Errorf("warned: %t, want %t", warned, tt.warned)
			}
		})
	}
}

// Liveness names what hangs; readiness tells of the adapter and of the cluster.
func TestHealthTellsTheParts(t *testing.T) {
	n := &node{identity: identity{id: "alpha"}}
	if code, l := n.alive([]string{"reading loop 0"}); code != http.StatusServiceUnavailable || l.Status != "hanging" || len(l.Hangs) != 1 {
		t.Errorf("with a loop that hangs /healthz is %d %+v, want 503 and its name", code, l)
	}
	if code, l := n.alive(nil); code != http.StatusOK || l.Status != "ok" || l.Hangs != nil {
		t.Errorf("/healthz is %d %+v, want 200", code, l)
	}
	m := miniredis.RunT(t)
	a, b := serve(t, "--redis.url=redis://"+m.Addr()), serve(t, "--redis.url=redis://"+m.Addr(), "--node.id=beta")
	_, at := a.addrs()
	b.addrs()
	a.until("each knows the other", func() bool {
		code, h := readiness(t, at)
		return code == http.StatusOK && h.Adapter == "redis" && h.Redis == "up" && h.Nodes == 2
	})
}
