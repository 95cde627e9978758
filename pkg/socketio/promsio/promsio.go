// Package promsio gives the figures of a Socket.IO server to Prometheus.
//
//	prometheus.MustRegister(promsio.New(server))
//
// Every label has a closed set of values: no room, socket, user or address ever becomes one. A value from
// outside the set counts as "other". Histograms have classic buckets and a native form.
package promsio

import (
	"github.com/prometheus/client_golang/prometheus"

	"example.com/chorus/pkg/socketio"
)

// namespace is the prefix of all metrics.
const namespace = "chorus"

var _ prometheus.Collector = (*Collector)(nil)

// Collector is a prometheus.Collector over one server. It is safe for concurrent use.
type Collector struct {
	server source
	events eventMetrics
}

// source is the part of a server that a Collector needs.
type source interface {
	Stats() socketio.Stats
	AddTrace(*socketio.Trace)
}

// New returns a collector over server, to be registered once. It counts what the server did since its start;
// histograms begin now, so make the collector before the server serves. A server has one collector: two would
// export the same names.
func New(server *socketio.Server) *Collector {
	return newCollector(server)
}

func newCollector(server source) *Collector {
	c := &Collector{server: server, events: newEventMetrics()}
	server.AddTrace(c.events.trace())
	return c
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range statsDescs {
		ch <- d
	}
	for _, m := range c.events.all() {
		m.Describe(ch)
	}
}

// Collect implements prometheus.Collector. It asks the server for its figures once.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	collectStats(ch, c.server.Stats())
	for _, m := range c.events.all() {
		m.Collect(ch)
	}
}
