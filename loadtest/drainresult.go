//go:build linux

package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// drainResult is what the drain of a node did.
type drainResult struct {
	Clients        int     `json:"clients"`
	Nodes          int     `json:"nodes"`
	Rate           float64 `json:"rate"`
	Moving         int     `json:"moving"` // clients that depended on the drained node: by their session or a relay
	FailedConnects int     `json:"failed_connects"`

	Seconds     float64 `json:"drain_seconds"` // the lame duck included
	Closed      int     `json:"closed_by_the_node"`
	Cut         int     `json:"cut"`  // when the node's time was up
	Left        int64   `json:"left"` // clients that lost their connection
	Back        int     `json:"back"`
	Abandoned   int     `json:"abandoned"`
	BackSeconds float64 `json:"seconds_until_all_were_back"`

	Retries  int64       `json:"retries"`
	PassedOn int64       `json:"passed_on"`         // attempts that the drained node refused, which went on to another node
	Refused  map[int]int `json:"refused,omitempty"` // by the other nodes, by HTTP status
	Failed   int         `json:"failed_attempts"`   // without an answer of HTTP
	Outage   *latency    `json:"outage"`            // from the loss until the client was back
	Missed   int         `json:"missed"`            // messages, by the clients that moved: there is no recovery here

	Before *latency `json:"before"` // deliveries to the clients that did not depend on the node
	During *latency `json:"during"`
	Ratio  float64  `json:"p99_ratio"`

	Disconnected int64 `json:"disconnected"` // clients that did not depend on the node
	Lost         int   `json:"lost"`         // by them
	Duplicated   int64 `json:"duplicated"`
	Reordered    int64 `json:"reordered"`
	Damaged      int64 `json:"damaged"`

	GeneratorCores float64  `json:"generator_cores"` // before the drain
	SendDelayP99   float64  `json:"send_delay_p99_ms"`
	OthersBusy     float64  `json:"others_busy"` // share of the machine, before the drain
	Errors         []string `json:"errors,omitempty"`

	before, during, outage histogram
}

// mistakes counts what must not happen. To be refused by the node that drains is no mistake, by another it is.
func (r *drainResult) mistakes() float64 {
	refused := 0
	for _, n := range r.Refused {
		refused += n
	}
	return float64(r.FailedConnects+r.Abandoned+r.Cut+refused+r.Failed+r.Lost) + float64(r.Disconnected+r.Duplicated+r.Reordered+r.Damaged)
}

func (r *drainResult) faults() bool { return r.mistakes() > 0 }

func (r *drainResult) curves() []curve {
	return filled(curve{"before", &r.before}, curve{"during the drain", &r.during})
}

func (r *drainResult) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "drain\tone of %d nodes, %d of %d clients depend on it, %g messages/s to all\n", r.Nodes, r.Moving, r.Clients, r.Rate)
	fmt.Fprintf(t, "node\t%d connections closed in %.1f s, %d cut\n", r.Closed, r.Seconds, r.Cut)
	fmt.Fprintf(t, "back\t%d of %d after %.1f s, %d abandoned\n", r.Back, r.Left, r.BackSeconds, r.Abandoned)
	fmt.Fprintf(t, "attempts\t%d retries%s, %d passed on by the balancer, %d failed otherwise\n", r.Retries, statuses(r.Refused), r.PassedOn, r.Failed)
	r.Outage.show(t, "outage")
	fmt.Fprintf(t, "missed\t%.1f messages for each client that moved\n", float64(r.Missed)/float64(max(1, r.Moving)))
	r.Before.show(t, "others, before")
	r.During.show(t, "others, during")
	fmt.Fprintf(t, "p99\t%.2f times that before\n", r.Ratio)
	fmt.Fprintf(t, "others\t%d disconnected, %d lost, %d duplicated, %d reordered, %d damaged\n", r.Disconnected, r.Lost, r.Duplicated, r.Reordered, r.Damaged)
	fmt.Fprintf(t, "generator\t%.2f cores, p99 of sending late %.2f ms\n", r.GeneratorCores, r.SendDelayP99)
	showOthers(t, r.OthersBusy)
	showErrors(t, r.Errors)
	t.Flush()
}
