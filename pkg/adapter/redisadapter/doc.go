// Package redisadapter connects the nodes of a cluster through Redis, in the wire formats of Socket.IO's own
// adapters for Node, so that Go and Node servers share a cluster.
//
// NewPubSub speaks the format of @socket.io/redis-adapter 8 (Redis Pub/Sub, any version of Redis). A broadcast
// to exactly one room travels on a channel of that room, to which only the nodes with members subscribe; every
// other broadcast travels on the channel of its namespace.
//
// # What is promised
//
// Messages of one goroutine arrive at every node in their order and at most once. Redis Pub/Sub keeps nothing:
// a node misses what is published while its subscription is down, and that time is measured (adapter.Trace.Gap).
// Local delivery never waits for Redis: Publish queues. While Redis is away up to PublishQueue messages wait for
// at most Watchdog; what cannot be sent by then is given up, counted in adapter.Stats.PublishErrors and logged.
// A message is never sent twice: one whose answer got lost is given up too, and may have arrived.
//
// # Limits
//
// Nesting of 1000 arrays and objects and 10 binary values per message; more is an error of Publish, and counted
// as malformed when received. Requests between nodes (fetchSockets, acknowledgements of broadcasts and so on) are
// not answered. The adapter therefore does not subscribe to the request channel, whose subscribers Node counts
// to know how many answers it must wait for: requests among Node servers work as if this node were not there.
package redisadapter
