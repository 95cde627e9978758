package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

func redis() row {
	return row{"Redis", []cog.Builder[dashboard.Panel]{
		graph(third, "Connected", units.Short, "1 for each node and role that is connected. RedisDisconnected fires after 30 s of 0.",
			line{of("chorus_redis_up").by("min", "instance", "role"), "{{instance}} {{role}}"}).Max(1),
		graph(third, "Reconnects, by cause", units.CountsPerSecond, "closed: Redis or the network; watchdog and deaf: it hung; failover: another master; moved: a slot of a Redis Cluster.",
			line{of("chorus_redis_reconnects_total").rate("role", "cause"), "{{role}} {{cause}}"}),
		graph(third, "Time without a subscription", units.Seconds, "With Pub/Sub, what was published in such a gap is lost on that node.",
			quantiles(of("chorus_redis_gap_seconds"), "")...),
		graph(third, "Published, by kind", units.MessagesPerSecond, "Messages to Redis: broadcasts, requests to the other nodes and their answers, and signs of life.",
			line{of("chorus_redis_published_total").rate("channel_kind"), "{{channel_kind}}"}),
		graph(third, "Publish time", units.Seconds, "From the queue to the answer of Redis. Part of every remote delivery.",
			quantiles(of("chorus_redis_publish_seconds"), "")...),
		graph(third, "Publish errors, by kind", units.CountsPerSecond, "Each is a message that other nodes did not get. RedisPublishErrors fires at 0.1 a second.",
			line{of("chorus_redis_publish_errors_total").rate("kind"), "{{kind}}"}),
		limited(graph(third, "Publish queue", units.Short, "Messages that wait for Redis. At 8192 (redis.publish_queue) emits wait; the dashed line is that of PublishQueueFilling.",
			line{of("chorus_redis_publish_queue").sum("instance"), "{{instance}}"}), 4096),
		graph(third, "Messages per pipeline", units.Short, "At redis.publish_batch (256) Redis takes as much as it can.",
			line{of("chorus_redis_publish_batch").mean("instance"), "{{instance}}"}),
		graph(third, "Received, by result", units.MessagesPerSecond, "own and no_match are thrown away undecoded. malformed: something else publishes under this prefix.",
			line{of("chorus_redis_received_total").rate("result"), "{{result}}"}),
		graph(quarter, "Lost on the way in", units.CountsPerSecond, "Messages of the cluster that this node dropped, and stream entries that it may have missed. MessagesLost fires on any.",
			line{of("chorus_redis_messages_dropped_total").rate("reason"), "dropped, {{reason}}"},
			line{of("chorus_redis_stream_gaps_total").rate("cause"), "stream {{cause}}"}),
		graph(quarter, "Behind the stream", units.Short, "Entries of streams that a node has not read. Grows when it is too slow, or Redis is. Only with redis-streams.",
			line{of("chorus_stream_lag_messages").sum("instance"), "{{instance}}"}),
		graph(quarter, "Subscriptions", units.Short, "Channels that the nodes listen to: with one channel per room, the rooms that they hold.",
			line{of("chorus_redis_subscriptions").sum("kind"), "{{kind}}"}),
		graph(quarter, "Connection pool", units.Short, "Connections for publishing and commands: in use, idle, and stale, which were closed since the start.",
			line{of("chorus_redis_pool_connections").sum("state"), "{{state}}"}),
	}}
}
