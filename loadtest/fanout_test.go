//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testSetting is a short run of 10 clients against servers.
func testSetting(t *testing.T, servers ...*relay) *setting {
	t.Helper()
	set := &setting{
		clients: 10, loops: 2, parallel: 1, timeout: 10 * time.Second,
		pids: []int{os.Getpid()}, redisPID: os.Getpid(),
	}
	for _, s := range servers {
		target, err := parseTarget(s.URL, false)
		if err != nil {
			t.Fatal(err)
		}
		set.targets = append(set.targets, target)
	}
	return set
}

// testPlan sends 30 messages, of which 20 are measured.
func testPlan() fanoutPlan {
	return fanoutPlan{
		sending: sending{Duration: 200 * time.Millisecond, Warmup: 100 * time.Millisecond, Drain: 200 * time.Millisecond, Size: 100},
		event:   defaultEvent, rate: 100, senders: 1,
	}
}

func TestFanout(t *testing.T) {
	damage := func(p []byte) []byte { return bytes.Replace(p, []byte("xx"), []byte("x"), 1) }
	var held []byte
	for _, c := range []struct {
		name  string
		relay *relay
		want  trafficResult
	}{
		{"faultless, with pings", &relay{ping: true}, trafficResult{Delivered: 300}},
		{"one client misses two", &relay{fault: func(client, n int, p []byte) [][]byte {
			if client == 3 && (n == 0 || n == 29) {
				return nil
			}
			return [][]byte{p}
		}}, trafficResult{Delivered: 298, Lost: 2}},
		{"twice", &relay{fault: func(client, n int, p []byte) [][]byte {
			if client == 4 && n%10 == 0 {
				return [][]byte{p, p}
			}
			return [][]byte{p}
		}}, trafficResult{Delivered: 300, Duplicated: 3}},
		{"late", &relay{fault: func(client, n int, p []byte) [][]byte {
			switch {
			case client == 5 && n == 7:
				held = p
				return nil
			case client == 5 && n == 9:
				return [][]byte{p, held}
			}
			return [][]byte{p}
		}}, trafficResult{Delivered: 300, Reordered: 1}},
		{"damaged", &relay{fault: func(client, n int, p []byte) [][]byte {
			if client == 6 && n == 11 {
				return [][]byte{damage(p)}
			}
			return [][]byte{p}
		}}, trafficResult{Delivered: 299, Damaged: 1, Lost: 1}},
		{"foreign events", &relay{fault: func(client, n int, p []byte) [][]byte {
			return [][]byte{[]byte(`42["news"]`), p}
		}}, trafficResult{Delivered: 300}},
		{"connection cut", &relay{close: func(client, n int) bool { return client == 8 && n >= 20 }},
			trafficResult{Delivered: 290, Disconnected: 1, Lost: 10}},
		{"one refused", &relay{deny: func(client int) bool { return client == 9 }},
			trafficResult{Delivered: 270, FailedConnects: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := startRelay(t, c.relay)
			got, err := runFanout(t.Context(), testSetting(t, r), testPlan())
			if err != nil {
				t.Fatal(err)
			}
			checkFaults(t, got, &c.want)
			if got.Sent != 30 || got.Own == nil || got.Own.P50 <= 0 || got.Own.P50 > got.Own.Max {
				t.Errorf("sent, own latency = %d, %+v, want 30 and a latency", got.Sent, got.Own)
			}
			if got.faults() != (c.want.mistakes() > 0) {
				t.Errorf("faults() = %v of %+v", got.faults(), got)
			}
			if wantErrors := c.want.Disconnected > 0 || c.want.FailedConnects > 0; wantErrors != (len(got.Errors) > 0) {
				t.Errorf("errors = %q, want some: %v", got.Errors, wantErrors)
			}
			if c.relay.ping {
				r.mu.Lock()
				defer r.mu.Unlock()
				if r.pongs == 0 {
					t.Error("no ping was answered")
				}
			}
		})
	}
}

func checkFaults(t *testing.T, got, want *trafficResult) {
	t.Helper()
	type faults struct {
		delivered, duplicated, reordered, damaged, disconnected int64
		lost, failed                                            int
	}
	of := func(r *trafficResult) faults {
		return faults{r.Delivered, r.Duplicated, r.Reordered, r.Damaged, r.Disconnected, r.Lost, r.FailedConnects}
	}
	if of(got) != of(want) {
		t.Errorf("result = %+v, want %+v", of(got), of(want))
	}
}

// Two servers that know nothing of each other: each message reaches only the
// node of its sender.
func TestFanoutNodesAndSenders(t *testing.T) {
	a, b := startRelay(t, &relay{}), startRelay(t, &relay{})
	plan := testPlan()
	plan.senders = 4
	got, err := runFanout(t.Context(), testSetting(t, a, b), plan)
	if err != nil {
		t.Fatal(err)
	}
	checkFaults(t, got, &trafficResult{Delivered: 150, Lost: 150})
	if got.Own.Count != 100 || got.Other != nil {
		t.Errorf("own, other = %+v, %+v, want 100 latencies of the own node only", got.Own, got.Other)
	}
}

// The rate does not follow the server: a stall is charged to every message that was due meanwhile.
func TestFanoutStall(t *testing.T) {
	stall := func(client, n int, p []byte) [][]byte {
		if client == 0 && n == 10 {
			time.Sleep(200 * time.Millisecond) // the server's work, not a wait of the test
		}
		return [][]byte{p}
	}
	got, err := runFanout(t.Context(), testSetting(t, startRelay(t, &relay{fault: stall})), testPlan())
	if err != nil {
		t.Fatal(err)
	}
	if got.Own.Max < 200 || got.Own.P50 < 50 {
		t.Errorf("latency = %+v, want a maximum of at least 200 ms and, of those that had to wait, a median of at least 50", got.Own)
	}
}

