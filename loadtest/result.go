//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// trafficResult is what a run with messages found. Times of CPU are
// microseconds for one delivery.
type trafficResult struct {
	Load    string `json:"load"`
	Nodes   int    `json:"nodes"`
	Clients int    `json:"clients"`
	Senders int    `json:"senders"`
	Size    int    `json:"size"`

	IdleRooms *int `json:"idle_rooms,omitempty"` // rooms to which nobody sends

	FailedConnects int      `json:"failed_connects"`
	Disconnected   int64    `json:"disconnected"`
	Sent           int      `json:"sent"`
	Delivered      int64    `json:"delivered"`
	Lost           int      `json:"lost"`
	Duplicated     int64    `json:"duplicated"`
	Reordered      int64    `json:"reordered"`
	Damaged        int64    `json:"damaged"`
	Strayed        int64    `json:"strayed"`          // of a room that the client is not in
	Errors         []string `json:"errors,omitempty"` // the first connect that failed, the first connection that broke

	Stalled       int   `json:"stalled,omitempty"`        // clients that read nothing
	StalledClosed int64 `json:"stalled_closed,omitempty"` // those of them that the server closed

	Own   *latency `json:"own,omitempty"`   // clients on the sender's node
	Other *latency `json:"other,omitempty"` // clients on the other nodes

	Measured        int64   `json:"measured"` // deliveries while costs were measured
	MeasuredSent    int     `json:"measured_sent,omitempty"`
	Seconds         float64 `json:"seconds"`
	PerSecond       float64 `json:"deliveries_per_second"`
	PerServerSecond float64 `json:"deliveries_per_server_cpu_second,omitempty"`
	ServerMicros    float64 `json:"server_cpu_us,omitempty"`
	EmitMicros      float64 `json:"server_cpu_us_per_message,omitempty"`
	ServerRSS       int64   `json:"server_rss_bytes,omitempty"`
	ServerRSSSteady int64   `json:"server_rss_before_bytes,omitempty"` // all connected, nothing sent
	ServerRSSPeak   int64   `json:"server_rss_peak_bytes,omitempty"`
	RedisMicros     float64 `json:"redis_cpu_us,omitempty"`
	GeneratorMicros float64 `json:"generator_cpu_us"`
	GeneratorCores  float64 `json:"generator_cores"`
	GeneratorBusy   float64 `json:"generator_busy"` // share of time that the busiest loop had work, or waited for a processor to do it
	SendDelayP99    float64 `json:"send_delay_p99_ms"`
	OthersBusy      float64 `json:"others_busy"` // share of all cores that went to other processes; without --pid the server is one of them

	loops      int
	own, other histogram
}

// latency is from the intended time of sending to the client, in
// milliseconds.
type latency struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

func summarize(h *histogram) *latency {
	if h.total == 0 {
		return nil
	}
	return &latency{
		Count: h.total, P50: millis(h.quantile(0.5)), P90: millis(h.quantile(0.9)), P99: millis(h.quantile(0.99)),
		P999: millis(h.quantile(0.999)), Max: millis(time.Duration(h.max)),
	}
}

// show prints a line; nil prints nothing.
func (l *latency) show(w io.Writer, name string) {
	if l != nil {
		fmt.Fprintf(w, "%s\tp50 %.1f  p90 %.1f  p99 %.1f  p99.9 %.1f  max %.1f ms\n", name, l.P50, l.P90, l.P99, l.P999, l.Max)
	}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// perUnit spreads CPU time over units; none cost nothing.
type perUnit struct{ units float64 }

func (p perUnit) micros(cpu time.Duration) float64 {
	if p.units == 0 {
		return 0
	}
	return float64(cpu.Microseconds()) / p.units
}

// busyLimit is the share of a processor from which a loop may be what is
// measured.
const busyLimit = 0.8

// mistakes counts everything that went wrong.
func (r *trafficResult) mistakes() float64 {
	return float64(int64(r.FailedConnects+r.Lost) + r.Disconnected + r.Duplicated + r.Reordered + r.Damaged + r.Strayed)
}

func (r *trafficResult) faults() bool { return r.mistakes() > 0 }

func (r *trafficResult) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "load\t%s\n", r.Load)
	fmt.Fprintf(t, "connections\t%d failed, %d disconnected\n", r.FailedConnects, r.Disconnected)
	if r.Stalled > 0 {
		fmt.Fprintf(t, "stalled\t%d read nothing, the server closed %d of them\n", r.Stalled, r.StalledClosed)
	}
	fmt.Fprintf(t, "messages\t%d sent, %d delivered, %d lost, %d duplicated, %d out of order, %d damaged, %d strayed\n",
		r.Sent, r.Delivered, r.Lost, r.Duplicated, r.Reordered, r.Damaged, r.Strayed)
	fmt.Fprintf(t, "measured\t%d deliveries in %.1f s, %.0f/s\n", r.Measured, r.Seconds, r.PerSecond)
	r.Own.show(t, "latency, own node")
	r.Other.show(t, "latency, other nodes")
	if r.ServerRSS > 0 {
		fmt.Fprintf(t, "server\t%.2f us of CPU per delivery, %.0f deliveries per second of CPU\n", r.ServerMicros, r.PerServerSecond)
		fmt.Fprintf(t, "memory\t%.1f MB resident with all connected, %.1f MB at the end, %.1f MB at most\n",
			float64(r.ServerRSSSteady)/1e6, float64(r.ServerRSS)/1e6, float64(r.ServerRSSPeak)/1e6)
	}
	if r.RedisMicros > 0 {
		fmt.Fprintf(t, "redis\t%.2f us of CPU per delivery\n", r.RedisMicros)
	}
	fmt.Fprintf(t, "generator\t%.2f us of CPU per delivery, %.2f cores, %.0f %% busy, p99 of sending late %.2f ms\n",
		r.GeneratorMicros, r.GeneratorCores, r.GeneratorBusy*100, r.SendDelayP99)
	showOthers(t, r.OthersBusy)
	if r.GeneratorCores > busyLimit*float64(r.loops) {
		fmt.Fprintf(t, "warning\tthe generator was busy: it is partly what was measured; raise --loops or use fewer clients\n")
	}
	showErrors(t, r.Errors)
	t.Flush()
}

