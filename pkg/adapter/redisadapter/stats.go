package redisadapter

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"example.com/chorus/pkg/adapter"
)

// Kinds of channels and results of received messages, as they are named in adapter.Stats.
type (
	channelKind int
	result      int
)

const (
	kindBroadcast channelKind = iota
	kindRoom
	kindRequest
	kindResponse
	kindStream
	kindMembership
	kindSession
)

const (
	resultDelivered result = iota
	resultOwn
	resultNoMatch
	resultMalformed
	resultRepeated
)

var (
	kindNames   = [...]string{"broadcast", "room", "request", "response", "stream", "membership", "session"}
	resultNames = [...]string{"delivered", "own", "no_match", "malformed", "repeated"}
)

// counters are the totals of an adapter; messages cost one atomic addition each.
type counters struct {
	published [len(kindNames)]atomic.Uint64
	received  [len(kindNames)][len(resultNames)]atomic.Uint64
	queueFull atomic.Uint64
	strangers atomic.Uint64

	mu            sync.Mutex // guards the rare ones
	requests      map[string]uint64
	publishErrors map[string]uint64
	gaps          map[string]uint64
	reconnects    map[adapter.ReconnectKey]uint64
}

func newCounters() *counters {
	return &counters{
		requests: map[string]uint64{}, gaps: map[string]uint64{}, publishErrors: map[string]uint64{}, reconnects: map[adapter.ReconnectKey]uint64{},
	}
}

func (c *counters) gap(cause string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gaps[cause]++
}

func (c *counters) request(outcome string) {
	c.mu.Lock()
	c.requests[outcome]++
	c.mu.Unlock()
}

func (c *counters) publishError(kind string, n int) {
	c.mu.Lock()
	c.publishErrors[kind] += uint64(n)
	c.mu.Unlock()
}

func (c *counters) reconnect(role adapter.Role, cause string) {
	c.mu.Lock()
	c.reconnects[adapter.ReconnectKey{Role: role, Cause: cause}]++
	c.mu.Unlock()
}

// stats returns the totals; the caller adds what is no counter.
func (c *counters) stats() adapter.Stats {
	s := adapter.Stats{
		Published: map[string]uint64{},
		Received:  map[adapter.ReceivedKey]uint64{},
		Dropped:   map[string]uint64{},
	}
	for k := range c.published {
		if n := c.published[k].Load(); n > 0 {
			s.Published[kindNames[k]] = n
		}
		for r := range c.received[k] {
			if n := c.received[k][r].Load(); n > 0 {
				s.Received[adapter.ReceivedKey{Kind: kindNames[k], Result: resultNames[r]}] = n
			}
		}
	}
	if n := c.queueFull.Load(); n > 0 {
		s.Dropped["queue_full"] = n
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Strangers = c.strangers.Load()
	s.Requests = maps.Clone(c.requests)
	s.PublishErrors = maps.Clone(c.publishErrors)
	s.Reconnects = maps.Clone(c.reconnects)
	s.Gaps = maps.Clone(c.gaps)
	return s
}

// traces are those who are told what happens.
type traces struct {
	mu   sync.Mutex // of add; readers take the list as it is
	list atomic.Pointer[[]*adapter.Trace]
}

func (t *traces) add(tr *adapter.Trace) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := append([]*adapter.Trace{}, t.all()...)
	list = append(list, tr)
	t.list.Store(&list)
}

func (t *traces) all() []*adapter.Trace {
	if p := t.list.Load(); p != nil {
		return *p
	}
	return nil
}

func (t *traces) published(n int, wait time.Duration, err error) {
	for _, tr := range t.all() {
		if tr.Published != nil {
			tr.Published(n, wait, err)
		}
	}
}

func (t *traces) gap(d time.Duration) {
	for _, tr := range t.all() {
		if tr.Gap != nil {
			tr.Gap(d)
		}
	}
}

func (t *traces) reconnected(role adapter.Role, cause string) {
	for _, tr := range t.all() {
		if tr.Reconnected != nil {
			tr.Reconnected(role, cause)
		}
	}
}
