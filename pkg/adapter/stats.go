package adapter

import "time"

// Role names one of the connections to a broker.
type Role string

// The roles.
const (
	RolePublish   Role = "publish"
	RoleSubscribe Role = "subscribe"
)

// Stats are the totals of an adapter since its start, and its state. Maps hold only the keys that were seen;
// every key comes from a closed list.
type Stats struct {
	Up            map[Role]bool           // whether the connection works
	Published     map[string]uint64       // by kind of channel: broadcast, room, request, response, stream, membership, session
	PublishErrors map[string]uint64       // by kind: timeout, refused, oom, readonly, auth, moved, other
	Received      map[ReceivedKey]uint64  // messages heard
	Reconnects    map[ReconnectKey]uint64 // connections made anew
	Subscriptions map[string]int          // by kind: channel, pattern
	Gaps          map[string]uint64       // times in which messages may have been missed although they were kept, by cause: trimmed, reset
	PublishQueue  int                     // messages that wait to be published
	Dropped       map[string]uint64       // lost on this node, by reason: queue_full
	Members       int                     // other nodes that are alive and tell their name
	Strangers     uint64                  // nodes heard of on the same broker that are configured differently
	Requests      map[string]uint64       // requests to the cluster, by outcome: complete, incomplete, failed
	Pool          map[string]int          // connections for all but listening: idle, used, and stale ones that were closed so far
	Streams       *StreamStats            // nil for adapters without streams
}

// StreamStats are the figures of an adapter that reads streams.
type StreamStats struct {
	Lag     uint64 // entries that this node has not read, as of some seconds ago; 0 if the broker cannot tell
	Trimmed uint64 // entries that were gone before this node read them
}

// ReceivedKey tells received messages apart.
type ReceivedKey struct {
	Kind   string // of channel, as in Stats.Published
	Result string // delivered, own, no_match, malformed, repeated
}

// ReconnectKey tells reconnections apart.
type ReconnectKey struct {
	Role  Role
	Cause string // closed, watchdog, deaf, moved, failover
}

// Trace has functions that an adapter calls; nil ones are skipped. They must return quickly and may be called
// from any goroutine.
type Trace struct {
	// Published is called for the messages of one pipeline that the broker took: how many there were and how long the
	// oldest waited from Publish to the answer. With an error it is called for messages that were given up, sent or not.
	Published func(messages int, wait time.Duration, err error)
	// Gap is called when a subscription is back: how long nothing could be heard.
	Gap func(d time.Duration)
	// Reconnected is called when a connection was made anew.
	Reconnected func(role Role, cause string)
}
