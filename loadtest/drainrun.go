//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"example.com/chorus/pkg/socketio"
)

// exitPatience is how long a node may take to end after its drain.
const exitPatience = 15 * time.Second

// A drain is a run in which one node, the last, is drained.
type drain struct {
	*traffic
	plan    drainPlan
	leaving int    // index of the node
	movers  []bool // clients that depend on it at the beginning
	moving  int    // how many they are

	windows  map[*loop]*drainWindows // of those that do not depend on it
	from, to atomic.Int64            // of the drain, since the epoch
	silent   atomic.Bool             // the speaker stops

	ctx      context.Context // of those that come back; set before the drain begins
	coming   sync.WaitGroup
	gone     atomic.Int64 // movers that lost their connection
	passedOn atomic.Int64 // attempts that the leaving node refused, which a balancer gives to another one
	retries  atomic.Int64
	attempts connects

	mu       sync.Mutex // guards what follows
	outage   histogram  // from the loss until the client was back
	lastBack time.Duration

	progress socketio.DrainProgress // the last
	took     time.Duration          // of the drain
	exit     error                  // how the node ended, if it is ours
}

// drainWindows are the latencies that one loop saw.
type drainWindows struct{ before, during histogram }

func runDrain(ctx context.Context, set *setting, plan drainPlan) (*drainResult, error) {
	t, err := newTraffic(set, crowd{clients: set.clients, senders: 1, event: defaultEvent, size: plan.Size})
	if err != nil {
		return nil, err
	}
	d := &drain{traffic: t, plan: plan, leaving: len(set.targets) - 1, windows: make(map[*loop]*drainWindows, len(t.loops))}
	for _, l := range t.loops {
		d.windows[l] = new(drainWindows)
	}
	d.from.Store(math.MaxInt64)
	d.to.Store(math.MaxInt64)
	d.timed, d.swarm.ended = d.record, d.lostOne
	d.spread()
	stop := set.progress.watch(func() string {
		n := d.total()
		return fmt.Sprintf("%4.0fs  connected %d  left the node %d  delivered %d", d.now().Seconds(), n.joined, d.gone.Load(), n.delivered)
	})
	made, err := d.connectAll(ctx, connectPlan{parallel: set.parallel, timeout: set.timeout})
	if err == nil {
		err = d.measure(ctx)
	}
	stop()
	d.close()
	if err != nil {
		return nil, err
	}
	return d.result(made), nil
}

// spread gives every client its nodes. The first, who speaks, depends on one
// that stays.
func (d *drain) spread() {
	nodes := len(d.targets)
	d.movers = make([]bool, len(d.clients))
	for i, c := range d.clients {
		round := i / nodes
		if i > 0 && float64(round%10) < d.plan.Relayed*10 {
			c.via = (c.node + 1 + round%(nodes-1)) % nodes
		}
		d.movers[i] = c.node == d.leaving || c.via == d.leaving
		if d.movers[i] {
			d.moving++
		}
	}
}

// record notes the latency of a client that stays.
func (d *drain) record(c *client, m message, latency int64) {
	switch w := d.windows[c.loop]; {
	case d.movers[c.number] || m.at >= d.to.Load():
	case m.at >= d.from.Load():
		w.during.record(latency)
	default:
		w.before.record(latency)
	}
}

// lostOne lets a client come back whose node leaves.
func (d *drain) lostOne(c *client) bool {
	if !d.movers[c.number] || d.from.Load() == math.MaxInt64 || c.node != d.leaving && c.via != d.leaving {
		return false
	}
	d.gone.Add(1)
	at := d.now()
	d.coming.Go(func() { d.comeBack(c, at) })
	return true
}

// measure is the run, with all clients connected.
func (d *drain) measure(ctx context.Context) error {
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	d.ctx = limited
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	d.measureFrom.Store(int64(d.now()))
	spoken := make(chan error, 1)
	go func() { spoken <- d.speak(ctx) }()
	err := d.mark(&d.before, 0)
	if err == nil {
		err = pause(ctx, d.plan.Before)
	}
	if err == nil { // what a process used is known until it ends
		err = d.mark(&d.after, 0)
	}
	if err == nil {
		err = d.drainNode(ctx)
	}
	if err == nil {
		err = d.awaitExit(ctx)
	}
	if err == nil { // those who wait for nobody are given up
		err = await(ctx, d.plan.Patience, func() bool { return int(d.gone.Load()) >= d.moving && d.backNow() >= uint64(d.moving) })
	}
	d.to.Store(int64(d.now()))
	cancel()
	d.coming.Wait()
	d.silent.Store(true)
	if failed := <-spoken; err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	return await(ctx, 5*time.Second, func() bool { return d.lostByStayers() == 0 })
}

func (d *drain) backNow() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.outage.total
}

