package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

func overview() row {
	delivery := "instance_origin:chorus_broadcast_delivery_seconds:"
	remote := `origin="remote"`
	return row{"Overview", []cog.Builder[dashboard.Panel]{
		figure("Nodes up", units.Short, "Nodes that answer Prometheus.",
			of("up").by("sum"), step{0, bad}, step{1, good}),
		figure("Connections", units.Short, "Clients that are connected, by any transport.",
			of("instance:chorus_connections:sum").sum()),
		figure("Events in", units.EventsPerSecond, "Events that clients send, mean of 5 minutes.",
			of("instance:chorus_events_received:rate5m").sum()),
		figure("Broadcasts", units.EventsPerSecond, "Broadcasts that these nodes' own clients and handlers begin, mean of 5 minutes.",
			of("instance_origin:chorus_broadcasts:rate5m", `origin="local"`).sum()),
		figure("Deliveries", units.MessagesPerSecond, "Packets written to clients, mean of 5 minutes.",
			of("instance:chorus_deliveries:rate5m").sum()),
		figure("Delivery p99", units.Seconds, "99 % of what other nodes sent reached the clients of the slowest node within this time. BroadcastLatencyHigh fires above 250 ms.",
			of(delivery+"p99_rate5m", remote).by("max"), step{0.1, soso}, step{0.25, bad}),
		figure("Redis", units.NoUnit, "Whether all nodes have both of their connections to Redis. Without, clients reach only those of their own node.",
			of("chorus_redis_up").by("min"), step{0, bad}, step{1, good}).Mappings(yesNo("up", "DOWN")),
		figure("Drops", units.MessagesPerSecond, "Packets that were not sent to a client, mean of 5 minutes. What is volatile may be dropped; the row Back pressure has the reasons.",
			of("instance_reason:chorus_messages_dropped:rate5m", `reason!="volatile"`).sum(), step{0.001, soso}, step{10, bad}),
		timeline("Alerts", "Alerts that fire. The runbooks say what each means.",
			line{`sum by (alertname, severity) (ALERTS{alertstate="firing",job="$job"}) > bool 0`, "{{alertname}} ({{severity}})"}),
		graph(third, "Connections by node", units.Short, "A step down is a node that lost its clients; the others should rise by as much.",
			line{of("instance:chorus_connections:sum").String(), "{{instance}}"}),
		graph(third, "Deliveries by node", units.MessagesPerSecond, "Packets written to clients, mean of 5 minutes.",
			line{of("instance:chorus_deliveries:rate5m").String(), "{{instance}}"}),
		limited(graph(third, "Delivery latency by node", units.Seconds, "From the emit on another node to the write on this one. The dashed line is that of BroadcastLatencyHigh.",
			line{of(delivery+"p99_rate5m", remote).String(), "p99 {{instance}}"},
			line{of(delivery+"p50_rate5m", remote).String(), "p50 {{instance}}"}), 0.25),
	}}
}

// yesNo writes words for 1 and 0.
func yesNo(yes, no string) []dashboard.ValueMapping {
	mapping := dashboard.NewValueMap()
	mapping.Options = map[string]dashboard.ValueMappingResult{"1": {Text: &yes}, "0": {Text: &no}}
	return []dashboard.ValueMapping{{ValueMap: mapping}}
}
