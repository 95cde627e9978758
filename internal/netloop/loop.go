// Package netloop writes what waits in the outboxes of many connections. Connections are spread over shards;
// each shard has a list of the connections that have something to send and one goroutine that empties it with
// writes that do not wait, many per system call where the kernel can do that. A connection that would block,
// or that is no plain TCP connection, is served by a goroutine of its own until its backlog is out.
package netloop

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a loop.
type Options struct {
	WriteTimeout time.Duration // how long a connection may take nothing before it has failed
	Linger       time.Duration // how long a finished connection may take to hang up
	OneByOne     bool          // never submit several writes with one system call
}

// Stats are totals since the start.
type Stats struct {
	Bytes, Deliveries, Flushes uint64
}

// Loop owns the shards. Close must be called to end its goroutines.
type Loop struct {
	options  Options
	shards   []*shard
	next     atomic.Uint32
	stop     chan struct{}
	flushers sync.WaitGroup
	drainers sync.WaitGroup
}

// New starts a loop with a shard for each processor that Go uses.
func New(o Options) *Loop {
	l := &Loop{options: o, stop: make(chan struct{})}
	for range runtime.GOMAXPROCS(0) {
		s := &shard{loop: l, wake: make(chan struct{}, 1), arena: make([]byte, 0, arenaSize)}
		if !o.OneByOne {
			s.submit = newBatchSubmitter()
		}
		if s.submit == nil {
			s.submit = oneByOne{}
		}
		l.shards = append(l.shards, s)
		l.flushers.Go(s.run)
	}
	return l
}

// Wrap makes a connection of the loop. Until Conn.Start it passes everything on.
func (l *Loop) Wrap(c net.Conn) *Conn {
	s := l.shards[int(l.next.Add(1))%len(l.shards)]
	return &Conn{Conn: c, shard: s, fd: prepare(c)}
}

// Stats returns the loop's totals.
func (l *Loop) Stats() (t Stats) {
	for _, s := range l.shards {
		t.Bytes += s.bytes.Load()
		t.Deliveries += s.deliveries.Load()
		t.Flushes += s.flushes.Load()
	}
	return t
}

// Close ends the goroutines of the loop and waits for them. Every connection must be closed before.
func (l *Loop) Close() {
	close(l.stop)
	l.flushers.Wait()
	l.drainers.Wait()
	for _, s := range l.shards {
		s.submit.close()
	}
}

// shard serves a part of the connections.
type shard struct {
	loop   *Loop
	wake   chan struct{}
	submit submitter

	mu          sync.Mutex
	first, last *Conn // list of connections with something to send

	// fds keeps descriptors open during a submission, so that a number that the kernel reuses never gets the
	// bytes of the connection that had it before. It is held over system calls that do not wait.
	fds sync.Mutex

	batch  []write // the rest belongs to run
	frames frames
	arena  []byte // joined frames of a batch

	_                          [64]byte // the totals are written at every flush: not beside another shard's
	bytes, deliveries, flushes atomic.Uint64
	_                          [64]byte
}

func (s *shard) run() {
	for {
		select {
		case <-s.wake:
			for c := s.dirty(); c != nil; c = s.dirty() {
				s.flush(c)
			}
		case <-s.loop.stop:
			return
		}
	}
}

// add puts a connection that is in no list at the end of the list.
func (s *shard) add(c *Conn) {
	s.mu.Lock()
	wasEmpty := s.first == nil
	if wasEmpty {
		s.first = c
	} else {
		s.last.next = c
	}
	s.last = c
	s.mu.Unlock()
	if !wasEmpty {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// dirty takes the whole list.
func (s *shard) dirty() *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.first
	s.first, s.last = nil, nil
	return c
}

func (s *shard) count(bytes, deliveries, flushes int) {
	s.bytes.Add(uint64(bytes))
	s.deliveries.Add(uint64(deliveries))
	s.flushes.Add(uint64(flushes))
}
