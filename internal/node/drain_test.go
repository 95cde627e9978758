package node

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"example.com/chorus/pkg/socketio/forward"
)

func TestDrain(t *testing.T) {
	r := serve(t, "--drain.lame-duck=500ms", "--drain.spread=1s", "--drain.timeout=5s", "--drain.status=404", "--public-readyz")
	public, internal := r.addrs()
	a := join(t, public)
	r.signal(syscall.SIGTERM)
	var h health
	r.until("it drains", func() bool {
		var code int
		code, h = readiness(t, internal)
		return code == http.StatusNotFound
	})
	if h.Status != "draining" || !h.Draining || h.Connections != 1 {
		t.Errorf("/readyz says %+v, want draining with 1 connection", h)
	}
	if code := status(t, http.MethodGet, "http://"+public+handshake); code != http.StatusServiceUnavailable {
		t.Errorf("a handshake got %d while draining, want 503", code)
	}
	a.write(`42["chat message","still here"]`)
	a.read(`42["chat message","still here"]`)
	a.ended()
	if code := r.exit(5 * time.Second); code != exitOK {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	r := serve(t, "--drain.lame-duck=30s", "--drain.timeout=1m")
	public, internal := r.addrs()
	join(t, public)
	r.signal(syscall.SIGTERM)
	r.until("it drains", func() bool { _, h := readiness(t, internal); return h.Draining })
	r.signal(os.Interrupt)
	if code := r.exit(2 * time.Second); code != exitFailure {
		t.Errorf("exit code %d after a second signal, want 1", code)
	}
	if !strings.Contains(r.stderr.String(), errSecondSignal.Error()) {
		t.Errorf("stderr does not say why: %s", r.stderr.String())
	}
}

// quickDrain are the settings of a drain that is over soon.
var quickDrain = []string{"--drain.lame-duck=100ms", "--drain.spread=400ms", "--drain.timeout=8s"}

// drainPair starts two nodes of a cluster, alpha and beta, that know each other.
func drainPair(t *testing.T, args ...string) (alpha, beta *running) {
	t.Helper()
	broker := miniredis.RunT(t)
	args = append([]string{"--redis.url=redis://" + broker.Addr()}, append(quickDrain, args...)...)
	alpha, beta = serve(t, args...), serve(t, append(args, "--node.id=beta")...)
	for _, r := range []*running{alpha, beta} {
		_, internal := r.addrs()
		r.until("it knows the other node", func() bool {
			_, metrics := get(t, "http://"+internal+"/metrics")
			return strings.Contains(metrics, "\nchorus_redis_members 1\n") && strings.Contains(metrics, "\nchorus_forward_nodes 1\n")
		})
	}
	return alpha, beta
}

func TestDrainHandsOver(t *testing.T) {
	alpha, beta := drainPair(t)
	public, internal := alpha.addrs()
	var clients []*chatter
	for range 5 {
		clients = append(clients, join(t, public))
	}
	alpha.signal(syscall.SIGTERM)
	_, other := beta.addrs()
	var metrics string
	alpha.until("the metrics tell of the drain", func() bool {
		_, metrics = get(t, "http://"+internal+"/metrics")
		return strings.Contains(metrics, "\nchorus_draining 1\n")
	})
	for _, c := range clients {
		c.ended()
	}
	if code := alpha.exit(5 * time.Second); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}
	log := alpha.stderr.String()
	for _, want := range []string{`"cause":"terminated"`, `"phase":"lame_duck"`, `"phase":"closing","open":5`, `"takers":1`, `"msg":"drained","node":"alpha","closed":5`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %s", want)
		}
	}
	beta.until("the other node knows that it is alone", func() bool {
		_, metrics := get(t, "http://"+other+"/metrics")
		return strings.Contains(metrics, "\nchorus_redis_members 0\n")
	})
}

// When the time is up the rest is cut, and the log tells how many.
func TestDrainTimeout(t *testing.T) {
	alpha, _ := drainPair(t, "--drain.rate=1", "--drain.timeout=1s")
	public, _ := alpha.addrs()
	var clients []*chatter
	for range 5 {
		clients = append(clients, join(t, public))
	}
	alpha.signal(syscall.SIGTERM)
	for _, c := range clients {
		c.ended()
	}
	if code := alpha.exit(3 * time.Second); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}
	if log := alpha.stderr.String(); !strings.Contains(log, "what is left is cut") || !strings.Contains(log, `"cut":5`) || !strings.Contains(log, "--drain.timeout (1s) is over") {
		t.Errorf("the log does not tell what was cut and why:\n%s", log)
	}
}

func TestDrainCommand(t *testing.T) {
	alpha, _ := drainPair(t)
	public, internal := alpha.addrs()
	client := join(t, public)
	var out, errs bytes.Buffer
	file := settingsFile(t, "addr: "+public+"\ninternal_addr: "+internal+"\n") // its own
	if code := Main([]string{"drain", "--config=" + file, "--wait"}, make(chan os.Signal), &out, &errs); code != exitOK {
		t.Errorf("exit code %d, want 0: %s", code, errs.String())
	}
	client.ended()
	for _, want := range []string{"node alpha drains: 1 connections\n", "lame_duck  1 open", "closing    1 open, 0 closed", "done       0 open, 1 closed", "node alpha has ended\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %q", want, out.String())
		}
	}
	if code := alpha.exit(time.Second); code != exitOK {
		t.Errorf("exit code of the node %d, want 0", code)
	}
	if code := Main([]string{"drain", "--addr=" + internal}, make(chan os.Signal), &out, &errs); code != exitFailure {
		t.Errorf("exit code %d for a node that is not there, want 1", code)
	}
	foreign := httptest.NewServer(http.NotFoundHandler())
	defer foreign.Close()
	errs.Reset()
	code := Main([]string{"drain", "--addr", strings.TrimPrefix(foreign.URL, "http://")}, make(chan os.Signal), &out, &errs)
	if code != exitFailure || !strings.Contains(errs.String(), "is not the internal address of a node") {
		t.Errorf("exit code %d for another server, want 1: %s", code, errs.String())
	}
}

