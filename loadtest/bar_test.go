//go:build linux

package main

import (
	"strings"
	"testing"
)

func barTable(node, chorus []float64, mistakes float64) *table {
	t := newTable("Load", []string{"cost"})
	for i := range node {
		t.add(0, outcome{figures: node[i : i+1], mistakes: 1})
		t.add(1, outcome{figures: chorus[i : i+1]})
	}
	t.add(0, outcome{figures: node[:1]})
	t.add(1, outcome{figures: chorus[:1], mistakes: mistakes})
	return t
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name         string
		bar          bar
		node, chorus float64
		want         string // measured, verdict
	}{
		{"at most, met", bar{limit: 6}, 0, 6, "6.00: met"},
		{"at most, missed", bar{limit: 6}, 0, 6.1, "6.10: missed"},
		{"at least, met", bar{limit: 6, atLeast: true}, 0, 6, "6.00: met"},
		{"at least, missed", bar{limit: 6, atLeast: true}, 0, 5.9, "5.90: missed"},
		{"ratio met", bar{ratio: 0.5}, 20, 10, "0.50 times Node.js: met"},
		{"ratio missed", bar{ratio: 0.5}, 20, 10.1, "0.51 times Node.js: missed"},
		{"ratio at least", bar{ratio: 8, atLeast: true, aim: 12}, 10, 90, "9.00 times Node.js: met"},
		{"ratio at least, aim", bar{ratio: 8, atLeast: true, aim: 12}, 10, 130, "13.0 times Node.js: met, and the aim"},
		{"limit met, ratio missed", bar{limit: 6, ratio: 1. / 3, aim: 5}, 10, 4, "4.00, 0.40 times Node.js: missed"},
		{"ratio met, limit missed", bar{limit: 6, ratio: 1. / 3, aim: 5}, 30, 8, "8.00, 0.27 times Node.js: missed"},
		{"both met", bar{limit: 6, ratio: 1. / 3, aim: 5}, 30, 5.5, "5.50, 0.18 times Node.js: met"},
		{"both and the aim", bar{limit: 6, ratio: 1. / 3, aim: 5}, 30, 5, "5.00, 0.17 times Node.js: met, and the aim"},
		{"Node.js has none", bar{ratio: 2, atLeast: true}, 0, 5, "+Inf times Node.js: missed"},
	} {
		c.bar.row = "cost"
		// The median counts, not the outliers.
		tab := barTable([]float64{c.node, c.node * 100, 0}, []float64{c.chorus, 0, c.chorus * 100}, 0)
		want, got, verdict := c.bar.judge(tab)
		if got+": "+verdict != c.want || !strings.HasPrefix(want, "cost: at ") {
			t.Errorf("%s: judge = %q, %q, %q, want %s", c.name, want, got, verdict, c.want)
		}
	}
}

// One fault in one run of Chorus is one too many; those of Node.js are its own.
func TestRenderBars(t *testing.T) {
	for mistakes, want := range map[float64]string{0: "| 0 | met |", 2: "| 2.00 | missed |"} {
		got := renderBars(barTable([]float64{10}, []float64{4}, mistakes), []bar{{row: "cost", limit: 6, ratio: 0.5, aim: 5}})
		for _, line := range []string{"| cost: at most 6, at most 0.5 times Node.js; aim 5 | 4.00, 0.40 times Node.js | met, and the aim |", want} {
			if !strings.Contains(got, line) {
				t.Errorf("renderBars with %v faults = %s, want %s", mistakes, got, line)
			}
		}
	}
}
