//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// spareDescriptors are those that are not connections: pollers, pipes, files.
const spareDescriptors = 100

// counters are totals of a swarm, read while it runs.
type counters struct {
	delivered, damaged, duplicated, reordered, foreign atomic.Int64
	pings, disconnected                                atomic.Int64
}

// A swarm is many clients served by few loops.
type swarm struct {
	codec   *codec
	senders int
	targets []target
	clients []*client
	loops   []*loop
	epoch   time.Time
	count   counters

	measureFrom atomic.Int64 // messages meant for later than this, since epoch, are measured

	stopping atomic.Bool
	wg       sync.WaitGroup
	failure  errorOnce
}

// A loop serves its share of the clients.
type loop struct {
	poller     *poller
	own, other histogram // latencies of messages from the client's own node and from others
	busy       atomic.Int64
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
func newSwarm(targets []target, clients, loops, senders int, event string, size int) (*swarm, error) {
	if err := checkDescriptors(clients); err != nil {
		return nil, err
	}
	codec, err := newCodec(event, rand.Uint32(), size)
	if err != nil {
		return nil, err
	}
	s := &swarm{codec: codec, senders: senders, targets: targets, epoch: time.Now()}
	s.measureFrom.Store(math.MaxInt64)
	for i := range clients {
		s.clients = append(s.clients, &client{
			number: i, node: i % len(targets), swarm: s, fd: -1,
			ready: make(chan error, 1), streams: make([]stream, senders),
		})
	}
	for range loops {
		p, err := newPoller()
		if err != nil {
			s.close()
			return nil, err
		}
		s.loops = append(s.loops, &loop{poller: p})
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

// nodeOfSender tells which node a sender is connected to: senders are the
// first clients.
func (s *swarm) nodeOfSender(sender int) int { return sender % len(s.targets) }

func (s *swarm) lose(err error) {
	s.count.disconnected.Add(1)
	s.failure.set(fmt.Errorf("disconnected: %w", err))
}

// serve runs one loop until the swarm is closed.
func (s *swarm) serve(l *loop) {
	events := make([]syscall.EpollEvent, 512)
	buf := make([]byte, 64<<10)
	for !s.stopping.Load() {
		n, err := l.poller.wait(events, 100*time.Millisecond)
		if err != nil {
			s.failure.set(err)
			return
		}
		start := time.Now()
		for _, e := range events[:n] {
			s.clients[e.Fd].handle(e.Events, buf)
		}
		l.busy.Add(int64(time.Since(start)))
	}
}

// connect connects every client, at most parallel at a time, and returns how
// many failed and the first reason.
func (s *swarm) connect(ctx context.Context, parallel int, timeout time.Duration) (failed int, first error) {
	var (
		wg     sync.WaitGroup
		fails  atomic.Int64
		reason errorOnce
		todo   = make(chan *client)
	)
	for range parallel {
		wg.Go(func() {
			for c := range todo {
				if err := s.join(ctx, c, timeout); err != nil {
					fails.Add(1)
					reason.set(err)
				}
			}
		})
	}
	for _, c := range s.clients {
		todo <- c
	}
	close(todo)
	wg.Wait()
	return int(fails.Load()), reason.get()
}

// join connects one client and waits until it is in the namespace.
func (s *swarm) join(ctx context.Context, c *client, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errors.New("no answer to CONNECT in time"))
	defer cancel()
	fd, read, err := dial(ctx, s.targets[c.node])
	if err != nil {
		return err
	}
	if err := c.attach(fd, s.loops[c.number%len(s.loops)].poller, read); err != nil {
		return err
	}
	select {
	case err := <-c.ready:
		return err
	case <-ctx.Done():
		c.close()
		return context.Cause(ctx)
	}
}

// close ends the loops and the connections. Afterwards the histograms and
// streams may be read.
func (s *swarm) close() {
	s.stopping.Store(true)
	s.wg.Wait()
	for _, c := range s.clients {
		c.close()
	}
	for _, l := range s.loops {
		l.poller.close()
	}
}

// lost counts what the clients that were connected did not get of the messages
// that each sender sent. s is closed.
func (s *swarm) lost(sent []int) int {
	total := 0
	for _, c := range s.clients {
		if !c.joined {
			continue
		}
		for i := range c.streams {
			total += c.streams[i].lost(sent[i])
		}
	}
	return total
}
