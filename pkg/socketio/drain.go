package socketio

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"example.com/chorus/internal/engineio"
	"example.com/chorus/pkg/adapter"
)

// DrainOptions say how Server.Drain gives connections up. nil and the zero value work.
type DrainOptions struct {
	// LameDuck is how long newcomers are refused before the first connection is closed: longer than a balancer takes to
	// see that the server is not ready. Default none.
	LameDuck time.Duration
	// Spread is the time over which connections are closed, less if the context ends before, or if they are fewer than ten for
	// each second. Default 20 s.
	Spread time.Duration
	// Rate is how many connections are closed in a second, instead of what Spread asks for. Default from Spread.
	Rate int
	// Relays are connections of other nodes' clients that pass through this one and end with it: a *forward.Forwarder.
	// They are closed at the same pace. Default none.
	Relays Relays
	// OnProgress is called by Drain when a phase begins, and each second. It must return quickly. Default none.
	OnProgress func(DrainProgress)
}

// Relays are connections that pass through a node. A *forward.Forwarder is one. Its methods are safe for concurrent use.
type Relays interface {
	// Relays returns how many there are, without those that are being closed.
	Relays() int
	// HandOver begins to close n of them, or all, at random, and returns how many these are. From the first call on, also
	// with 0, no new ones are made.
	HandOver(n int) int
}

// DrainPhase is what Server.Drain is doing.
type DrainPhase string

// The phases, in their order; a drain may go from DrainClosing to DrainWaiting and back.
const (
	DrainLameDuck DrainPhase = "lame_duck" // newcomers are refused, connections stay
	DrainWaiting  DrainPhase = "waiting"   // no other node is there to take the clients
	DrainClosing  DrainPhase = "closing"   // connections are closed
	DrainDone     DrainPhase = "done"      // none is left
)

// DrainProgress is how far a drain has come.
type DrainProgress struct {
	Phase  DrainPhase `json:"phase"`
	Open   int        `json:"open"`            // connections that are left, relayed ones too
	Closed int        `json:"closed"`          // that were handed over
	Rate   float64    `json:"rate"`            // closed per second, by the pace of now
	Takers int        `json:"takers"`          // other nodes that take clients
	Cut    int        `json:"cut,omitempty"`   // that are left at the end of the context
	Error  string     `json:"error,omitempty"` // why the drain ended before all connections did
}

func (o *DrainOptions) withDefaults() (DrainOptions, error) {
	var c DrainOptions
	if o != nil {
		c = *o
	}
	switch {
	case c.LameDuck < 0:
		return c, fmt.Errorf("socketio: DrainOptions.LameDuck is %v, must not be negative", c.LameDuck)
	case c.Spread < 0:
		return c, fmt.Errorf("socketio: DrainOptions.Spread is %v, must not be negative", c.Spread)
	case c.Rate < 0:
		return c, fmt.Errorf("socketio: DrainOptions.Rate is %d, must not be negative", c.Rate)
	}
	if c.Spread == 0 {
		c.Spread = 20 * time.Second
	}
	return c, nil
}

// Drain moves the clients to the other nodes before this one stops. It refuses new handshakes with 503 from now on, which
// sends them elsewhere, and tells the other nodes; everything else goes on. After LameDuck it closes the connections in random
// order, evenly over Spread: their sessions are saved for Options.Recovery, then the transport is closed without a DISCONNECT
// packet, so that official clients come back by themselves. It returns nil when no connection is left; Shutdown is still to be called.
//
// It closes no more in a second than half of what the other nodes admit, if there is an Options.MaxHandshakesPerSecond, which is taken
// to be theirs too; the other half is for newcomers. Nodes that drain share that, and take nobody. While no node is there
// to take clients, they stay until ctx is about to end, since they would have nowhere to go; with an adapter that has no other nodes, or
// without a deadline, there is nothing to wait for.
//
// When ctx ends first, the error says how many connections are left: Shutdown cuts them. A second call waits for the first one. A
// drain that ended early may be begun again, and nothing makes a server take newcomers again.
func (s *Server) Drain(ctx context.Context, o *DrainOptions) error {
	options, err := o.withDefaults()
	if err != nil {
		return err
	}
	s.refuseHandshakes()
	d, first, err := s.beginDrain(options)
	if err != nil {
		return err
	}
	if !first {
		select {
		case <-d.done:
			return d.err
		case <-ctx.Done():
			return fmt.Errorf("socketio: drain: %w", context.Cause(ctx))
		}
	}
	d.err = d.run(ctx)
	s.mu.Lock()
	s.drain = nil
	s.mu.Unlock()
	close(d.done)
	return d.err
}

// refuseHandshakes begins the end, also for the other nodes.
func (s *Server) refuseHandshakes() {
	s.draining.Store(true)
	if a, ok := s.options.Adapter.(adapter.Drainer); ok {
		a.Drain()
	}
}

// beginDrain returns the drain that is under way, or a first one.
func (s *Server) beginDrain(o DrainOptions) (d *drain, first bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false, ErrServerClosed
	}
	if s.drain != nil {
		return s.drain, false, nil
	}
	s.drain = &drain{server: s, DrainOptions: o, done: make(chan struct{})}
	return s.drain, true, nil
}

func (s *Server) isClosed() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.closed
}

