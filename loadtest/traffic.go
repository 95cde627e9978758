//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// A traffic is a run in which clients send messages and count what comes.
type traffic struct {
	*swarm
	set    *setting
	memory *memory
	steady int64     // resident memory of the servers with all connected
	sent   []int     // by sender
	late   histogram // how long after its time a message left the generator

	before, after moment // between which costs are measured
}

// A moment is what had happened by a time.
type moment struct {
	cost
	at        time.Duration // since the epoch
	sent      int
	delivered int64
	busy      time.Duration // of the busiest loop
}

func newTraffic(set *setting, c crowd) (*traffic, error) {
	s, err := newSwarm(set.targets, set.loops, c)
	if err != nil {
		return nil, err
	}
	return &traffic{swarm: s, set: set, sent: make([]int, c.senders)}, nil
}

// run connects the clients, lets drive send, waits for what is under way, at
// most drain, and sums up.
func (t *traffic) run(ctx context.Context, drive func(context.Context) error, drain time.Duration) (*trafficResult, error) {
	t.memory = t.set.watchMemory()
	stop := t.set.progress.watch(func() string {
		n := t.total()
		return fmt.Sprintf("%4.0fs  delivered %d  disconnected %d", t.now().Seconds(), n.delivered, n.disconnected)
	})
	made, err := t.connectAll(ctx, connectPlan{parallel: t.set.parallel, timeout: t.set.timeout})
	if err == nil {
		err = t.stall()
	}
	if err == nil {
		t.steady = t.memory.restart()
		err = drive(ctx)
	}
	if err == nil {
		err = t.settle(ctx, drain)
	}
	stop()
	peak := t.memory.stop()
	t.close()
	if err != nil {
		return nil, err
	}
	r := t.result(made.failed, peak)
	r.Errors = texts(made.reason, t.failure.get())
	return r, nil
}

// mark takes the figures of this moment.
func (t *traffic) mark(m *moment, sent int) (err error) {
	m.cost, err = t.set.cost(os.Getpid())
	m.at, m.sent, m.delivered, m.busy = t.now(), sent, t.total().delivered, t.busy()
	return err
}

// settle waits until everything has come or the patience is over, then looks
// what became of the clients that stalled.
func (t *traffic) settle(ctx context.Context, patience time.Duration) error {
	want := t.expected(t.sent)
	err := await(ctx, patience, func() bool { return t.total().delivered >= want })
	if err != nil || t.crowd.stalled == 0 {
		return err
	}
	if err := t.resume(); err != nil {
		return err
	}
	return pause(ctx, stalledPatience)
}

// stalledPatience is how long a client that stalled reads to learn whether the
// server has closed it: what waits in the kernel comes before the end.
const stalledPatience = time.Second

// await waits until done or the patience is over, which is no error.
func await(ctx context.Context, patience time.Duration, done func() bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	over := time.After(patience)
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return nil
		case <-tick.C:
		}
	}
	return nil
}

// result sums up. The swarm is closed.
func (t *traffic) result(failed int, peak int64) *trafficResult {
	n := t.total()
	wall := t.after.at - t.before.at
	r := &trafficResult{
		Nodes: len(t.targets), Size: t.crowd.size, Senders: t.crowd.senders,
		Clients: t.crowd.clients, FailedConnects: failed,
		Delivered: n.delivered, Lost: t.lost(t.sent), Duplicated: n.duplicated, Reordered: n.reordered,
		loops: len(t.loops), Damaged: n.damaged, Strayed: n.strayed, Disconnected: n.disconnected,
		Stalled: t.crowd.stalled, StalledClosed: n.stalledClosed,
		Measured: t.after.delivered - t.before.delivered, MeasuredSent: t.after.sent - t.before.sent, Seconds: wall.Seconds(),
		SendDelayP99:  millis(t.late.quantile(0.99)),
		GeneratorBusy: (t.after.busy - t.before.busy).Seconds() / wall.Seconds(),
		OthersBusy:    others(t.before.cost, t.after.cost, wall),
	}
	for _, n := range t.sent {
		r.Sent += n
	}
	for _, l := range t.loops {
		r.own.merge(&l.own)
		r.other.merge(&l.other)
	}
	r.Own, r.Other = summarize(&r.own), summarize(&r.other)
	r.PerSecond = float64(r.Measured) / r.Seconds
	per := perUnit{float64(r.Measured)}
	generator := t.after.generator.cpu - t.before.generator.cpu
	r.GeneratorMicros, r.GeneratorCores = per.micros(generator), generator.Seconds()/wall.Seconds()
	if len(t.set.pids) > 0 {
		server := t.after.server.cpu - t.before.server.cpu
		r.ServerMicros, r.EmitMicros = per.micros(server), perUnit{float64(r.MeasuredSent)}.micros(server)
		r.ServerRSS, r.ServerRSSSteady, r.ServerRSSPeak = t.after.server.rss, t.steady, peak
		if server > 0 {
			r.PerServerSecond = float64(r.Measured) / server.Seconds()
		}
	}
	if t.set.redisPID != 0 {
		r.RedisMicros = per.micros(t.after.redis.cpu - t.before.redis.cpu)
	}
	return r
}
