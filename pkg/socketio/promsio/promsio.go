// Package promsio gives the figures of a Socket.IO server to Prometheus.
//
//	prometheus.MustRegister(promsio.New(server))
//
// Every label has a closed set of values: no room, socket, user or address ever becomes one. A value from
// outside the set counts as "other". Histograms have classic buckets and, unless Options.ClassicOnly, a native form.
// Metrics lists all that there is.
package promsio

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/chorus/pkg/socketio"
)

// namespace is the prefix of all metrics.
const namespace = "chorus"

// MaxEvents is the limit of Options.Events.
const MaxEvents = 64

// Options of a Collector. The zero value works.
type Options struct {
	// ClassicOnly leaves out the native form of histograms. Default no.
	ClassicOnly bool
	// Events are the names of events that become values of the label "event", at most MaxEvents, in UTF-8; those of all others
	// count as "other". Default none.
	Events []string
}

var _ prometheus.Collector = (*Collector)(nil)

// Collector is a prometheus.Collector over one server. It is safe for concurrent use.
type Collector struct {
	server source
	events *events
	seen   *observations
}

// source is the part of a server that a Collector needs.
type source interface {
	Stats() socketio.Stats
	AddTrace(*socketio.Trace)
}

// New is NewCollector without options.
func New(server *socketio.Server) *Collector {
	return newCollector(server, Options{})
}

// NewCollector returns a collector over server, to be registered once. It counts what the server did since its start;
// histograms, and what is told by event, begin now, so make the collector before the server serves. A server has one
// collector: two would export the same names. It fails for more than MaxEvents events, and for names that cannot be labels.
func NewCollector(server *socketio.Server, o Options) (*Collector, error) {
	if n := len(o.Events); n > MaxEvents {
		return nil, fmt.Errorf("promsio: Options.Events has %d names, the limit is %d", n, MaxEvents)
	}
	for _, name := range o.Events {
		if !utf8.ValidString(name) {
			return nil, fmt.Errorf("promsio: Options.Events has %q, which is not UTF-8", name)
		}
	}
	return newCollector(server, o), nil
}

func newCollector(server source, o Options) *Collector {
	names := slices.Compact(slices.Sorted(slices.Values(o.Events)))
	names = slices.DeleteFunc(names, func(name string) bool { return name == other }) // counts as such
	c := &Collector{server: server, events: newEvents(names), seen: newObservations(names, !o.ClassicOnly)}
	server.AddTrace(c.trace())
	return c
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range catalog {
		if !m.forwarder && !m.observed {
			ch <- m.desc
		}
	}
	c.seen.describe(ch)
}

// Collect implements prometheus.Collector. It asks the server for its figures once.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s := sink{ch: ch, native: c.seen.native}
	s.stats(c.server.Stats(), c.events)
	c.seen.collect(s)
}
