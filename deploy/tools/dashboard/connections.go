package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

func connections() row {
	upgrades := of("chorus_transport_upgrades_total")
	upgraded := of("chorus_transport_upgrades_total", `result="ok"`)
	return row{"Connections", []cog.Builder[dashboard.Panel]{
		graph(third, "By transport", units.Short, "Most polling connections upgrade within a second. Polling that stays is a proxy or firewall that stops WebSockets.",
			line{of("chorus_connections").sum("transport"), "{{transport}}"}),
		graph(third, "Opened", units.CountsPerSecond, "New connections. ReconnectStorm fires at five times the mean of the last hour.",
			line{of("chorus_connections_opened_total").rate("instance"), "{{instance}}"}),
		graph(third, "Closed, by reason", units.CountsPerSecond, "client: the client or its network; transport_error and ping_timeout: networks and proxies; slow_consumer: see Back pressure; drain: a node that was stopped.",
			line{of("chorus_connections_closed_total").rate("reason"), "{{reason}}"}),
		graph(third, "Handshakes, by result", units.CountsPerSecond, "All but ok and draining count as failures for HandshakeFailures.",
			line{of("chorus_handshakes_total").rate("result"), "{{result}}"}),
		graph(third, "Handshake time", units.Seconds, "From the request to its answer.",
			quantiles(of("chorus_handshake_seconds"), "{{transport}}", "transport")...),
		graph(third, "Refused requests, by reason", units.RequestsPerSecond, "unknown_sid, wrong_node: a session that this node does not have and could not pass on; overlap: a client, or a balancer, that asks twice at once.",
			line{of("chorus_engine_requests_rejected_total").rate("reason"), "{{reason}}"}),
		graph(third, "Upgrades that succeed", units.PercentUnit, "Of all that end. Below 1: probes that a proxy swallows, or clients that leave meanwhile.",
			line{upgraded.rate("instance") + " / " + upgrades.rate("instance"), "{{instance}}"}).Max(1),
		graph(third, "Upgrade time", units.Seconds, "Of those that succeed.",
			quantiles(of("chorus_upgrade_seconds"), "")...),
		graph(third, "Lifetime of connections", units.Seconds, "Of those that were closed. Falls in a storm, or when a proxy's timeout is below the heartbeat.",
			quantiles(of("chorus_connection_duration_seconds"), "")...),
		heat(half, "Ping to pong", units.Seconds, "The round trip of the heartbeat: the clients' networks, and this node's load.",
			of("chorus_ping_rtt_seconds")),
		graph(half, "Sockets by namespace", units.Short, "A connection has one socket for each namespace that it is in.",
			line{of("chorus_sockets", inNamespace).sum("namespace"), "{{namespace}}"}),
	}}
}
