package socketio

import (
	"maps"
	"sync"
	"sync/atomic"

	"example.com/chorus/pkg/adapter"
)

// maxNamedNamespaces bounds Stats.Namespaces: those beyond are counted together.
const maxNamedNamespaces = 32

// Stats are the totals of a server since its start, and its state. Every map key is from a closed list; maps hold
// only the keys that were seen.
type Stats struct {
	Transports    []TransportStats  // polling, then websocket
	NetLoopForm   string            // how plain TCP connections are served, see Server.NetLoop
	NetLoop       map[string]int64  // WebSocket connections by how they are served: portable, fast
	Upgrades      map[string]uint64 // transport upgrades by result: ok, timeout, probe_failed, closed
	Rejected      map[string]uint64 // requests refused: unknown_sid, bad_method, too_large, overlap
	Dropped       map[string]uint64 // packets that did not leave: volatile, queue_full, closed
	QueueBytes    int64             // waiting in the outboxes of all connections
	QueueMessages int64
	Namespaces    []NamespaceStats // at most 32 by name, the others together as "other"
	Adapter       *adapter.Stats   // nil when the adapter counts nothing
	HandlerPanics uint64           // of every function of the application that the server calls: handlers, hooks, parsers
	Draining      bool

	Nodes      int                   // of the cluster, this one too; 0 if the adapter does not know them
	Requests   map[RequestKey]uint64 // to the other nodes
	ServerSide map[string]uint64     // events of other servers: handled, failed, no_handler, queue_full
	Ignored    map[string]uint64     // other messages of other nodes that were not served: queue_full, unknown_kind, malformed

	ConnectTimeouts   uint64 // connections that joined no namespace in time
	UnknownNamespaces uint64 // CONNECT packets for namespaces that do not exist
	// Limited is how often Options held something back: connections (handshakes refused), events (connections that were
	// made to wait), rooms (joins refused).
	Limited map[string]uint64

	Violations uint64 // connections that were closed because they broke the Socket.IO protocol
}

// TransportStats are the figures of one transport.
type TransportStats struct {
	Name          string
	Open          int64
	Opened        uint64 // connections that began on this transport
	Closed        map[Reason]uint64
	Handshakes    map[string]uint64 // by result: ok, bad_request, unknown_transport, forbidden, limit, draining
	BytesReceived uint64
	BytesSent     uint64
	Deliveries    uint64 // messages handed to the kernel or to a polling answer
	Flushes       uint64 // writes and answers that carried them
}

// NamespaceStats are the figures of one namespace.
type NamespaceStats struct {
	Name           string
	Sockets        int64
	Rooms          int64             // rooms with members, own ids not counted
	Connects       map[string]uint64 // by result: ok, middleware
	Disconnects    map[Reason]uint64
	EventsReceived uint64
	Emits          uint64 // events sent to single sockets
	Acks           uint64 // acknowledgements sent
	Broadcasts     map[BroadcastKey]uint64
	Recipients     map[string]uint64 // by origin: receivers of all broadcasts
	RoomJoins      uint64
	RoomLeaves     uint64
	// Recoveries: attempts by result: ok, unknown, no_offset, too_many, and with a Keeper unavailable, late; sessions:
	// expired, and with a Keeper unsaved.
	Recoveries map[string]uint64
	Sessions   int64 // kept for clients that may come back
}

// BroadcastKey tells broadcasts apart.
type BroadcastKey struct {
	Origin string // OriginLocal or OriginRemote
	Scope  string // all, rooms, except
}

// serverCounters are the server's own.
type serverCounters struct {
	panics            atomic.Uint64
	connectTimeouts   atomic.Uint64
	unknownNamespaces atomic.Uint64
	violations        atomic.Uint64
	limitedEvents     atomic.Uint64
	limitedRooms      atomic.Uint64
}

// namespaceCounters are one namespace's. The origins and scopes are indexes into their names.
type namespaceCounters struct {
	events, emits, acks  atomic.Uint64
	connected, refused   atomic.Uint64
	joins, leaves        atomic.Uint64
	broadcasts           [2][3]atomic.Uint64
	recipients           [2]atomic.Uint64
	mu                   sync.Mutex
	disconnectedByReason map[Reason]uint64
}

var (
	originNames = [2]string{OriginLocal, OriginRemote}
	scopeNames  = [3]string{"all", "rooms", "except"}
)

func (c *namespaceCounters) broadcast(d delivery, recipients int) {
	origin, scope := 0, 0
	if d.origin == OriginRemote {
		origin = 1
	}
	switch {
	case len(d.except) > 0 || d.from != nil:
		scope = 2
	case len(d.rooms) > 0:
		scope = 1
	}
	c.broadcasts[origin][scope].Add(1)
	c.recipients[origin].Add(uint64(recipients))
}

