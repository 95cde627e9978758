//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
)

// An outcome is what one run found.
type outcome struct {
	figures  []float64 // in the order of the rows
	mistakes float64   // everything that went wrong
	noise    float64   // share of the machine that other processes took
}

// Rows that every table has behind its own.
const (
	noiseRow   = "noise: share of the machine that other processes took, %"
	mistakeRow = "lost, duplicated, out of order, damaged, disconnected, failed connects"
)

// A table holds what the contenders did under one load: rows are figures, each
// cell has one value for each run.
type table struct {
	title      string
	rows       []string
	contenders []string
	run        func(context.Context, starter) (outcome, error)
	values     [][][]float64 // by contender, row, run
}

func newTable(title string, rows []string, run func(context.Context, starter) (outcome, error)) *table {
	rows = append(rows, noiseRow, mistakeRow)
	t := &table{title: title, rows: rows, run: run, contenders: []string{"Node.js socket.io", "Chorus"}}
	t.values = make([][][]float64, len(t.contenders))
	for i := range t.values {
		t.values[i] = make([][]float64, len(rows))
	}
	return t
}

// add takes what one run found.
func (t *table) add(contender int, o outcome) {
	for row, v := range append(slices.Clone(o.figures), o.noise*100, o.mistakes) {
		t.values[contender][row] = append(t.values[contender][row], v)
	}
}

// renderTables writes the tables as Markdown: the median of the runs and, in
// brackets, the smallest and the largest.
func renderTables(tables []*table) string {
	var b strings.Builder
	for _, t := range tables {
		fmt.Fprintf(&b, "\n**%s**\n\n| |", t.title)
		for _, name := range t.contenders {
			fmt.Fprintf(&b, " %s |", name)
		}
		b.WriteString(" Chorus / Node.js |\n|---|")
		b.WriteString(strings.Repeat("---|", len(t.contenders)+1) + "\n")
		for row, name := range t.rows {
			fmt.Fprintf(&b, "| %s |", name)
			var medians []float64
			for i := range t.contenders {
				v := t.values[i][row]
				medians = append(medians, median(v))
				fmt.Fprintf(&b, " %s (%s-%s) |", figure(median(v)), figure(slices.Min(v)), figure(slices.Max(v)))
			}
			if medians[0] > 0 && name != noiseRow && name != mistakeRow {
				fmt.Fprintf(&b, " %.2f |\n", medians[1]/medians[0])
			} else {
				b.WriteString(" |\n")
			}
		}
	}
	return b.String()
}

// median returns the middle value, of an even number the mean of the middle
// two.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// figure writes a number with about three digits.
func figure(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// mark is the line in front of a command's tables in a file, or behind them.
func mark(command, end string) string { return "<!-- loadtest " + command + ": " + end + " -->" }

// replaceMarked puts text between the marks of a command.
func replaceMarked(path, command, text string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := mark(command, "begin"), mark(command, "end")
	head, rest, ok := strings.Cut(string(b), begin)
	_, foot, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s: no lines %q and %q", path, begin, end)
	}
	return os.WriteFile(path, []byte(head+begin+"\n"+text+end+foot), 0o644)
}
