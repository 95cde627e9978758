package forward

import "sync/atomic"

// Results of requests that were to be passed on.
const (
	resultOK          = "ok"          // the owner answered, or took the WebSocket
	resultUnreachable = "unreachable" // the owner could not be reached, or was lost before it had answered
	resultRefused     = "refused"     // the owner refused the forward: secrets, clocks or addresses do not fit
	resultGone        = "gone"        // the client went away before
)

// Reasons for which forwards are refused.
const (
	refusedOutside   = "outside"   // the header came from a client: it was taken off, the request served
	refusedUnsigned  = "unsigned"  // no header, on the internal listener
	refusedMalformed = "malformed" // not a header of ours
	refusedSignature = "signature" // forged, or the nodes have different secrets
	refusedStale     = "stale"     // old, or the nodes' clocks are seconds apart
	refusedReplayed  = "replayed"  // came before
	refusedForeign   = "foreign"   // for another node's session: there is only one hop
	refusedNoSecret  = "no_secret" // this node has no secret yet
)

var (
	results = []string{resultOK, resultUnreachable, resultRefused, resultGone}
	reasons = []string{refusedOutside, refusedUnsigned, refusedMalformed, refusedSignature, refusedStale, refusedReplayed, refusedForeign,
		refusedNoSecret}
)

// Results returns the keys of Stats.Forwarded.
func Results() []string { return append([]string(nil), results...) }

// Reasons returns the keys of Stats.Refused.
func Reasons() []string { return append([]string(nil), reasons...) }

// Stats are the figures of a Forwarder since it was made.
type Stats struct {
	// Forwarded counts the requests that were for sessions of other nodes, by how that ended: ok, unreachable, refused or gone. A
	// relayed WebSocket counts once, when the owner has taken it.
	Forwarded map[string]uint64
	// Refused counts what was not believed, by reason: outside, unsigned, malformed, signature, stale, replayed, foreign or
	// no_secret. Those with the reason outside were served like others, without the header.
	Refused map[string]uint64
	// Relayed is the number of WebSockets that are relayed now. If it keeps growing, the balancer does not route by tag.
	Relayed int
	// Reachable is the number of other nodes to which requests can be passed on.
	Reachable int
}

// counters count by the keys of a closed list.
type counters map[string]*atomic.Uint64

func newCounters(keys []string) counters {
	c := make(counters, len(keys))
	for _, k := range keys {
		c[k] = new(atomic.Uint64)
	}
	return c
}

func (c counters) add(key string) { c[key].Add(1) }

func (c counters) read() map[string]uint64 {
	m := make(map[string]uint64, len(c))
	for k, n := range c {
		m[k] = n.Load()
	}
	return m
}

// Stats returns the figures. It may be called at any time.
func (f *Forwarder) Stats() Stats {
	s := Stats{Forwarded: f.forwarded.read(), Refused: f.refused.read(), Reachable: len(*f.byTag.Load())}
	f.mu.Lock()
	defer f.mu.Unlock()
	s.Relayed = len(f.relays)
	return s
}