func (c *namespaceCounters) disconnected(r Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.disconnectedByReason == nil {
		c.disconnectedByReason = make(map[Reason]uint64)
	}
	c.disconnectedByReason[r]++
}

// Stats returns the figures of the server. It visits every namespace and connection: call it to be scraped, not in a
// loop.
func (s *Server) Stats() Stats {
	e := s.engine.Stats()
	st := Stats{
		NetLoopForm: s.NetLoop(),
		NetLoop:     map[string]int64{string(NetLoopPortable): e.Connections[0], string(NetLoopFast): e.Connections[1]},
		Upgrades:    e.Upgrades, Rejected: e.Rejected, Dropped: e.Dropped,
		QueueBytes: e.QueueBytes, QueueMessages: e.QueueFrames,
		HandlerPanics: s.count.panics.Load(),
		Draining:      s.draining.Load(),

		ConnectTimeouts:   s.count.connectTimeouts.Load(),
		UnknownNamespaces: s.count.unknownNamespaces.Load(),
		Violations:        s.count.violations.Load(),

		Limited: map[string]uint64{"connections": e.Full, "events": s.count.limitedEvents.Load(), "rooms": s.count.limitedRooms.Load()},
	}
	for i, name := range [2]string{Polling, WebSocket} {
		t := TransportStats{
			Name: name, Open: e.Open[i], Opened: e.Opened[i], Handshakes: e.Handshakes[i],
			BytesReceived: e.BytesIn[i], BytesSent: e.BytesOut[i], Deliveries: e.Deliveries[i], Flushes: e.Flushes[i],
			Closed: make(map[Reason]uint64, len(e.Closed[i])),
		}
		for reason, n := range e.Closed[i] {
			t.Closed[Reason(reason)] = n
		}
		st.Transports = append(st.Transports, t)
	}
	st.Namespaces = s.namespaceStats()
	s.clusterStats(&st)
	if a, ok := s.options.Adapter.(adapter.Counted); ok {
		counted := a.Stats()
		st.Adapter = &counted
	}
	return st
}

func (s *Server) namespaceStats() []NamespaceStats {
	list := s.list()
	var out []NamespaceStats
	for i, n := range list {
		st := n.stats()
		if i < maxNamedNamespaces {
			out = append(out, st)
			continue
		}
		if i == maxNamedNamespaces {
			st.Name = "other"
			out = append(out, st)
			continue
		}
		out[maxNamedNamespaces].add(st)
	}
	return out
}

func (n *Namespace) stats() NamespaceStats {
	c := &n.count
	st := NamespaceStats{
		Name: n.name, Sockets: int64(n.Len()), Rooms: int64(n.rooms.Rooms()),
		EventsReceived: c.events.Load(), Emits: c.emits.Load(), Acks: c.acks.Load(),
		RoomJoins: c.joins.Load(), RoomLeaves: c.leaves.Load(),
		Connects:    map[string]uint64{"ok": c.connected.Load(), "middleware": c.refused.Load()},
		Disconnects: make(map[Reason]uint64),
		Broadcasts:  make(map[BroadcastKey]uint64),
		Recipients:  make(map[string]uint64),
	}
	for o, origin := range originNames {
		st.Recipients[origin] = c.recipients[o].Load()
		for i, scope := range scopeNames {
			st.Broadcasts[BroadcastKey{origin, scope}] = c.broadcasts[o][i].Load()
		}
	}
	if n.recovery != nil {
		st.Recoveries, st.Sessions = n.recovery.stats()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(st.Disconnects, c.disconnectedByReason)
	return st
}

func (a *NamespaceStats) add(b NamespaceStats) {
	a.Sockets += b.Sockets
	a.Rooms += b.Rooms
	a.EventsReceived += b.EventsReceived
	a.Emits += b.Emits
	a.Acks += b.Acks
	a.RoomJoins += b.RoomJoins
	a.RoomLeaves += b.RoomLeaves
	a.Sessions += b.Sessions
	if a.Recoveries == nil {
		a.Recoveries = make(map[string]uint64)
	}
	addCounts(a.Recoveries, b.Recoveries)
	addCounts(a.Connects, b.Connects)
	addCounts(a.Disconnects, b.Disconnects)
	addCounts(a.Broadcasts, b.Broadcasts)
	addCounts(a.Recipients, b.Recipients)
}

func addCounts[K comparable](a, b map[K]uint64) {
	for k, n := range b {
		a[k] += n
	}
}
