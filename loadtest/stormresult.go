//go:build linux

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// stormResult is what a storm did.
type stormResult struct {
	Clients    int     `json:"clients"` // that were cut
	Bystanders int     `json:"bystanders"`
	Within     float64 `json:"within_seconds"`

	FailedConnects int     `json:"failed_connects"` // before the storm
	Disconnected   int64   `json:"disconnected"`    // by the server
	LatePings      int     `json:"late_pings"`      // bystanders that heard nothing for longer than a client may wait
	LongestSilence float64 `json:"longest_silence_seconds"`

	Back       int         `json:"back"`
	Abandoned  int         `json:"abandoned"`
	Seconds    float64     `json:"seconds"` // from the cut until all were back
	Retries    int64       `json:"retries"`
	Refused    map[int]int `json:"refused,omitempty"` // by HTTP status
	RetryAfter int64       `json:"refused_with_retry_after"`
	Failed     int         `json:"failed_attempts"` // without an answer of HTTP
	Latency    *latency    `json:"latency"`         // from the first intended time until the client was back

	MicrosPerConnect float64  `json:"server_cpu_us_per_connect,omitempty"` // the end of the old connection included
	ServerRSSSteady  int64    `json:"server_rss_before_bytes,omitempty"`
	ServerRSSPeak    int64    `json:"server_rss_peak_bytes,omitempty"`
	PeakRatio        float64  `json:"server_rss_peak_ratio,omitempty"`
	GeneratorCores   float64  `json:"generator_cores"`
	StartDelayP99    float64  `json:"start_delay_p99_ms"`
	OthersBusy       float64  `json:"others_busy"`
	Errors           []string `json:"errors,omitempty"`

	back histogram
}

// mistakes counts what must not happen; to be refused and to come again is no
// mistake.
func (r *stormResult) mistakes() float64 {
	return float64(r.FailedConnects + r.Abandoned + r.LatePings + int(r.Disconnected))
}

func (r *stormResult) faults() bool { return r.mistakes() > 0 }

func (r *stormResult) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "storm\t%d connections cut at once, %d bystanders, coming back within %g s\n", r.Clients, r.Bystanders, r.Within)
	fmt.Fprintf(t, "back\t%d after %.1f s, %d abandoned\n", r.Back, r.Seconds, r.Abandoned)
	fmt.Fprintf(t, "attempts\t%d retries%s, %d of these with Retry-After, %d failed otherwise\n", r.Retries, statuses(r.Refused), r.RetryAfter, r.Failed)
	r.Latency.show(t, "time to be back")
	fmt.Fprintf(t, "bystanders\t%d disconnected, %d pinged too late, longest silence %.1f s\n", r.Disconnected, r.LatePings, r.LongestSilence)
	if r.ServerRSSSteady > 0 {
		fmt.Fprintf(t, "server\t%.0f us of CPU per connection cut and made; %.1f MB resident before, %.1f MB at most, %.2f times\n",
			r.MicrosPerConnect, float64(r.ServerRSSSteady)/1e6, float64(r.ServerRSSPeak)/1e6, r.PeakRatio)
	}
	fmt.Fprintf(t, "generator\t%.2f cores, p99 of starting late %.2f ms\n", r.GeneratorCores, r.StartDelayP99)
	showOthers(t, r.OthersBusy)
	showErrors(t, r.Errors)
	t.Flush()
}

// statuses writes how many handshakes got which status, with a comma before.
func statuses(refused map[int]int) string {
	var b strings.Builder
	for _, status := range slices.Sorted(maps.Keys(refused)) {
		fmt.Fprintf(&b, ", %d refused with %d", refused[status], status)
	}
	return b.String()
}
