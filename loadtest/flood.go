//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

type floodCmd struct {
	options  `embed:""`
	sending  `embed:""`
	drawing  `embed:""`
	Clients  int    `default:"1000" help:"Connections (default: ${default})."`
	Event    string `default:"chat message" help:"Event that the server relays (default: ${default})."`
	Inflight int    `default:"8" help:"Messages that are under way at a time, all senders together (default: ${default})."`
	Senders  int    `default:"8" help:"Clients that send, on the nodes in turn (default: ${default})."`
}

// Validate is called when the flags have been read.
func (f *floodCmd) Validate() error {
	return errors.Join(
		f.options.validate(),
		f.sending.validate(),
		between("clients", f.Clients, 1, maxClients),
		between("inflight", f.Inflight, 1, 10_000),
		between("senders", f.Senders, 1, min(f.Clients, f.Inflight)),
	)
}

func (f *floodCmd) Run(ctx context.Context) error {
	set, end, err := f.begin(ctx, f.Clients)
	if err != nil {
		return err
	}
	defer end()
	result, err := runFlood(ctx, set, floodPlan{f.sending, f.Event, f.Inflight, f.Senders})
	if err != nil {
		return err
	}
	return errors.Join(f.draw(result.Load, result.curves()), f.publish(result))
}

// A floodPlan says what is sent.
type floodPlan struct {
	sending
	event    string
	inflight int
	senders  int
}

// A flood keeps messages under way: a sender sends the next one when its own
// copy of an earlier one came back, so the server sets the pace.
type flood struct {
	*traffic
	over atomic.Bool
}

func runFlood(ctx context.Context, set *setting, plan floodPlan) (*trafficResult, error) {
	t, err := newTraffic(set, crowd{clients: set.clients, senders: plan.senders, event: plan.event, size: plan.Size})
	if err != nil {
		return nil, err
	}
	f := &flood{traffic: t}
	t.echo = f.answer
	r, err := t.run(ctx, func(ctx context.Context) error { return f.send(ctx, plan) }, plan.Drain)
	if err != nil {
		return nil, err
	}
	r.Load = fmt.Sprintf("%s of %d B under way, from %s to %s on %s", several(plan.inflight, "message"), plan.Size,
		several(plan.senders, "sender"), several(set.clients, "client"), several(len(set.targets), "node"))
	return r, nil
}

func (f *flood) send(ctx context.Context, plan floodPlan) error {
	defer f.stop()
	for i := range plan.inflight {
		c := f.clients[i%plan.senders]
		c.mu.Lock()
		f.emit(c)
		c.mu.Unlock()
	}
	if err := pause(ctx, plan.Warmup); err != nil {
		return err
	}
	f.measureFrom.Store(int64(f.now()))
	if err := f.mark(&f.before, 0); err != nil {
		return err
	}
	if err := pause(ctx, plan.Duration); err != nil {
		return err
	}
	return f.mark(&f.after, 0)
}

// stop lets no sender send any more, and returns when none is about to.
func (f *flood) stop() {
	f.over.Store(true)
	for _, c := range f.clients[:f.crowd.senders] {
		c.mu.Lock()
		//lint:ignore SA2001 who held the lock may not have known that it is over
		c.mu.Unlock()
	}
}

// answer sends the next message of a sender, which is locked.
func (f *flood) answer(c *client, _ message) {
	if !f.over.Load() {
		f.emit(c)
	}
}

// emit sends a message of a client, which is locked.
func (f *flood) emit(c *client) {
	packet := f.codec.appendPacket(nil, message{c.number, f.sent[c.number], int64(f.now())})
	f.sent[c.number]++ // a message that cannot be sent is a lost one
	if c.fd < 0 {
		return
	}
	if err := c.sendLocked(appendFrame(nil, opText, packet)); err != nil {
		c.failLocked(err)
	}
}
