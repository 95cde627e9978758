package socketio

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

const (
	// maxNamedNamespaces bounds Stats.Namespaces: those beyond are counted together.
	maxNamedNamespaces = 31
	// maxCountedName bounds their names, in bytes: clients choose those of dynamic namespaces, and every figure repeats them.
	maxCountedName = 128
)

// otherNamespaces is their name, which no namespace can have.
const otherNamespaces = "other"

// NamespaceStats are the figures of one namespace.
type NamespaceStats struct {
	Name           string
	Sockets        int64
	Rooms          int64             // rooms with members, own ids not counted
	Connects       map[string]uint64 // by result: ok, middleware
	Disconnects    map[Reason]uint64
	EventsReceived uint64
	Emits          uint64            // events sent to single sockets
	Acks           uint64            // acknowledgements sent
	Asked          map[string]uint64 // acknowledgements that clients owed, by result: ok, timeout, disconnected
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

// namespaceCounters are those of one name: of a namespace, also when it is removed and made again, or of all that came
// too late to have a name of their own. The origins, scopes and results are indexes into their names.
type namespaceCounters struct {
	name                 string // of the namespace, or other
	events, emits, acks  atomic.Uint64
	connected, refused   atomic.Uint64
	joins, leaves        atomic.Uint64
	broadcasts           [2][3]atomic.Uint64
	recipients           [2]atomic.Uint64
	asked                [3]atomic.Uint64
	mu                   sync.Mutex
	disconnectedByReason map[Reason]uint64
	recoveriesByResult   map[string]uint64
}

// Results of an acknowledgement that a client owes, as indexes into ackResultNames.
const (
	ackOK = iota
	ackTimeout
	ackDisconnected
)

var (
	originNames = [2]string{OriginLocal, OriginRemote}
	scopeNames  = [3]string{"all", "rooms", "except"}

	ackResultNames = [3]string{"ok", "timeout", "disconnected"}
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
	c.disconnectedByReason[r]++
}

func (c *namespaceCounters) recovery(result string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recoveriesByResult[result] += uint64(n)
}

// countersLocked returns the counters for the name of a namespace.
func (s *Server) countersLocked(name string) *namespaceCounters {
	if len(name) > maxCountedName || !utf8.ValidString(name) { // the latter is no label
		name = otherNamespaces
	}
	for _, wanted := range []string{name, otherNamespaces} {
		for _, c := range s.counted {
			if c.name == wanted {
				return c
			}
		}
		if name = wanted; len(s.counted) < maxNamedNamespaces {
			break
		}
	}
	c := &namespaceCounters{
		name: name, disconnectedByReason: make(map[Reason]uint64), recoveriesByResult: make(map[string]uint64),
	}
	s.counted = append(s.counted, c)
	return c
}

func (s *Server) namespaceStats() []NamespaceStats {
	s.mu.RLock()
	counted := slices.Clone(s.counted)
	s.mu.RUnlock()
	out := make([]NamespaceStats, len(counted))
	index := make(map[*namespaceCounters]int, len(counted))
	for i, c := range counted {
		out[i], index[c] = c.stats(), i
	}
	for _, n := range s.list() {
		i, known := index[n.count]
		if !known { // made meanwhile
			continue
		}
		st := &out[i]
		st.Sockets += int64(n.Len())
		st.Rooms += int64(n.rooms.Rooms())
		if n.recovery != nil {
			st.Sessions += n.recovery.kept()
		}
	}
	return out
}

// stats returns what was counted.
func (c *namespaceCounters) stats() NamespaceStats {
	st := NamespaceStats{
		Name: c.name, EventsReceived: c.events.Load(), Emits: c.emits.Load(), Acks: c.acks.Load(),
		RoomJoins: c.joins.Load(), RoomLeaves: c.leaves.Load(),
		Connects:   map[string]uint64{"ok": c.connected.Load(), "middleware": c.refused.Load()},
		Broadcasts: make(map[BroadcastKey]uint64),
		Recipients: make(map[string]uint64),
		Asked:      make(map[string]uint64),
	}
	for o, origin := range originNames {
		st.Recipients[origin] = c.recipients[o].Load()
		for i, scope := range scopeNames {
			st.Broadcasts[BroadcastKey{origin, scope}] = c.broadcasts[o][i].Load()
		}
	}
	for i, result := range ackResultNames {
		st.Asked[result] = c.asked[i].Load()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	st.Disconnects, st.Recoveries = maps.Clone(c.disconnectedByReason), maps.Clone(c.recoveriesByResult)
	return st
}
