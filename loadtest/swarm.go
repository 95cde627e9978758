//go:build linux

package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/chorus/internal/epoll"
)

// spareDescriptors are those that are not connections: pollers, pipes, files.
const spareDescriptors = 100

// counters are what a loop has counted, read while it runs.
type counters struct {
	delivered, damaged, strayed, duplicated, reordered atomic.Int64
	joined, acks, pings, disconnected, stalledClosed   atomic.Int64
}

// totals are the counters of all loops.
type totals struct {
	delivered, damaged, strayed, duplicated, reordered int64
	joined, acks, pings, disconnected, stalledClosed   int64
}

// A swarm is many clients served by few loops.
type swarm struct {
	crowd   crowd
	codec   *codec
	targets []target
	clients []*client
	loops   []*loop
	epoch   time.Time

	// echo, if not nil, is called when a message came back to its sender, which is locked. Set it before the first
	// client connects.
	echo func(sender *client, m message)

	// timed, if not nil, gets the latency of what a client heard while messages are measured, instead of the loop's
	// histograms; ended, when a connection ended, says whether that was to be expected. The client is locked.
	timed func(c *client, m message, latency int64)
	ended func(c *client) bool

	watched   int       // clients, the first, whose pings are timed; set it before the first connects
	heartbeat heartbeat // of the servers

	measureFrom atomic.Int64 // messages meant for later than this, since epoch, are measured

	stopping atomic.Bool
	wg       sync.WaitGroup
	failure  errorOnce
}

// A loop serves its share of the clients.
type loop struct {
	poller     *epoll.Set
	count      counters
	own, other histogram // latencies of messages from the client's own node and from others
	busy       atomic.Int64
}

// watch chooses what is reported of a connection, by its number: what arrives and, if writes is set, room for writing.
func (l *loop) watch(op, fd, number int, writes bool) error {
	events := uint32(syscall.EPOLLIN)
	if writes {
		events |= syscall.EPOLLOUT
	}
	return l.poller.Control(op, fd, int32(number), events)
}

func (l *loop) latency(own bool) *histogram {
	if own {
		return &l.own
	}
	return &l.other
}

// errorOnce keeps the first error.
type errorOnce struct{ p atomic.Pointer[error] }

func (e *errorOnce) set(err error) { e.p.CompareAndSwap(nil, &err) }

func (e *errorOnce) get() error {
	if p := e.p.Load(); p != nil {
		return *p
	}
	return nil
}

// newSwarm starts the loops. Nothing is connected yet; close ends them.
func newSwarm(targets []target, loops int, c crowd) (*swarm, error) {
	if err := checkDescriptors(c.clients); err != nil {
		return nil, err
	}
	codec, err := newCodec(c.event, rand.Uint32(), c.size, c.members > 0)
	if err != nil {
		return nil, err
	}
	s := &swarm{crowd: c, codec: codec, targets: targets, epoch: time.Now()}
	s.measureFrom.Store(math.MaxInt64)
	for range loops {
		p, err := epoll.New()
		if err != nil {
			s.close()
			return nil, err
		}
		s.loops = append(s.loops, &loop{poller: p})
	}
	for i := range c.clients {
		first, n := c.heard(i)
		s.clients = append(s.clients, &client{
			number: i, node: i % len(targets), via: -1, swarm: s, loop: s.loops[i%loops], fd: -1, stalls: c.stalls(i),
			ready: make(chan error, 1), first: first, streams: make([]stream, n),
		})
	}
	for _, l := range s.loops {
		s.wg.Go(func() { s.serve(l) })
	}
	return s, nil
}

func checkDescriptors(clients int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	if need := uint64(clients + spareDescriptors); need > limit.Cur {
		return fmt.Errorf("--clients %d: needs %d descriptors, the limit (ulimit -n) is %d", clients, need, limit.Cur)
	}
	return nil
}

func (s *swarm) now() time.Duration { return time.Since(s.epoch) }

// total adds up what the loops have counted so far.
func (s *swarm) total() (t totals) {
	for _, l := range s.loops {
		t.delivered += l.count.delivered.Load()
		t.damaged += l.count.damaged.Load()
		t.strayed += l.count.strayed.Load()
		t.duplicated += l.count.duplicated.Load()
		t.reordered += l.count.reordered.Load()
		t.joined += l.count.joined.Load()
		t.acks += l.count.acks.Load()
		t.pings += l.count.pings.Load()
		t.disconnected += l.count.disconnected.Load()
		t.stalledClosed += l.count.stalledClosed.Load()
	}
	return t
}

// busy returns how long the busiest loop has worked.
func (s *swarm) busy() (most time.Duration) {
	for _, l := range s.loops {
		most = max(most, time.Duration(l.busy.Load()))
	}
	return most
}

// serve runs one loop until the swarm is closed.
func (s *swarm) serve(l *loop) {
	events := make([]syscall.EpollEvent, 512)
	buf := make([]byte, 64<<10)
	for !s.stopping.Load() {
		n := l.poller.Wait(events)
		start := time.Now()
		for _, e := range events[:n] {
			if e.Fd != epoll.Woken { // by close
				s.clients[e.Fd].handle(e.Events, buf)
			}
		}
		l.busy.Add(int64(time.Since(start)))
	}
}

// close ends the loops and the connections. Afterwards the histograms and
// streams may be read.
func (s *swarm) close() {
	s.stopping.Store(true)
	for _, l := range s.loops {
		l.poller.Wake()
	}
	s.wg.Wait()
	for _, c := range s.clients {
		c.close()
	}
	for _, l := range s.loops {
		l.poller.Close()
	}
}

// lost counts what the clients that were connected, and read, did not get of
// the messages that each sender sent. s is closed.
func (s *swarm) lost(sent []int) int {
	total := 0
	for _, c := range s.clients {
		if !c.joined || c.stalls {
			continue
		}
		for i := range c.streams {
			total += c.streams[i].lost(sent[c.first+i])
		}
	}
	return total
}

// expected counts what the clients that were connected, and read, are to get
// of the messages that each sender sent.
func (s *swarm) expected(sent []int) (n int64) {
	for _, c := range s.clients {
		c.mu.Lock()
		hears := c.joined && !c.stalls
		c.mu.Unlock()
		for i := 0; hears && i < len(c.streams); i++ {
			n += int64(sent[c.first+i])
		}
	}
	return n
}

// stall lets those clients that are to stall read no more.
func (s *swarm) stall() error { return s.eachStalled((*client).pauseReading) }

// resume lets them read again, so that what the server did to them is seen.
func (s *swarm) resume() error { return s.eachStalled((*client).resumeReading) }

func (s *swarm) eachStalled(do func(*client) error) error {
	for _, c := range s.clients[len(s.clients)-s.crowd.stalled:] {
		if err := do(c); err != nil {
			return err
		}
	}
	return nil
}
