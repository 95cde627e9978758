package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

func cluster() row {
	return row{"Cluster", []cog.Builder[dashboard.Panel]{
		graph(third, "Nodes seen", units.Short, "How many nodes each node believes in, and how many Prometheus reaches. They differ for seconds in a restart, else NodeCountMismatch fires.",
			line{of("chorus_cluster_nodes").by("max", "instance"), "{{instance}}"},
			line{`job:chorus_up:count{job="$job"}`, "up, by Prometheus"}),
		graph(third, "Draining", units.Short, "1 while a node refuses new clients and hands over its own.",
			line{of("chorus_draining").by("max", "instance"), "{{instance}}"}).Max(1),
		graph(third, "Drained connections", units.CountsPerSecond, "Connections that draining nodes handed over.",
			line{of("chorus_drained_connections_total").rate("instance"), "{{instance}}"}),
		graph(third, "Requests to other nodes, by type", units.RequestsPerSecond, "fetchSockets and the like, acknowledgements of broadcasts, events between servers.",
			line{of("chorus_adapter_requests_total").rate("type"), "{{type}}"}),
		graph(third, "Requests to other nodes, by result", units.RequestsPerSecond, "partial and timeout: a node did not answer. AdapterRequestTimeouts fires at 1 %.",
			line{of("chorus_adapter_requests_total").rate("result"), "{{result}}"}),
		graph(third, "Request time p99, by type", units.Seconds, "Until all nodes have answered, at most redis.requests_timeout.",
			line{of("chorus_adapter_request_seconds").quantile(0.99, "type"), "{{type}}"}),
		graph(third, "Requests passed on", units.RequestsPerSecond, "Requests for sessions of other nodes. None, if the balancer routes by session id.",
			line{of("chorus_requests_forwarded_total").rate("result"), "{{result}}"}),
		graph(third, "Forwards refused", units.RequestsPerSecond, "Forwards that were not believed: secrets or clocks that differ, or somebody who forges them.",
			line{of("chorus_forwards_refused_total").rate("reason"), "{{reason}}"}),
		graph(third, "Relayed WebSockets", units.Short, "Connections that pass through a second node and end if either does.",
			line{of("chorus_relayed_connections").sum("instance"), "{{instance}}"}),
		graph(third, "Recoveries, by result", units.CountsPerSecond, "ok: the client missed nothing. expired is no attempt: the client never came back. The others begin anew.",
			line{of("chorus_recoveries_total").rate("result"), "{{result}}"}),
		graph(third, "Packets replayed", units.Short, "For each recovery.",
			quantiles(of("chorus_recovered_packets"), "")...),
		graph(third, "Kept sessions", units.Short, "Of clients that may still come back.",
			line{of("chorus_recovery_sessions").sum("instance"), "{{instance}}"}),
	}}
}