const (
	// drainTick is how often some connections are closed: often enough to be even, rarely enough to cost nothing.
	drainTick = 100 * time.Millisecond
	// drainReport is how often progress is told.
	drainReport = time.Second
	// partingLimit is how long handlers and the saving of a session may hold the end of a connection up.
	partingLimit = 5 * time.Second
)

// drain is one drain. Its fields but done and err belong to run.
type drain struct {
	DrainOptions
	server *Server
	done   chan struct{}
	err    error // set before done is closed

	queue    []*engineio.Session // in the order in which they are closed; filled anew with what is left
	closed   int
	progress DrainProgress
	told     time.Time
}

// run does all of it.
func (d *drain) run(ctx context.Context) error {
	if d.Relays != nil {
		d.Relays.HandOver(0)
	}
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	asking, stop := context.WithCancel(ctx)
	takers := takers{server: d.server}
	defer takers.asking.Wait()
	defer stop()
	pace := newDrainPace(ctx, d, time.Now())
	for {
		open := d.open()
		now := time.Now()
		takers.look(asking, now)
		phase, rate := pace.next(now, open, &takers)
		if (phase != DrainLameDuck || d.server.isClosed()) && open == 0 && len(d.server.engine.Sessions()) == 0 {
			d.tell(now, DrainProgress{Phase: DrainDone, Takers: takers.free})
			return nil
		}
		d.tell(now, DrainProgress{Phase: phase, Rate: min(rate, float64(open)/drainTick.Seconds()), Takers: takers.free})
		if phase != DrainLameDuck {
			d.close(pace.take(now, rate))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			err := context.Cause(ctx)
			left := d.open()
			d.told = time.Time{}
			d.tell(time.Now(), DrainProgress{Phase: phase, Takers: takers.free, Cut: left, Error: err.Error()})
			return fmt.Errorf("socketio: drain: %d connections are left: %w", left, err)
		}
	}
}

// open counts the connections that are not being closed yet.
func (d *drain) open() (n int) {
	n = d.server.Connections()
	if d.Relays != nil {
		n += d.Relays.Relays()
	}
	return n
}

// close begins to close n connections, taken at random from the own and the relayed ones.
func (d *drain) close(n int) {
	for range n {
		relays := 0
		if d.Relays != nil {
			relays = d.Relays.Relays()
		}
		if len(d.queue) == 0 {
			d.fill()
		}
		relayed := relays > 0 && rand.IntN(relays+len(d.queue)) < relays && d.Relays.HandOver(1) > 0
		if !relayed && !d.closeOwn() && (relays == 0 || d.Relays.HandOver(1) == 0) {
			return
		}
		d.closed++
	}
}

// fill puts the own connections into a random order.
func (d *drain) fill() {
	d.queue = d.server.engine.Sessions()
	rand.Shuffle(len(d.queue), func(i, j int) { d.queue[i], d.queue[j] = d.queue[j], d.queue[i] })
}

// closeOwn closes the next connection and reports whether there was one. Those that end already are passed over, and one
// that is being opened has no handler yet: it comes with the next order.
func (d *drain) closeOwn() bool {
	for len(d.queue) > 0 {
		last := len(d.queue) - 1
		session := d.queue[last]
		d.queue[last] = nil
		d.queue = d.queue[:last]
		if c, ok := session.Handler().(*connection); ok && c.handOver() {
			return true
		}
	}
	return false
}

// tell reports progress when the phase has changed, or a second is over.
func (d *drain) tell(now time.Time, p DrainProgress) {
	if d.OnProgress == nil || p.Phase == d.progress.Phase && now.Sub(d.told) < drainReport {
		return
	}
	p.Open, p.Closed = d.open(), d.closed
	d.progress, d.told = p, now
	d.OnProgress(p)
}

// takers are the other nodes, by what the cluster knows of them.
type takers struct {
	server   *Server
	free     int // take clients
	draining int // do not, as this one

	unnamed int // do not tell their name, as Node's servers, and are taken to be free
	asked   time.Time
	asking  sync.WaitGroup
	answer  chan int // of unnamed nodes; nil while nobody is asked
}

// unnamedInterval is how often servers without a name are counted, for which Redis must be asked.
const unnamedInterval = 2 * time.Second

// look takes what is known now, without waiting.
func (t *takers) look(ctx context.Context, now time.Time) {
	t.free, t.draining = 0, 0
	if t.server.alone {
		return
	}
	members, named := t.server.options.Adapter.(adapter.Member)
	if !named { // nobody knows; a cluster was configured, so there is one
		t.free = 1
		return
	}
	for _, n := range members.Members() {
		if n.Draining {
			t.draining++
		} else {
			t.free++
		}
	}
	select {
	case t.unnamed = <-t.answer:
		t.answer = nil
	default:
	}
	if t.answer == nil && now.Sub(t.asked) >= unnamedInterval {
		t.asked, t.answer = now, make(chan int, 1)
		t.asking.Go(func() { t.answer <- t.server.unnamed(ctx) })
	}
	t.free += t.unnamed
}

// unnamed counts the servers of the cluster that do not tell their name; none if the cluster cannot be asked.
func (s *Server) unnamed(ctx context.Context) (n int) {
	ctx, cancel := context.WithTimeout(ctx, unnamedInterval)
	defer cancel()
	nodes, err := s.Nodes(ctx)
	if err != nil {
		return 0
	}
	for _, node := range nodes[min(1, len(nodes)):] {
		if node.ID == "" {
			n++
		}
	}
	return n
}
