package socketio

import (
	"sync/atomic"

	"example.com/chorus/internal/histogram"
	"example.com/chorus/pkg/adapter"
)

// Stats are the totals of a server since its start, and its state. Every map key is from a closed list; maps hold
// only the keys that were seen.
type Stats struct {
	Transports    []TransportStats  // polling, then websocket
	NetLoopForm   string            // how plain TCP connections are served, see Server.NetLoop
	NetLoop       map[string]int64  // WebSocket connections by how they are served: portable, fast
	Upgrades      map[string]uint64 // transport upgrades by result: ok, timeout, probe_failed, closed
	Rejected      map[string]uint64 // requests refused: unknown_sid, wrong_node, bad_method, mismatch, too_large, overlap
	Dropped       map[string]uint64 // packets that did not leave: volatile, queue_full, closed; messages that were not taken: too_large
	QueueBytes    int64             // waiting in the outboxes of all connections
	QueueMessages int64
	MessagesIn    Histogram // bytes of messages received
	PacketsOut    Histogram // bytes of packets sent, with their attachments; pings and the like are none
	// Namespaces has the first 31 that were made, by name, and all others together as "other", with those whose names have more
	// than 128 bytes or are no UTF-8. What a removed one counted stays.
	Namespaces    []NamespaceStats
	Adapter       *adapter.Stats // nil when the adapter counts nothing
	HandlerPanics uint64         // of every function of the application that the server calls: handlers, hooks, parsers
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
	Drained       uint64            // connections that Server.Drain closed
	Handshakes    map[string]uint64 // by result: ok, bad_request, unknown_transport, forbidden, cors, limit, draining
	BytesReceived uint64
	BytesSent     uint64
	Deliveries    uint64    // messages handed to the kernel or to a polling answer
	Flushes       uint64    // writes and answers that carried them
	PerFlush      Histogram // packets in each of them
}

// Histogram is the distribution of what was observed.
type Histogram struct {
	Count uint64
	Sum   float64
	// Classic has the number of observations up to each of some bounds. Bounds that are not there have none above them.
	Classic map[float64]uint64
	// Fine has the number of observations between 2^((i-1)/8) and 2^(i/8) for each i that has any; Zero is the number of
	// those up to ZeroThreshold, which are in none of them.
	Fine          map[int]int64
	Zero          uint64
	ZeroThreshold float64
}

func snapshot(parts []*histogram.Histogram) Histogram {
	return Histogram(parts[0].Snapshot(parts[1:]...))
}

// serverCounters are the server's own.
type serverCounters struct {
	panics            atomic.Uint64
	connectTimeouts   atomic.Uint64
	unknownNamespaces atomic.Uint64
	violations        atomic.Uint64
	limitedEvents     atomic.Uint64
	limitedRooms      atomic.Uint64
	drained           [2]atomic.Uint64 // by transport: polling, websocket
}

var transportNames = [2]string{Polling, WebSocket}

// Connections returns how many connections are open. Unlike Stats it visits none of them, so that it may be asked at any time, by
// anybody. Safe for concurrent use.
func (s *Server) Connections() (n int) {
	for _, open := range s.engine.Open() {
		n += int(open)
	}
	return n
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
		MessagesIn: snapshot(e.MessagesIn), PacketsOut: snapshot(e.PacketsOut),
		HandlerPanics: s.count.panics.Load(),
		Draining:      s.draining.Load(),

		ConnectTimeouts:   s.count.connectTimeouts.Load(),
		UnknownNamespaces: s.count.unknownNamespaces.Load(),
		Violations:        s.count.violations.Load(),
		Limited:           map[string]uint64{"connections": e.Full, "events": s.count.limitedEvents.Load(), "rooms": s.count.limitedRooms.Load()},
	}
	for i, name := range transportNames {
		t := TransportStats{
			Name: name, Drained: s.count.drained[i].Load(), Open: e.Open[i], Opened: e.Opened[i], Handshakes: e.Handshakes[i],
			BytesReceived: e.BytesIn[i], BytesSent: e.BytesOut[i], Deliveries: e.Deliveries[i], Flushes: e.Flushes[i],
			PerFlush: snapshot(e.PerFlush[i]),
			Closed:   make(map[Reason]uint64, len(e.Closed[i])),
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
