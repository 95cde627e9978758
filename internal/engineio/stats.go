package engineio

import (
	"maps"
	"sync"
	"sync/atomic"

	"example.com/chorus/internal/histogram"
	"example.com/chorus/internal/netloop"
	"example.com/chorus/internal/outbox"
)

// Stats are totals since the start and the state now. Index 0 is polling, 1 is websocket.
type Stats struct {
	Open                    [2]int64
	Connections             [2]int64          // of WebSockets and candidates: served the portable way, and on the fast path
	Opened                  [2]uint64         // sessions by their first transport
	Upgrades                map[string]uint64 // by result: ok, timeout, probe_failed, closed
	Closed                  [2]map[Reason]uint64
	Handshakes              [2]map[string]uint64 // by result: ok, bad_request, unknown_transport, forbidden, cors, limit, draining
	Rejected                map[string]uint64    // requests refused: unknown_sid, wrong_node, bad_method, mismatch, too_large, overlap
	BytesIn                 [2]uint64
	BytesOut                [2]uint64
	Deliveries              [2]uint64                 // messages handed to the kernel or to a polling answer
	Flushes                 [2]uint64                 // writes or polling answers that carried them
	Dropped                 map[string]uint64         // frames that were not sent: volatile, queue_full, closed; messages that were not taken: too_large
	QueueBytes, QueueFrames int64                     // waiting in all outboxes
	MessagesIn              []*histogram.Histogram    // bytes of messages received; of netloop.PacketSizes
	PacketsOut              []*histogram.Histogram    // bytes of packets that were sent with a message; of netloop.PacketSizes
	PerFlush                [2][]*histogram.Histogram // packets per flush; of netloop.FlushSizes
	Full                    uint64                    // handshakes refused because of MaxSessions, with the result limit
}

// stripe has what a part of the sessions share, so that not all of them do.
type stripe struct {
	drops      outbox.Drops
	bytesIn    [2]atomic.Uint64
	messagesIn *histogram.Histogram
	_          [128]byte
}

// totals counts what happens at most once per request or session.
type totals struct {
	open         [2]atomic.Int64
	bytesOut     atomic.Uint64 // of polling; the loop counts those of WebSockets
	deliveries   atomic.Uint64
	flushes      atomic.Uint64
	full         atomic.Uint64
	tooLarge     atomic.Uint64        // messages and bodies that were not taken
	packets      *histogram.Histogram // of polling, as perFlush
	perFlush     *histogram.Histogram
	mu           sync.Mutex // guards the rest
	openedBy     [2]uint64
	upgradesBy   map[string]uint64
	closedBy     [2]map[Reason]uint64
	handshakesBy [2]map[string]uint64
	rejectedBy   map[string]uint64
}

func (t *totals) init() {
	t.packets, t.perFlush = histogram.New(netloop.PacketSizes), histogram.New(netloop.FlushSizes)
	t.upgradesBy, t.rejectedBy = make(map[string]uint64), make(map[string]uint64)
	for i := range t.closedBy {
		t.closedBy[i], t.handshakesBy[i] = make(map[Reason]uint64), make(map[string]uint64)
	}
}

func (t *totals) opened(transport int) {
	t.open[transport].Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.openedBy[transport]++
	t.handshakesBy[transport]["ok"]++
}

func (t *totals) closed(transport int, reason Reason) {
	t.open[transport].Add(-1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closedBy[transport][reason]++
}

func (t *totals) handshake(transport int, result string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handshakesBy[transport][result]++
}

func (t *totals) upgrade(result string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.upgradesBy[result]++
}

func (t *totals) rejected(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rejectedBy[reason]++
}

// Open returns how many sessions are open by their transport, without visiting them.
func (e *Engine) Open() (n [2]int64) {
	for i := range n {
		n[i] = e.totals.open[i].Load()
	}
	return n
}

// Stats returns the engine's figures. It may be called at any time; it looks at every session, some 100 ns each.
func (e *Engine) Stats() Stats {
	var st Stats
	t := &e.totals
	t.mu.Lock()
	st.Opened = t.openedBy
	st.Upgrades, st.Rejected = maps.Clone(t.upgradesBy), maps.Clone(t.rejectedBy)
	for i := range st.Closed {
		st.Closed[i], st.Handshakes[i] = maps.Clone(t.closedBy[i]), maps.Clone(t.handshakesBy[i])
	}
	t.mu.Unlock()
	st.Open = e.Open()

	st.Full = t.full.Load()
	loop := e.loop.Stats()
	st.Connections = [2]int64{loop.Portable, loop.Fast}
	st.BytesOut = [2]uint64{t.bytesOut.Load(), loop.Bytes}
	st.Deliveries = [2]uint64{t.deliveries.Load(), loop.Deliveries}
	st.Flushes = [2]uint64{t.flushes.Load(), loop.Flushes}
	st.PacketsOut = append(loop.Packets, t.packets)
	st.PerFlush = [2][]*histogram.Histogram{{t.perFlush}, loop.PerFlush}

	st.Dropped = make(map[string]uint64, 4)
	st.Dropped["too_large"] = t.tooLarge.Load()
	for i := range e.stripes {
		s := &e.stripes[i]
		st.Dropped["volatile"] += s.drops.Volatile.Load()
		st.Dropped["queue_full"] += s.drops.QueueFull.Load()
		st.Dropped["closed"] += s.drops.Closed.Load()
		st.MessagesIn = append(st.MessagesIn, s.messagesIn)
		st.BytesIn[polling] += s.bytesIn[polling].Load()
		st.BytesIn[webSocket] += s.bytesIn[webSocket].Load()
	}

	for _, s := range e.Sessions() {
		bytes, frames := s.outbox.Len()
		st.QueueBytes += int64(bytes)
		st.QueueFrames += int64(frames)
	}
	return st
}
