package promsio

import (
	"github.com/prometheus/client_golang/prometheus"

	"example.com/chorus/pkg/socketio/forward"
)

// forwarder is the part of a forward.Forwarder that its collector needs.
type forwarder interface {
	Stats() forward.Stats
}

// What a Forwarder counts.
var (
	forwarded = ofForwarder(counter("requests_forwarded_total", "Requests for sessions of other nodes, by how passing them on ended.", closed("result", forward.Results())))
	refused   = ofForwarder(counter("forwards_refused_total", "Forwards that were not believed.", closed("reason", forward.Reasons())))
	relayed   = ofForwarder(gauge("relayed_connections", "WebSockets of other nodes' sessions that pass through this one."))
	reachable = ofForwarder(gauge("forward_nodes", "Other nodes to which requests can be passed on."))
)

func ofForwarder(m *metric) *metric {
	m.forwarder = true
	return m
}

// forwardCollector gives the figures of a Forwarder.
type forwardCollector struct{ forwarder forwarder }

// NewForwarder returns a collector over what a node passes on to the others, to be registered once beside that of the server.
func NewForwarder(f *forward.Forwarder) prometheus.Collector { return forwardCollector{f} }

// Describe implements prometheus.Collector.
func (forwardCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range []*metric{forwarded, refused, relayed, reachable} {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c forwardCollector) Collect(ch chan<- prometheus.Metric) {
	s, stats := sink{ch: ch}, c.forwarder.Stats()
	s.counters(forwarded, forward.Results(), stats.Forwarded)
	s.counters(refused, forward.Reasons(), stats.Refused)
	s.gauge(relayed, float64(stats.Relayed))
	s.gauge(reachable, float64(stats.Reachable))
}