// idleResult is what an idle run found.
type idleResult struct {
	Clients            int      `json:"clients"`
	FailedConnects     int      `json:"failed_connects"`
	Disconnected       int64    `json:"disconnected"`
	ConnectSeconds     float64  `json:"connect_seconds"`
	Seconds            float64  `json:"seconds"`
	Pings              int64    `json:"pings"`
	BytesPerConnection int64    `json:"server_rss_bytes_per_connection,omitempty"`
	ServerRSS          int64    `json:"server_rss_bytes,omitempty"`
	ServerRSSPeak      int64    `json:"server_rss_peak_bytes,omitempty"`
	MicrosPerConnect   float64  `json:"server_cpu_us_per_connect,omitempty"`
	MicrosPerPing      float64  `json:"server_cpu_us_per_ping,omitempty"`
	OthersBusy         float64  `json:"others_busy"`
	Errors             []string `json:"errors,omitempty"`
}

func (r *idleResult) mistakes() float64 { return float64(r.FailedConnects) + float64(r.Disconnected) }

func (r *idleResult) faults() bool { return r.mistakes() > 0 }

func (r *idleResult) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "connections\t%d made in %.1f s, %d failed, %d disconnected\n", r.Clients-r.FailedConnects, r.ConnectSeconds, r.FailedConnects, r.Disconnected)
	fmt.Fprintf(t, "heartbeats\t%d answered in %.1f s\n", r.Pings, r.Seconds)
	if r.BytesPerConnection != 0 {
		fmt.Fprintf(t, "server\t%d B resident per connection, %.0f us of CPU per connect, %.1f us per ping and pong\n",
			r.BytesPerConnection, r.MicrosPerConnect, r.MicrosPerPing)
		fmt.Fprintf(t, "memory\t%.1f MB resident, %.1f MB at most\n", megabytes(r.ServerRSS), megabytes(r.ServerRSSPeak))
	}
	showOthers(t, r.OthersBusy)
	showErrors(t, r.Errors)
	t.Flush()
}

// texts returns the texts of those errors that happened.
func texts(errs ...error) []string {
	var all []string
	for _, err := range errs {
		if err != nil {
			all = append(all, err.Error())
		}
	}
	return all
}

// several writes a number of things.
func several(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func showOthers(w io.Writer, share float64) {
	fmt.Fprintf(w, "machine\t%.0f %% of %d cores went to other processes\n", share*100, runtime.NumCPU())
}

func showErrors(w io.Writer, errs []string) {
	for _, e := range errs {
		fmt.Fprintf(w, "first error\t%s\n", strings.ReplaceAll(e, "\n", " "))
	}
}

// A result can be shown and judged.
type result interface {
	faults() bool
	table(w io.Writer)
}

// publish prints a result as a table and, if --json is given, as JSON to that
// file or, for "-", to the standard output instead of the table. It returns
// errFaults if the servers made mistakes.
func (o *options) publish(r result) error {
	path := o.JSON
	if path != "-" {
		r.table(os.Stdout)
	}
	if path != "" {
		b, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return fmt.Errorf("--json: %w", err)
		}
		b = append(b, '\n')
		if path == "-" {
			_, err = os.Stdout.Write(b)
		} else {
			err = os.WriteFile(path, b, 0o644)
		}
		if err != nil {
			return fmt.Errorf("--json: %w", err)
		}
	}
	if r.faults() {
		return errFaults
	}
	return nil
}