// SIGTERM behind a request is not a second one: supervisors send it when their own command has returned.
func TestSignalsBehindARequest(t *testing.T) {
	r := serve(t, "--drain.lame-duck=1s", "--drain.spread=0s")
	public, internal := r.addrs()
	c := join(t, public)
	for range 2 { // the second is the same
		if code := status(t, http.MethodPost, "http://"+internal+"/drain"); code != http.StatusAccepted {
			t.Errorf("POST /drain = %d, want 202", code)
		}
	}
	r.until("it drains", func() bool { _, h := readiness(t, internal); return h.Drain != nil && h.Drain.Phase == "lame_duck" })
	r.signal(syscall.SIGTERM)
	c.ended()
	if code := r.exit(3 * time.Second); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}

	r = serve(t, "--drain.lame-duck=30s", "--drain.spread=0s")
	public, internal = r.addrs()
	join(t, public)
	status(t, http.MethodPost, "http://"+internal+"/drain")
	r.until("it drains", func() bool { _, h := readiness(t, internal); return h.Draining })
	r.signal(syscall.SIGTERM)
	r.signal(syscall.SIGTERM)
	if code := r.exit(2 * time.Second); code != exitFailure {
		t.Errorf("exit code %d after two signals, want 1", code)
	}
}

func TestWhoMayDrain(t *testing.T) {
	const secret = "0123456789abcdef"
	alpha, _ := drainPair(t, "--cluster.secret="+secret)
	_, internal := alpha.addrs()
	ask := func(query string, change func(*http.Request)) int {
		t.Helper()
		r, err := http.NewRequest(http.MethodPost, "http://"+internal+"/drain?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		change(r)
		response, err := newClient(t).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	signed := func(secret string) func(*http.Request) {
		return func(r *http.Request) {
			if err := forward.SignCommand(r, []byte(secret)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tt := range map[string]struct {
		query  string
		change func(*http.Request)
		want   int
	}{
		"a page":              {"", func(r *http.Request) { r.Header.Set("Origin", "http://"+r.URL.Host) }, 403},
		"a page by a form":    {"", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		"a proxy":             {"", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") }, 403},
		"another node":        {"node=beta", func(*http.Request) {}, 421},
		"the wrong secret":    {"node=alpha", signed("fedcba9876543210"), 403},
		"signed for any node": {"", signed(secret), 403},
		"signed for another":  {"node=beta", signed(secret), 403},
		"a garbled signature": {"node=alpha", func(r *http.Request) { r.Header.Set("X-Chorus-Command", "1 2 3") }, 403},
	} {
		if got := ask(tt.query, tt.change); got != tt.want {
			t.Errorf("%s: POST /drain = %d, want %d", name, got, tt.want)
		}
	}
	if code := status(t, http.MethodGet, "http://"+internal+"/drain"); code == http.StatusAccepted {
		t.Error("GET /drain is taken for a command")
	}
	if _, h := readiness(t, internal); h.Draining {
		t.Fatal("the node drains though nobody might ask it to")
	}
	r := httptest.NewRequest(http.MethodPost, "http://"+internal+"/drain?node=alpha", nil)
	signed(secret)(r)
	ticket := r.Header.Get("X-Chorus-Command")
	once := func(r *http.Request) { r.Header.Set("X-Chorus-Command", ticket) }
	if got := ask("node=alpha", once); got != http.StatusAccepted {
		t.Errorf("signed with the secret: POST /drain = %d, want 202", got)
	}
	if got := ask("node=alpha", once); got != http.StatusForbidden {
		t.Errorf("the same signature again: POST /drain = %d, want 403", got)
	}
	if code := alpha.exit(5 * time.Second); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}
}

// What other nodes pass on is for clients, also when the path of Socket.IO is that of everything.
func TestForwardsAreNoCommands(t *testing.T) {
	alpha, beta := drainPair(t, "--path=/", "--no-page")
	first, internal := alpha.addrs()
	second, _ := beta.addrs()
	_, body := get(t, "http://"+first+"/?EIO=4&transport=polling")
	sid := strings.Split(body, `"`)[3]
	if code, body := get(t, "http://"+second+"/metrics?EIO=4&transport=polling&sid="+sid); code == http.StatusOK && strings.Contains(body, "chorus_") {
		t.Error("the other node passes the metrics of this one on to clients")
	}
	response, err := newClient(t).Post("http://"+second+"/drain?node=alpha&EIO=4&transport=polling&sid="+sid, "text/plain", strings.NewReader("3"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("a POST of the session = %d, want 200", response.StatusCode)
	}
	if _, h := readiness(t, internal); h.Draining {
		t.Error("a client made the node drain")
	}
}
