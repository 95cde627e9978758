package promsio

import (
	"github.com/prometheus/client_golang/prometheus"

	"example.com/chorus/pkg/socketio/forward"
)

// forwarder is the part of a forward.Forwarder that its collector needs.
type forwarder interface {
	Stats() forward.Stats
}

// forwardCollector gives the figures of a Forwarder.
type forwardCollector struct {
	forwarder                              forwarder
	forwarded, refused, relayed, reachable *prometheus.Desc
}

// NewForwarder returns a collector over what a node passes on to the others, to be registered once beside that of the server.
func NewForwarder(f *forward.Forwarder) prometheus.Collector { return newForwardCollector(f) }

func newForwardCollector(f forwarder) *forwardCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	return &forwardCollector{
		forwarder: f,
		forwarded: desc("requests_forwarded_total", "Requests for sessions of other nodes, by how passing them on ended.", "result"),
		refused:   desc("forwards_refused_total", "Forwards that were not believed.", "reason"),
		relayed:   desc("relayed_connections", "WebSockets of other nodes' sessions that pass through this one."),
		reachable: desc("forward_nodes", "Other nodes to which requests can be passed on."),
	}
}

// Describe implements prometheus.Collector.
func (c *forwardCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.forwarded, c.refused, c.relayed, c.reachable} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *forwardCollector) Collect(ch chan<- prometheus.Metric) {
	s, stats := sink(ch), c.forwarder.Stats()
	s.counters(c.forwarded, forward.Results(), stats.Forwarded)
	s.counters(c.refused, forward.Reasons(), stats.Refused)
	s.gauge(c.relayed, float64(stats.Relayed))
	s.gauge(c.reachable, float64(stats.Reachable))
}
