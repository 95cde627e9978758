package node

import (
	"net/http"
	"strings"
	"testing"
)

// What the settings say of limits and proxies is what the server does.
func TestLimitsOfANode(t *testing.T) {
	r := serve(t, "--limits.connections=1", "--limits.events-per-second=10", "--trusted-proxies=127.0.0.0/8")
	public, internal := r.addrs()
	a := join(t, public)
	if code, body := get(t, "http://"+public+"/socket.io/?EIO=4&transport=polling"); code != http.StatusServiceUnavailable || !strings.Contains(body, "limit") {
		t.Errorf("the second connection of one: %d %s", code, body)
	}
	for range 25 {
		a.write(`42["chat message","x"]`)
	}
	for range 25 {
		a.read(`42["chat message","x"]`)
	}
	_, metrics := get(t, "http://"+internal+"/metrics")
	if !strings.Contains(metrics, "\n"+`chorus_limits_exceeded_total{limit="connections"} 1`+"\n") || strings.Contains(metrics, "\n"+`chorus_limits_exceeded_total{limit="events"} 0`+"\n") ||
		!strings.Contains(metrics, "\n"+`chorus_handshakes_total{result="limit",transport="polling"} 1`+"\n") {
		t.Error("the metrics do not tell of it")
	}
}

func TestProfiles(t *testing.T) {
	r := serve(t, "--debug.pprof", "--redis.password=hunter2")
	public, internal := r.addrs()
	if code, body := get(t, "http://"+internal+"/debug/pprof/"); code != http.StatusOK || !strings.Contains(body, "goroutine") {
		t.Errorf("index: %d", code)
	}
	for _, profile := range []string{"heap", "goroutine", "trace?seconds=0.01"} {
		if code, body := get(t, "http://"+internal+"/debug/pprof/"+profile); code != http.StatusOK || len(body) == 0 {
			t.Errorf("%s: %d", profile, code)
		}
	}
	if code, body := get(t, "http://"+internal+"/debug/pprof/cmdline"); code != http.StatusNotFound || strings.Contains(body, "hunter2") {
		t.Errorf("the command line: %d %s", code, body)
	}
	if code, _ := get(t, "http://"+public+"/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("on the public address: %d, want 404", code)
	}
	off := serve(t)
	_, internal = off.addrs()
	if code, _ := get(t, "http://"+internal+"/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("without --debug.pprof: %d, want 404", code)
	}
}
