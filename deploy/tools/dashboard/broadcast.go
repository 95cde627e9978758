package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

func broadcast() row {
	delivery := of("chorus_broadcast_delivery_seconds")
	broadcasts := of("chorus_broadcasts_total", inNamespace)
	return row{"Broadcast", []cog.Builder[dashboard.Panel]{
		limited(graph(half, "Delivery latency", units.Seconds, "From the emit to the write on a client's connection, of one receiver of each broadcast; local is the same node, remote another one. Their difference is the way through Redis.",
			quantiles(delivery, "{{origin}}", "origin")...), 0.25),
		graph(half, "Fan-out time", units.Seconds, "From the packet in hand to the last queue filled. Grows with the number of recipients and with the load of the processor.",
			quantiles(of("chorus_broadcast_fanout_seconds"), "{{origin}}", "origin")...),
		heat(third, "Recipients of a broadcast", units.Short, "Sockets of one node that a broadcast was queued for.",
			of("chorus_broadcast_recipients")),
		graph(third, "Recipients, mean", units.Short, "Sockets of one node for each broadcast: what an emit costs here.",
			line{of("chorus_broadcast_recipients").mean("origin"), "{{origin}}"}),
		graph(third, "Broadcasts, by origin and scope", units.EventsPerSecond, "local began on the node, remote came through Redis. all, rooms and except: whom they are for.",
			line{broadcasts.rate("origin", "scope"), "{{origin}} {{scope}}"}),
		graph(third, "Bytes to clients", units.BytesPerSecondIEC, "By transport, as handed to the kernel.",
			line{of("chorus_bytes_sent_total").rate("transport"), "{{transport}}"}),
		graph(third, "Bytes from clients", units.BytesPerSecondIEC, "Messages received, by transport.",
			line{of("chorus_bytes_received_total").rate("transport"), "{{transport}}"}),
		graph(third, "Clocks that differ", units.CountsPerSecond, "Deliveries that came before they were sent, by the clocks of two nodes. Any is wrong; then remote latencies are too.",
			line{of("chorus_clock_skew_total").rate("instance"), "{{instance}}"}),
	}}
}
