//go:build linux

package main

import (
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
	curves   []curve   // distributions of latencies
}

// Rows that every table has behind its own.
const (
	noiseRow   = "noise: share of the machine that other processes took, %"
	mistakeRow = "lost, duplicated, out of order, damaged, disconnected, failed connects"
)

// Who is compared, in the order of every table.
const (
	nodeName   = "Node.js socket.io"
	chorusName = "Chorus"
)

// A table holds what the contenders did under one load: rows are figures, each
// cell has one value for each run.
type table struct {
	title      string
	rows       []string
	contenders []string      // Chorus is the last
	values     [][][]float64 // by contender, row, run
	latencies  [][]curve     // by contender, of all runs together
}

func newTable(title string, rows []string) *table { return tableOf(title, rows, nodeName, chorusName) }

// newTableAlone makes one in which Chorus is compared with nobody.
func newTableAlone(title string, rows []string) *table { return tableOf(title, rows, chorusName) }

func tableOf(title string, rows []string, contenders ...string) *table {
	rows = append(slices.Clone(rows), noiseRow, mistakeRow)
	t := &table{title: title, rows: rows, contenders: contenders, latencies: make([][]curve, len(contenders))}
	for range contenders {
		t.values = append(t.values, make([][]float64, len(rows)))
	}
	return t
}

// chorus returns the values of Chorus, by row and run.
func (t *table) chorus() [][]float64 { return t.values[len(t.values)-1] }

// faults reports whether something went wrong in any run of any contender.
func (t *table) faults() bool {
	return slices.ContainsFunc(t.values, func(rows [][]float64) bool { return slices.Max(rows[len(rows)-1]) > 0 })
}

// curves returns the distributions of all contenders.
func (t *table) curves() (all []curve) {
	for who, curves := range t.latencies {
		for _, c := range curves {
			name := t.contenders[who]
			if len(curves) > 1 {
				name += ", " + c.name
			}
			all = append(all, curve{name, c.h})
		}
	}
	return all
}

// add takes what one run found.
func (t *table) add(contender int, o outcome) {
	for row, v := range append(slices.Clone(o.figures), o.noise*100, o.mistakes) {
		t.values[contender][row] = append(t.values[contender][row], v)
	}
	for _, c := range o.curves {
		i := slices.IndexFunc(t.latencies[contender], func(old curve) bool { return old.name == c.name })
		if i < 0 {
			t.latencies[contender] = append(t.latencies[contender], c)
			continue
		}
		t.latencies[contender][i].h.merge(c.h)
	}
}

// renderTables writes the tables as Markdown: the median of the runs and, in
// brackets, the smallest and the largest.
func renderTables(tables []*table) string {
	var b strings.Builder
	for _, t := range tables {
		compared := len(t.contenders) > 1
		fmt.Fprintf(&b, "\n**%s**\n\n| | %s |", t.title, strings.Join(t.contenders, " | "))
		columns := len(t.contenders) + 1
		if compared {
			b.WriteString(" Chorus / Node.js |")
			columns++
		}
		b.WriteString("\n|" + strings.Repeat("---|", columns) + "\n")
		for row, name := range t.rows {
			fmt.Fprintf(&b, "| %s |", name)
			var medians []float64
			for i := range t.contenders {
				v := t.values[i][row]
				medians = append(medians, median(v))
				fmt.Fprintf(&b, " %s (%s-%s) |", figure(median(v)), figure(slices.Min(v)), figure(slices.Max(v)))
			}
			switch {
			case !compared:
			case medians[0] > 0 && name != noiseRow && name != mistakeRow:
				fmt.Fprintf(&b, " %s |", figure(medians[1]/medians[0]))
			default:
				b.WriteString(" |")
			}
			b.WriteString("\n")
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

// mark is the line in front of a part of a file, or behind it.
func mark(part, end string) string { return "<!-- loadtest " + part + ": " + end + " -->" }

// cutMarked returns what is in front of a part of a file, its first mark
// included, and what is behind it.
func cutMarked(path, part string) (head, foot string, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", "", err
	}
	begin, end := mark(part, "begin"), mark(part, "end")
	head, rest, ok := strings.Cut(string(b), begin)
	_, foot, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", "", fmt.Errorf("%s: no lines %q and %q", path, begin, end)
	}
	return head + begin + "\n", end + foot, nil
}

// replaceMarked puts text between the marks of a part of a file.
func replaceMarked(path, part, text string) error {
	head, foot, err := cutMarked(path, part)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(head+text+foot), 0o644)
}