// speak sends messages at the rate until it is told to be silent.
func (d *drain) speak(ctx context.Context) error {
	start := d.now()
	var frame, packet []byte
	for k := 0; !d.silent.Load(); k++ {
		at := start + time.Duration(float64(k)/d.plan.Rate*float64(time.Second))
		if err := d.sleepUntil(ctx, at); err != nil {
			return err
		}
		packet = d.codec.appendPacket(packet[:0], message{0, d.sent[0], int64(at)})
		frame = appendFrame(frame[:0], opText, packet)
		d.sent[0]++ // a message that cannot be sent is a lost one
		if err := d.clients[0].send(frame); err != nil {
			d.failure.set(err)
		}
		d.late.record(int64(d.now() - at))
	}
	return nil
}

// drainNode asks the node to drain and returns when it has.
func (d *drain) drainNode(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.set.internal+"/drain?wait", nil)
	if err != nil {
		return err
	}
	began := d.now()
	d.from.Store(int64(began))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusAccepted {
		return fmt.Errorf("drain: %s", answer.Status)
	}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &d.progress); err != nil {
			return fmt.Errorf("drain: %w", err)
		}
	}
	d.took = d.now() - began
	http.DefaultClient.CloseIdleConnections()
	if err := lines.Err(); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	return nil
}

// awaitExit waits for the end of a node that is ours.
func (d *drain) awaitExit(ctx context.Context) error {
	node := d.set.last
	if node == nil {
		return nil
	}
	select {
	case <-node.done:
		d.exit = node.err
	case <-time.After(exitPatience):
		d.exit = errors.New("the drained node does not end")
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// comeBack connects a client again as the official one does through a balancer
// that passes what the leaving node refuses on to another one.
func (d *drain) comeBack(c *client, lost time.Duration) {
	at := lost
	for failed := 0; ; failed++ {
		at += backoff(failed + 1)
		if pause(d.ctx, at-d.now()) != nil {
			return
		}
		late := d.now() - at
		err := d.enter(c)
		now := d.now()
		d.attempts.add(now-at, late, err)
		if err == nil {
			d.mu.Lock()
			d.outage.record(int64(now - lost))
			d.lastBack = now
			d.mu.Unlock()
			return
		}
		d.retries.Add(1)
		at = now
	}
}

// enter is one attempt, on the nodes in a random order.
func (d *drain) enter(c *client) (err error) {
	relayed := c.via >= 0
	for _, node := range rand.Perm(len(d.targets)) {
		c.mu.Lock()
		c.node, c.via = node, -1
		if relayed && node != d.leaving { // if it is the leaving one, it refuses the handshake
			c.via = (node + 1) % d.leaving
		}
		c.mu.Unlock()
		err = d.join(d.ctx, c, d.set.timeout)
		if err == nil || node != d.leaving {
			return err
		}
		d.passedOn.Add(1)
	}
	return err
}

// lostByStayers counts what the clients that depend on no leaving node did not get.
func (d *drain) lostByStayers() (n int) {
	for i, c := range d.clients {
		if d.movers[i] {
			continue
		}
		c.mu.Lock()
		if c.joined {
			n += c.streams[0].lost(d.sent[0])
		}
		c.mu.Unlock()
	}
	return n
}

// result sums up. The swarm is closed.
func (d *drain) result(made *connects) *drainResult {
	n := d.total()
	r := &drainResult{
		Clients: len(d.clients), Nodes: len(d.targets), Rate: d.plan.Rate, Moving: d.moving, FailedConnects: made.failed,
		Left: d.gone.Load(), Back: int(d.outage.total), Retries: d.retries.Load(), PassedOn: d.passedOn.Load(),
		Refused: d.attempts.refused, Failed: d.attempts.failed, Outage: summarize(&d.outage), outage: d.outage,
		Closed: d.progress.Closed, Cut: d.progress.Cut, Seconds: d.took.Seconds(), BackSeconds: (d.lastBack - time.Duration(d.from.Load())).Seconds(),
		Disconnected: n.disconnected, Lost: d.lostByStayers(), Duplicated: n.duplicated, Reordered: n.reordered, Damaged: n.damaged,
		SendDelayP99: millis(d.late.quantile(0.99)),
		Errors:       texts(made.reason, d.attempts.reason, d.failure.get(), d.exit),
	}
	for _, refused := range r.Refused {
		r.Failed -= refused
	}
	r.Abandoned = d.moving - r.Back
	for i, c := range d.clients {
		if d.movers[i] {
			r.Missed += c.streams[0].lost(d.sent[0])
		}
	}
	for _, w := range d.windows {
		r.before.merge(&w.before)
		r.during.merge(&w.during)
	}
	r.Before, r.During = summarize(&r.before), summarize(&r.during)
	if r.Before != nil && r.During != nil {
		r.Ratio = r.During.P99 / r.Before.P99
	}
	wall := d.after.at - d.before.at
	r.OthersBusy = others(d.before.cost, d.after.cost, wall)
	r.GeneratorCores = (d.after.generator.cpu - d.before.generator.cpu).Seconds() / wall.Seconds()
	return r
}
