//go:build linux

package main

import (
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
	tab := newTable("Load", []string{"cost"}, nil)
	for _, run := range []struct {
		who int
		outcome
	}{
		{0, outcome{[]float64{20}, 0, 0.1}},
		{1, outcome{[]float64{5}, 0, 0.2}},
		{1, outcome{[]float64{4}, 1, 0}},
		{0, outcome{[]float64{16}, 0, 0.3}},
		{0, outcome{[]float64{123.4}, 0, 0.05}},
		{1, outcome{[]float64{6.126}, 0, 0}},
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
