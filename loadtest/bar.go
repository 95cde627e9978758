//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
)

// A bar is what Chorus has to reach in one row of a table: medians are
// compared.
type bar struct {
	row     string
	atLeast bool    // the figure is to be large, else small
	limit   float64 // in the unit of the row; 0: none
	ratio   float64 // to Node.js' figure; 0: none
	aim     float64 // what we would like beyond that: of the limit, or of the ratio if there is no limit; 0: none
}

// reached compares a figure with a border.
func (b bar) reached(v, border float64) bool {
	if b.atLeast {
		return v >= border
	}
	return v <= border
}

// judge returns the bar in words, what was measured, and the verdict.
func (b bar) judge(t *table) (want, got, verdict string) {
	word := "at most "
	if b.atLeast {
		word = "at least "
	}
	row := slices.Index(t.rows, b.row)
	ours := median(t.chorus()[row])
	var wants, gots []string
	met, compared := true, ours
	if b.limit != 0 {
		wants, gots = append(wants, word+number(b.limit)), append(gots, figure(ours))
		met = b.reached(ours, b.limit)
	}
	if b.ratio != 0 {
		theirs := median(t.values[0][row])
		ratio := ours / theirs
		wants, gots = append(wants, fmt.Sprintf("%s%.2g times Node.js", word, b.ratio)), append(gots, figure(ratio)+" times Node.js")
		met = met && theirs > 0 && b.reached(ratio, b.ratio)
		if b.limit == 0 {
			compared = ratio
		}
	}
	verdict = "missed"
	if met {
		verdict = "met"
	}
	want = b.row + ": " + strings.Join(wants, ", ")
	if b.aim != 0 {
		want += "; aim " + number(b.aim)
		if met && b.reached(compared, b.aim) {
			verdict = "met, and the aim"
		}
	}
	return want, strings.Join(gots, ", "), verdict
}

// renderBars writes the verdicts as Markdown. That nothing goes wrong is a
// bar of every load, and of every run.
func renderBars(t *table, bars []bar) string {
	var b strings.Builder
	b.WriteString("\n| bar | measured | verdict |\n|---|---|---|\n")
	for _, one := range bars {
		want, got, verdict := one.judge(t)
		fmt.Fprintf(&b, "| %s | %s | %s |\n", want, got, verdict)
	}
	worst := slices.Max(t.chorus()[len(t.rows)-1])
	verdict := "missed"
	if worst == 0 {
		verdict = "met"
	}
	fmt.Fprintf(&b, "| %s: none in any run | %s | %s |\n", mistakeRow, figure(worst), verdict)
	return b.String()
}
