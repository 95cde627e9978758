//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Whether the machine is quiet is not looked at here: with a limit of 1 nothing
// waits, and a noise above 1 is a test's way to be too noisy.
func TestCalmRepeatsNoisyRuns(t *testing.T) {
	for _, c := range []struct {
		name     string
		outcomes []outcome // of the runs that happen, at least
		patience time.Duration
		want     int // which outcome counts
	}{
		{"quiet at once", []outcome{{noise: 0.1}}, time.Hour, 0},
		{"quiet the third time", []outcome{{noise: 1.3}, {noise: 1.9}, {noise: 0.2}}, time.Hour, 2},
		{"no patience", []outcome{{noise: 1.3}}, 0, 0},
		{"patience for one", []outcome{{noise: 1.3}, {noise: 1.4}}, time.Nanosecond, 1},
		{"noisy, with mistakes", []outcome{{noise: 1.3, mistakes: 1}}, time.Hour, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			runs := 0
			l := load{rows: []string{"cost"}, run: func(context.Context, contender) (outcome, error) {
				o := c.outcomes[runs]
				o.figures = []float64{float64(runs)}
				runs++
				return o, nil
			}}
			cmd := &compareCmd{Noise: 1, Patience: c.patience, Quiet: true}
			got, err := cmd.calm(t.Context(), l, contender{})
			if err != nil || runs != c.want+1 || int(got.figures[0]) != c.want {
				t.Errorf("calm = %+v, %v after %d runs, want the outcome of run %d", got, err, runs, c.want)
			}
		})
	}
}

func TestOthers(t *testing.T) {
	before := cost{machine: 10 * time.Second, server: usage{cpu: time.Second}}
	after := cost{
		machine: 20 * time.Second, server: usage{cpu: 3 * time.Second},
		redis: usage{cpu: time.Second}, generator: usage{cpu: 2 * time.Second},
	}
	cores := others(before, after, 1*time.Second) / others(before, after, 2*time.Second)
	if cores != 2 {
		t.Errorf("twice the time gives 1/%v of the share, want 1/2", cores)
	}
	if got := others(before, before, time.Second); got != 0 {
		t.Errorf("others of nothing = %v, want 0", got)
	}
	after.generator.cpu = time.Minute // clock ticks of different counters
	if got := others(before, after, time.Second); got != 0 {
		t.Errorf("others = %v, want at least 0", got)
	}
}

func TestCompareNeedsThePeer(t *testing.T) {
	_, err := readVersions(t.Context(), "chorus", t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "npm ci --prefix") {
		t.Errorf("readVersions without the peer = %v, want an error with the command", err)
	}
	peer := t.TempDir()
	manifest := filepath.Join(peer, "node_modules", "socket.io", "package.json")
	if err := os.MkdirAll(filepath.Dir(manifest), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(manifest, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readVersions(t.Context(), "chorus", peer); err == nil || !strings.Contains(err.Error(), "version of socket.io") {
		t.Errorf("readVersions with a broken manifest = %v, want an error that names it", err)
	}
}

// A server that ends while it is waited for is an error that shows its words.
func TestServerEndsEarly(t *testing.T) {
	s, err := startServer("peer", []string{"WORDS=out of memory"}, "sh", "-c", "echo $WORDS; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	addrs, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	err = servers{s}.waitReady(t.Context(), []target{{addr: addrs[0]}})
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "out of memory") {
		t.Errorf("waitReady = %v, want the exit status and the output", err)
	}
}

func TestServersStop(t *testing.T) {
	s, err := startServer("sleeper", nil, "sleep", "60")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("stopped waiting"))
	if err := (servers{s}).waitReady(ctx, []target{{addr: "127.0.0.1:1"}}); err == nil {
		t.Error("waitReady with a context that ended: no error")
	}
	servers{s}.stop()
	if err := (servers{s}).ended(); err == nil {
		t.Error("the process goes on after stop")
	}
}

// Every bar is about a row of its load, and every load gives as many figures as it has rows.
func TestLoads(t *testing.T) {
	c := compareCmd{Clients: 1000, Idle: 10_000, Size: 100, Rate: 20}
	names := make(map[string]bool)
	for _, l := range c.loads() {
		if names[l.name] {
			t.Errorf("two loads %s", l.name)
		}
		names[l.name] = true
		for _, b := range l.bars {
			if !slices.Contains(l.rows, b.row) {
				t.Errorf("%s: the bar %q has no row", l.name, b.row)
			}
			if b.limit == 0 && b.ratio == 0 {
				t.Errorf("%s: the bar %q is none", l.name, b.row)
			}
			if l.alone && b.ratio != 0 {
				t.Errorf("%s: the bar %q compares with nobody", l.name, b.row)
			}
		}
	}
}

func TestPicture(t *testing.T) {
	c := compareCmd{Write: "docs/benchmarks.md", drawing: drawing{"docs/fanout.svg"}}
	if got, want := c.picture("One node"), "\n![Latencies by percentile: One node](fanout.svg)\n"; got != want {
		t.Errorf("picture = %q, want %q", got, want)
	}
}

func TestChosen(t *testing.T) {
	for _, c := range []struct {
		loads []string
		want  string // names, or what the error says
	}{
		{[]string{"idle", "fanout", "storm"}, "fanout idle storm"},
		{[]string{"fanout", "fan"}, `no load "fan"`},
		{nil, "at least one"},
	} {
		cmd := compareCmd{Loads: c.loads}
		got, err := cmd.chosen()
		var names []string
		for _, l := range got {
			names = append(names, l.name)
		}
		if text := strings.Join(names, " "); text != c.want && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("chosen(%q) = %q, %v, want %s", c.loads, text, err, c.want)
		}
	}
}

// Real servers under each load that is quick enough: it fills its rows, and nothing goes wrong.
func TestLoadsRun(t *testing.T) {
	c := compareCmd{Clients: 20, Idle: 20, Size: 100, Rate: 20, Runs: 1, Duration: 200 * time.Millisecond, Noise: 1, Quiet: true}
	who := contender{roomServer{}, roomServer{}}
	for _, l := range c.loads() {
		if !slices.Contains([]string{"fanout", "flood", "idle", "connect", "storm"}, l.name) {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			tab, err := c.measure(t.Context(), l, []contender{who, who})
			if err != nil {
				t.Fatal(err)
			}
			if tab.faults() {
				t.Errorf("faults: %s", renderTables([]*table{tab}))
			}
			for row, values := range tab.chorus() {
				if len(values) != 1 {
					t.Errorf("%s has %d values, want 1", tab.rows[row], len(values))
				}
			}
			if (len(tab.curves()) > 0) != (l.name != "idle") {
				t.Errorf("%d distributions of latencies", len(tab.curves()))
			}
		})
	}
}