// What a client misses that reads nothing is no loss, nor is its end a disconnection; that of others is.
func TestFanoutStalled(t *testing.T) {
	r := startRelay(t, &relay{close: func(client, n int) bool { return (client == 7 || client == 8) && n == 10 }})
	plan := testPlan()
	plan.stalled = 2 // 8 and 9
	got, err := runFanout(t.Context(), testSetting(t, r), plan)
	if err != nil {
		t.Fatal(err)
	}
	checkFaults(t, got, &trafficResult{Delivered: 220, Disconnected: 1, Lost: 20})
	if got.Stalled != 2 || got.StalledClosed != 1 {
		t.Errorf("stalled, closed = %d, %d, want 2, 1", got.Stalled, got.StalledClosed)
	}
	if got.ServerRSSSteady < 1<<20 || got.ServerRSSPeak < got.ServerRSSSteady {
		t.Errorf("resident before, peak = %d, %d, want some, and no less", got.ServerRSSSteady, got.ServerRSSPeak)
	}
}

func TestFanoutNobodyConnects(t *testing.T) {
	r := startRelay(t, &relay{deny: func(int) bool { return true }})
	_, err := runFanout(t.Context(), testSetting(t, r), testPlan())
	if err == nil || !strings.Contains(err.Error(), "denied") {
		t.Errorf("runFanout = %v, want an error with the server's answer", err)
	}
	set := testSetting(t, r)
	set.targets[0].path = "/nothing/"
	_, err = runFanout(t.Context(), set, testPlan())
	if err == nil || !strings.Contains(err.Error(), "400 Bad Request") {
		t.Errorf("runFanout = %v, want an error with the server's status", err)
	}
}

func TestFanoutCancelled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	plan := testPlan()
	plan.Warmup = time.Hour
	_, err := runFanout(ctx, testSetting(t, startRelay(t, &relay{})), plan)
	if err == nil {
		t.Error("runFanout went on after its context ended")
	}
}

func TestIdle(t *testing.T) {
	got, err := runIdle(t.Context(), testSetting(t, startRelay(t, &relay{})), 200*time.Millisecond, 0)
	if err != nil || got.faults() || got.Clients != 10 || got.Seconds < 0.2 {
		t.Errorf("runIdle = %+v, %v, want 10 clients for 0.2 s", got, err)
	}
}

func TestCommandLine(t *testing.T) {
	r := startRelay(t, &relay{})
	lossy := startRelay(t, &relay{fault: func(client, n int, p []byte) [][]byte { return nil }})
	out := filepath.Join(t.TempDir(), "r.json")
	clients := []string{"--clients=3", "--quiet"}
	short := append([]string{"--duration=100ms"}, clients...)
	beating := startRelay(t, &relay{every: 20 * time.Millisecond})
	for _, c := range []struct {
		name string
		args []string
		want int
	}{
		{"good", append([]string{"fanout", "--url", r.URL, "--warmup=0s", "--json", out, "--svg", out + ".svg"}, short...), 0},
		{"idle", append([]string{"idle", "--url", r.URL, "--settle=0s"}, short...), 0},
		{"flood", append([]string{"flood", "--url", r.URL, "--warmup=0s", "--senders=2"}, short...), 0},
		{"rooms", []string{
			"rooms", "--url", "http://" + startRoomServer(t).addr, "--rooms=2", "--members=2", "--idle-rooms=0,5", "--warmup=0s", "--duration=100ms", "--quiet",
		}, 0},
		{"too many idle rooms", []string{"rooms", "--idle-rooms=0,1000001"}, 2},
		{"connect", append([]string{"connect", "--url", r.URL, "--rate=100"}, clients...), 0},
		{"storm", append([]string{"storm", "--url", beating.URL, "--bystanders=2", "--within=20ms", "--settle=0s"}, clients...), 0},
		{"impatient", []string{"storm", "--within=2s", "--patience=1s"}, 2},
		{"more senders than messages", []string{"flood", "--inflight=2", "--senders=3"}, 2},
		{"more stalled than clients", []string{"fanout", "--clients=3", "--stalled=3"}, 2},
		{"losses", append([]string{"fanout", "--url", lossy.URL, "--warmup=0s", "--drain=0s"}, short...), 1},
		{"remote", append([]string{"fanout", "--url", "http://192.0.2.1"}, short...), 2},
		{"too many", []string{"fanout", "--clients=50001"}, 2},
		{"server that ends", append([]string{"idle", "--exec", "echo no; exit 3"}, short...), 1},
		{"unknown flag", []string{"fanout", "--nonsense"}, 2},
		{"no command", nil, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := run(c.args); got != c.want {
				t.Errorf("run(%q) = %d, want %d", c.args, got, c.want)
			}
		})
	}
	if svg, err := os.ReadFile(out + ".svg"); err != nil || !bytes.Contains(svg, []byte("own node")) {
		t.Errorf("--svg wrote %s, %v, want a curve of the own node", svg, err)
	}
	b, err := os.ReadFile(out)
	var result trafficResult
	if err == nil {
		err = json.Unmarshal(b, &result)
	}
	if err != nil || result.Delivered != 6 {
		t.Errorf("--json wrote %s, %v, want 6 deliveries", b, err)
	}
}

// A rate at which nothing is due while costs are measured is refused: they would be those of the servers' whole life.
func TestFanoutWithoutMessages(t *testing.T) {
	for _, rate := range []float64{0.1, 5} { // no message, one that only warms up
		plan := testPlan()
		plan.rate = rate
		if r, err := runFanout(t.Context(), testSetting(t, startRelay(t, &relay{})), plan); err == nil {
			t.Errorf("rate %g: result %+v", rate, r)
		}
	}
}
