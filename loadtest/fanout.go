//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

type fanoutCmd struct {
	options `embed:""`
	sending `embed:""`
	drawing `embed:""`
	Clients int     `default:"1000" help:"Connections (default: ${default})."`
	Event   string  `default:"chat message" help:"Event that the server relays (default: ${default})."`
	Rate    float64 `default:"20" help:"Messages per second, all senders together (default: ${default})."`
	Senders int     `default:"1" help:"Clients that send in turn, on the nodes in turn (default: ${default})."`
	Stalled int     `default:"0" help:"How many of the clients read nothing once they are connected; what they miss is no loss (default: ${default})."`
}

// Validate is called when the flags have been read.
func (f *fanoutCmd) Validate() error {
	return errors.Join(
		f.options.validate(),
		f.sending.validate(),
		between("clients", f.Clients, 1, maxClients),
		between("rate", f.Rate, 0.1, maxRate),
		between("stalled", f.Stalled, 0, f.Clients-1),
		between("senders", f.Senders, 1, max(1, f.Clients-f.Stalled)),
	)
}

func (f *fanoutCmd) Run(ctx context.Context) error {
	set, end, err := f.begin(ctx, f.Clients)
	if err != nil {
		return err
	}
	defer end()
	result, err := runFanout(ctx, set, fanoutPlan{f.sending, f.Event, f.Rate, f.Senders, f.Stalled})
	if err != nil {
		return err
	}
	return errors.Join(f.draw(result.Load, result.curves()), f.publish(result))
}

// A fanoutPlan says what is sent.
type fanoutPlan struct {
	sending
	event   string
	rate    float64
	senders int
	stalled int
}

func runFanout(ctx context.Context, set *setting, plan fanoutPlan) (*trafficResult, error) {
	t, err := newTraffic(set, crowd{
		clients: set.clients, senders: plan.senders, stalled: plan.stalled, event: plan.event, size: plan.Size,
	})
	if err != nil {
		return nil, err
	}
	r, err := t.run(ctx, func(ctx context.Context) error { return t.sendAtRate(ctx, plan.rate, plan.sending) }, plan.Drain)
	if err != nil {
		return nil, err
	}
	r.Load = fmt.Sprintf("%g messages/s of %d B from %s to %s on %s", plan.rate, plan.Size,
		several(plan.senders, "sender"), several(set.clients, "client"), several(len(set.targets), "node"))
	return r, nil
}

// sendAtRate emits every message at its time, whatever the servers do; the
// senders take turns.
func (t *traffic) sendAtRate(ctx context.Context, rate float64, s sending) error {
	total := int(rate * (s.Warmup + s.Duration).Seconds())
	start := t.now() + 50*time.Millisecond
	due := func(k int) time.Duration { return start + time.Duration(float64(k)/rate*float64(time.Second)) }
	measure := start + s.Warmup
	if due(total-1) < measure {
		return fmt.Errorf("--rate %g: no message is due in the --duration of %v behind the --warmup", rate, s.Duration)
	}
	t.measureFrom.Store(int64(measure))
	measuring := false
	var frame, packet []byte
	for k := range total {
		at := due(k)
		if at >= measure && !measuring {
			measuring = true
			if err := t.mark(&t.before, k); err != nil {
				return err
			}
		}
		if err := t.sleepUntil(ctx, at); err != nil {
			return err
		}
		sender := k % t.crowd.senders
		packet = t.codec.appendPacket(packet[:0], message{sender, t.sent[sender], int64(at)})
		frame = appendFrame(frame[:0], opText, packet)
		t.sent[sender]++ // a message that cannot be sent is a lost one
		if err := t.clients[t.crowd.sender(sender)].send(frame); err != nil {
			t.failure.set(err)
		}
		if measuring {
			t.late.record(int64(t.now() - at))
		}
	}
	if err := t.sleepUntil(ctx, due(total)); err != nil {
		return err
	}
	return t.mark(&t.after, total)
}

// sleepUntil sleeps until a time since the epoch.
func (s *swarm) sleepUntil(ctx context.Context, at time.Duration) error {
	for wait := at - s.now(); wait > 0; wait = at - s.now() {
		preciseSleep(min(wait, 100*time.Millisecond))
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
