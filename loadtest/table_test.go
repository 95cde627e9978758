//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.in); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.in, got, c.want)
		}
	}
}

func TestRenderTables(t *testing.T) {
	tab := newTable("Load", []string{"cost"})
	for _, run := range []struct {
		who int
		outcome
	}{
		{0, outcome{figures: []float64{20}, mistakes: 0, noise: 0.1}},
		{1, outcome{figures: []float64{5}, mistakes: 0, noise: 0.2}},
		{1, outcome{figures: []float64{4}, mistakes: 1, noise: 0}},
		{0, outcome{figures: []float64{16}, mistakes: 0, noise: 0.3}},
		{0, outcome{figures: []float64{123.4}, mistakes: 0, noise: 0.05}},
		{1, outcome{figures: []float64{6.126}, mistakes: 0, noise: 0}},
	} {
		tab.add(run.who, run.outcome)
	}
	want := `
**Load**

| | Node.js socket.io | Chorus | Chorus / Node.js |
|---|---|---|---|
| cost | 20.0 (16.0-123) | 5.00 (4.00-6.13) | 0.25 |
| ` + noiseRow + ` | 10.0 (5.00-30.0) | 0 (0-20.0) | |
| ` + mistakeRow + ` | 0 (0-0) | 0 (0-1.00) | |
`
	if got := renderTables([]*table{tab}); got != want {
		t.Errorf("renderTables = %s, want %s", got, want)
	}
}

func TestRenderTableAlone(t *testing.T) {
	tab := newTableAlone("Load", []string{"cost"})
	tab.add(0, outcome{figures: []float64{3}})
	want := `
**Load**

| | Chorus |
|---|---|
| cost | 3.00 (3.00-3.00) |
| ` + noiseRow + ` | 0 (0-0) |
| ` + mistakeRow + ` | 0 (0-0) |
`
	if got := renderTables([]*table{tab}); got != want {
		t.Errorf("renderTables = %s, want %s", got, want)
	}
}

// Distributions of several runs become one.
func TestTableCurves(t *testing.T) {
	tab := newTable("Load", []string{"cost"})
	for range 2 {
		tab.add(0, outcome{figures: []float64{1}, curves: []curve{{"", ramp(1)}}})
		tab.add(1, outcome{figures: []float64{1}, curves: []curve{{"own node", ramp(2)}, {"other nodes", ramp(3)}}})
	}
	var got []string
	for _, c := range tab.curves() {
		got = append(got, fmt.Sprint(c.name, " ", c.h.total))
	}
	if want := "[Node.js socket.io 2000 Chorus, own node 2000 Chorus, other nodes 2000]"; fmt.Sprint(got) != want {
		t.Errorf("curves = %v, want %s", got, want)
	}
}

func TestReplaceMarked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b.md")
	write := func(s string) {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("head\n" + mark("compare", "begin") + "\nold\n" + mark("compare", "end") + "\nfoot\n")
	for range 2 { // again replaces, it does not add
		if err := replaceMarked(path, "compare", "new\n"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if want := "head\n" + mark("compare", "begin") + "\nnew\n" + mark("compare", "end") + "\nfoot\n"; err != nil || string(got) != want {
		t.Errorf("file = %q, %v, want %q", got, err, want)
	}
	write("no markers")
	if err := replaceMarked(path, "compare", "x"); err == nil || !strings.Contains(err.Error(), mark("compare", "begin")) {
		t.Errorf("replaceMarked without markers = %v, want an error that names them", err)
	}
}
