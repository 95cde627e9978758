// Package redisadapter connects the nodes of a cluster through Redis, in the wire formats of Socket.IO's own
// adapters for Node, so that Go and Node servers share a cluster.
//
// NewPubSub speaks the format of @socket.io/redis-adapter 8 (Redis Pub/Sub, any version of Redis). A broadcast
// to exactly one room travels on a channel of that room, to which only the nodes with members subscribe; every
// other broadcast travels on the channel of its namespace.
//
// NewSharded speaks the format of createShardedAdapter of the same package (sharded Pub/Sub, Redis 7 or later). On a
// Redis Cluster each channel is carried by one master alone, so the load spreads over them. Which rooms have a channel
// of their own is a choice, SubscriptionMode, that all nodes share.
//
// # What is promised
//
// Messages of one goroutine arrive at every node in their order and at most once. Redis Pub/Sub keeps nothing:
// a node misses what is published while its subscription is down, and that time is measured (adapter.Trace.Gap).
// Local delivery never waits for Redis: Publish queues. While Redis is away up to PublishQueue messages wait for
// at most Watchdog; what cannot be sent by then is given up, counted in adapter.Stats.PublishErrors and logged.
// A message is never sent twice: one whose answer got lost is given up too, and may have arrived.
//
// With NewSharded on a Redis Cluster the order holds for each channel. Each master has its own connections and queue: one
// that fails holds up nothing but its channels. Slots that move are followed at once, by what the servers say (MOVED,
// sunsubscribe); the masters are asked who is in charge each 5 s besides, and each 250 ms while one of them is away. The
// successor of a lost master gets what waits half a second after this node listens there, so that the others do too.
//
// # Streams
//
// NewStreams speaks the format of @socket.io/redis-streams-adapter 0.3. Broadcasts, joins, leaves and disconnections are
// entries of a stream, which every node reads from the entry that it read last: what comes while a node cannot reach Redis
// is read later, as long as the stream keeps it. When it does not (MaxLen, or a Redis that lost its data) that is counted in
// adapter.Stats.Gaps, traced and logged. Entries wait in the publish queue while Redis is away, however long, and are
// refused when it is full. An entry whose answer got lost is looked for in the stream: it is added once. Only a process
// that dies, or Redis when it forgets what it had taken, can lose one. Events between servers, requests and their answers
// travel over Pub/Sub: they may overtake entries.
//
// With socketio.Options.Recovery a node delivers broadcasts, its own too, when it reads them: all nodes have one order, and
// the id of the entry is the offset that clients come back with, on nodes of Chorus and of Node. What does not come back
// within LocalAfter is delivered to the clients of this node without a place in that order, and so is everything after it
// until something comes back. When it is in the stream later it can be recovered, so a client that comes back from such a
// time may get it twice. Sessions are saved when a connection is lost or the server shuts down; those of a process that is
// killed are not.
//
// Where Node's adapter differs: it starts to read at "$" and misses what is added between two reads until the first entry
// comes; it reads again at once when Redis gives an error; it reads the whole tail of the stream at once for each client
// that comes back, and misses or doubles what comes while that client connects; it replays volatile events. With several
// streams it writes namespaces whose hash has a negative remainder to a stream that no server reads, such as
// socket.io--2; we write them to one that all servers read, Node's too, and read what Node's servers write there, without
// an offset: clients of such a namespace cannot be recovered across both kinds of servers.
//
// NewEmitter publishes from processes that are no servers.
//
// # Requests
//
// Requests to other nodes (adapter.Requester) and all other kinds of messages have Node's forms, and what Node asks is
// answered, the forms of older adapters and of emitters too. Who must answer is known: each second a node says on a channel
// that all nodes of a Redis share, whatever their prefix, that it lives; so the others know it by name, notice within
// HeartbeatLapse when it is lost, and name in the log those that are configured differently and hear nothing. One PUBSUB
// NUMSUB tells which of the nodes take part in a namespace and how many subscribers there are besides, such as Node's
// servers. Those are waited for RequestTimeout at most; who was silent twice is not waited for until their number changes.
//
// # A connection that is deaf
//
// Redis is pinged each second, and a connection that is silent for Watchdog is made anew. Since a ping proves only that
// the connection lives, each second a node publishes something to itself too: a connection on which that does not come
// back is made anew within 5 s.
//
// # Permissions
//
// A user of Redis with restricted channels needs those that begin with the prefix, and socket.io-members#*. The
// commands are PING, PUBLISH, SUBSCRIBE, UNSUBSCRIBE and PUBSUB NUMSUB, and PSUBSCRIBE and PUNSUBSCRIBE for
// SubscribePattern. NewSharded needs SPUBLISH, SSUBSCRIBE, SUNSUBSCRIBE, PUBSUB SHARDNUMSUB, CLUSTER SLOTS and CLUSTER
// INFO too, NewStreams XADD, XREAD, XRANGE and XREVRANGE on the keys of its streams, and SET, GET and DEL, within MULTI and
// EXEC, on those that begin with SessionKeyPrefix.
//
// # Limits
//
// Nesting of 1000 arrays and objects and 10 binary values per message; more is an error of Publish, and counted
// as malformed when received. Of an acknowledgement the first value is carried, as between Node's servers. Node drops the
// flags of broadcasts with acknowledgement; the answer of one node to a request is one message of Redis, at most 512 MB.
package redisadapter
