// Package netloop reads and writes many connections with few goroutines. On the fast path, which plain TCP
// connections on Linux take, connections are spread over shards, each of which has one goroutine that reads whatever
// has arrived and one that writes what waits in outboxes, many connections per system call where the kernel can do
// that. Other connections are portable: a goroutine reads each, and another one writes while there is something to
// write.
package netloop

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/chorus/internal/histogram"
)

// Mode chooses how connections are served.
type Mode string

// The modes. Auto, which the empty one stands for, is Fast for systems and connections that can be served so.
const (
	Auto     Mode = "auto"
	Fast     Mode = "fast" // New fails if the system cannot; connections that are no plain TCP are portable all the same
	Portable Mode = "portable"
)

// Options of a loop.
type Options struct {
	WriteTimeout time.Duration // how long a connection may take nothing before it has failed
	Linger       time.Duration // how long a finished connection may take to hang up
	Mode         Mode
	OneByOne     bool // never submit several writes with one system call
}

// Stats are totals since the start, and the connections now.
type Stats struct {
	Bytes, Deliveries, Flushes uint64
	Fast, Portable             int64                  // connections
	Packets, PerFlush          []*histogram.Histogram // of PacketSizes and FlushSizes: each loop's
}

// Loop serves connections. Close must be called to end its goroutines.
type Loop struct {
	options    Options
	shards     *shards        // nil: every connection is portable
	goroutines sync.WaitGroup // of portable connections
	portable   totals
	corks      atomic.Int32 // batches under way

	mu    sync.Mutex
	conns map[*portable]struct{} // that are read
}

// New makes a loop. A mode that the system does not have is an error.
func New(o Options) (*Loop, error) {
	l := &Loop{options: o, portable: newTotals(), conns: make(map[*portable]struct{})}
	switch o.Mode {
	case "", Auto, Fast:
		shards, err := newShards(l)
		if err != nil && o.Mode == Fast {
			return nil, fmt.Errorf("netloop: mode %s: %w", o.Mode, err)
		}
		l.shards = shards
	case Portable:
	default:
		return nil, fmt.Errorf("netloop: mode %.32q: want %s, %s or %s", o.Mode, Auto, Fast, Portable)
	}
	return l, nil
}

// Form says how plain TCP connections are served: "epoll+io_submit", "epoll" or "portable".
func (l *Loop) Form() string {
	if l.shards == nil {
		return string(Portable)
	}
	return l.shards.form()
}

// Adopt makes a connection one of the loop, which owns it from then on: c is not to be used any more. r gets what
// arrives once Conn.Read was called.
func (l *Loop) Adopt(c net.Conn, r Reader) Conn {
	if l.shards != nil {
		if fast := l.shards.adopt(c, r); fast != nil {
			return fast
		}
	}
	return newPortable(l, c, r)
}

// HangUp closes all connections at once.
func (l *Loop) HangUp() {
	l.mu.Lock()
	all := slices.Collect(maps.Keys(l.conns))
	l.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
	if l.shards != nil {
		l.shards.hangUp()
	}
}

// Batch lets what f queues for many connections leave together. f must not block.
func (l *Loop) Batch(f func()) {
	l.corks.Add(1)
	defer func() {
		l.corks.Add(-1)
		if l.shards != nil { // also while another batch is under way: there may always be one
			l.shards.uncorked()
		}
	}()
	f()
}

// Stats returns the loop's totals.
func (l *Loop) Stats() (s Stats) {
	l.mu.Lock()
	s.Portable = int64(len(l.conns))
	l.mu.Unlock()
	l.portable.addTo(&s)
	if l.shards != nil {
		l.shards.stats(&s)
	}
	return s
}

// Close ends the goroutines of the loop and waits for them. Every connection must have ended before.
func (l *Loop) Close() {
	l.goroutines.Wait()
	if l.shards != nil {
		l.shards.close()
	}
}

// totals count what leaves.
type totals struct {
	bytes, deliveries, flushes atomic.Uint64
	packets, perFlush          *histogram.Histogram
}

func (t *totals) count(bytes, deliveries, flushes int) {
	t.bytes.Add(uint64(bytes))
	t.deliveries.Add(uint64(deliveries))
	t.flushes.Add(uint64(flushes))
}

func (t *totals) addTo(s *Stats) {
	s.Bytes += t.bytes.Load()
	s.Deliveries += t.deliveries.Load()
	s.Flushes += t.flushes.Load()
	s.Packets = append(s.Packets, t.packets)
	s.PerFlush = append(s.PerFlush, t.perFlush)
}
