// Package doctor compares limits of a machine with what a node needs for a number of connections.
package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Status is what came of a check.
type Status string

const (
	OK      Status = "ok"
	Warn    Status = "warn"    // works, but not as well as it could, or not under load
	Fail    Status = "fail"    // a node cannot do what is asked of it
	Unknown Status = "unknown" // it could not be found out
)

// Check is one finding.
type Check struct {
	Status Status `json:"status"`
	Area   string `json:"area"` // process, kernel, balancer, redis, cluster, settings
	Name   string `json:"name"`
	Found  string `json:"found"`
	Wanted string `json:"wanted,omitempty"`
	Remedy string `json:"remedy,omitempty"` // unless all is well
}

// Failed reports whether anything is a hard miss.
func Failed(checks []Check) bool {
	return slices.ContainsFunc(checks, func(c Check) bool { return c.Status == Fail })
}

// WriteTable writes findings for people.
func WriteTable(w io.Writer, checks []Check) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STATUS\tCHECK\tFOUND\tWANTED\tREMEDY")
	for _, c := range checks {
		fmt.Fprintf(t, "%s\t%s: %s\t%s\t%s\t%s\n", strings.ToUpper(string(c.Status)), c.Area, c.Name, oneLine(c.Found), c.Wanted, c.Remedy)
	}
	return t.Flush()
}

// oneLine keeps a cell in its row.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// WriteJSON writes findings for programs.
func WriteJSON(w io.Writer, connections int, checks []Check) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(struct {
		Connections int     `json:"connections"`
		OK          bool    `json:"ok"`
		Checks      []Check `json:"checks"`
	}{connections, !Failed(checks), checks})
}
