package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

func backPressure() row {
	return row{"Back pressure", []cog.Builder[dashboard.Panel]{
		graph(third, "Bytes that wait", units.BytesIEC, "In the write queues of all connections. A client that does not read may hold queue.bytes (1 MiB) before it is closed.",
			line{of("chorus_write_queue_bytes").sum("instance"), "{{instance}}"}),
		graph(third, "Packets that wait", units.Short, "In the write queues of all connections.",
			line{of("chorus_write_queue_messages").sum("instance"), "{{instance}}"}),
		graph(third, "Time in the queue", units.Seconds, "From the queue to the kernel. High for all clients: the node is overloaded; high at p99 alone: some clients' networks.",
			quantiles(of("chorus_write_queue_wait_seconds"), "")...),
		limited(graph(third, "Slow consumers closed", units.CountsPerSecond, "Clients closed because their queue was full. The dashed line is that of SlowConsumers.",
			line{of("chorus_slow_consumer_closes_total").rate("instance"), "{{instance}}"}), 1),
		graph(third, "Drops, by reason", units.MessagesPerSecond, "Packets not sent to a client. volatile: may be dropped; queue_full: the policy drop_volatile; closed: the client left; too_large.",
			line{of("chorus_messages_dropped_total").rate("reason"), "{{reason}}"}),
		graph(third, "Packets per write", units.Short, "How many packets leave in one write. Rises under load, which saves system calls.",
			line{of("chorus_packets_per_flush").mean("transport"), "{{transport}}"}),
	}}
}
