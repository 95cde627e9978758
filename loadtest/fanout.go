//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

type fanoutCmd struct {
	options `embed:""`
	Rate    float64       `default:"20" help:"Messages per second, all senders together (default: ${default})."`
	Size    int           `default:"100" help:"Bytes of a message's text (default: ${default})."`
	Senders int           `default:"1" help:"Clients that send in turn, on the nodes in turn (default: ${default})."`
	Warmup  time.Duration `default:"3s" help:"Time at the same rate that is not measured (default: ${default})."`
	Drain   time.Duration `default:"5s" help:"Time that messages may take to come after the last (default: ${default})."`
}

// Validate is called when the flags have been read.
func (f *fanoutCmd) Validate() error {
	return errors.Join(
		f.validate(),
		between("rate", f.Rate, 0.1, maxRate),
		between("size", f.Size, maxHeader, maxSize),
		between("senders", f.Senders, 1, f.Clients),
		between("warmup", f.Warmup, 0, maxDuration),
		between("drain", f.Drain, 0, maxDuration),
	)
}

func (f *fanoutCmd) Run(ctx context.Context) error {
	set, end, err := f.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	result, err := runFanout(ctx, set, fanoutPlan{f.Rate, f.Size, f.Senders, f.Warmup, f.Drain})
	if err != nil {
		return err
	}
	return publish(f.JSON, result)
}

// A fanoutPlan says what is sent.
type fanoutPlan struct {
	rate    float64
	size    int
	senders int
	warmup  time.Duration
	drain   time.Duration
}

// a fanout is one run.
type fanout struct {
	*swarm
	set   *setting
	plan  fanoutPlan
	start time.Duration // of sending, since the epoch
	sent  []int         // by sender
	late  histogram     // how long after its time a message left the generator

	before, after   cost
	from, to        time.Duration // between which the costs arose
	countBefore     int64
	countAfter      int64
	measuredSending bool
}

func runFanout(ctx context.Context, set *setting, plan fanoutPlan) (*fanoutResult, error) {
	s, err := newSwarm(set.targets, set.clients, set.loops, plan.senders, set.event, plan.size)
	if err != nil {
		return nil, err
	}
	stop := set.progress.watch(func() string {
		return fmt.Sprintf("%4.0fs  delivered %d  disconnected %d", s.now().Seconds(), s.count.delivered.Load(), s.count.disconnected.Load())
	})
	failed, reason := s.connect(ctx, set.parallel, set.timeout)
	f := &fanout{swarm: s, set: set, plan: plan, sent: make([]int, plan.senders)}
	err = ctx.Err()
	if err == nil && failed == set.clients {
		err = fmt.Errorf("no client could connect: %w", reason)
	}
	if err == nil {
		err = f.send(ctx)
	}
	if err == nil {
		err = f.wait(ctx, set.clients-failed)
	}
	stop()
	s.close()
	if err != nil {
		return nil, err
	}
	return f.result(failed, reason), nil
}

// send emits every message at its time, whatever the servers do.
func (f *fanout) send(ctx context.Context) error {
	total := int(f.plan.rate * (f.plan.warmup + f.set.duration).Seconds())
	f.start = f.now() + 50*time.Millisecond
	measure := f.start + f.plan.warmup
	f.measureFrom.Store(int64(measure))
	var frame, packet []byte
	for k := range total {
		at := f.at(k)
		if at >= measure && !f.measuredSending {
			f.measuredSending = true
			if err := f.snapshot(&f.before, &f.from, &f.countBefore); err != nil {
				return err
			}
		}
		for wait := at - f.now(); wait > 0; wait = at - f.now() {
			preciseSleep(min(wait, 100*time.Millisecond))
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		sender := k % f.plan.senders
		packet = f.codec.appendPacket(packet[:0], message{sender, f.sent[sender], int64(at)})
		frame = appendFrame(frame[:0], opText, packet)
		f.sent[sender]++ // a message that cannot be sent is a lost one
		if err := f.clients[sender].send(frame); err != nil {
			f.failure.set(err)
		}
		if f.measuredSending {
			f.late.record(int64(f.now() - at))
		}
	}
	preciseSleep(f.at(total) - f.now())
	return f.snapshot(&f.after, &f.to, &f.countAfter)
}

// at returns when message k is due.
func (f *fanout) at(k int) time.Duration {
	return f.start + time.Duration(float64(k)/f.plan.rate*float64(time.Second))
}

func (f *fanout) snapshot(c *cost, at *time.Duration, count *int64) (err error) {
	*c, err = f.set.cost(os.Getpid())
	*at, *count = f.now(), f.count.delivered.Load()
	return err
}

// wait waits until everything has come or the patience is over.
func (f *fanout) wait(ctx context.Context, clients int) error {
	want := int64(0)
	for _, n := range f.sent {
		want += int64(n) * int64(clients)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	patience := time.After(f.plan.drain)
	for f.count.delivered.Load() < want {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-patience:
			return nil
		case <-tick.C:
		}
	}
	return nil
}

// result sums up. The swarm is closed.
func (f *fanout) result(failed int, reason error) *fanoutResult {
	r := &fanoutResult{
		Nodes: len(f.targets), Rate: f.plan.rate, Size: f.plan.size, Senders: f.plan.senders,
		Clients: len(f.clients), FailedConnects: failed,
		Delivered: f.count.delivered.Load(), Lost: f.lost(f.sent),
		Duplicated: f.count.duplicated.Load(), Reordered: f.count.reordered.Load(),
		Damaged: f.count.damaged.Load(), Disconnected: f.count.disconnected.Load(),
		SendDelayP99: millis(f.late.quantile(0.99)),
		Measured:     f.countAfter - f.countBefore,
		Seconds:      (f.to - f.from).Seconds(),
	}
	for _, n := range f.sent {
		r.Sent += n
	}
	r.Errors = texts(reason, f.failure.get())
	var own, other histogram
	var busy time.Duration
	for _, l := range f.loops {
		own.merge(&l.own)
		other.merge(&l.other)
		busy = max(busy, time.Duration(l.busy.Load()))
	}
	r.Own, r.Other = summarize(&own), summarize(&other)
	per := perUnit{float64(r.Measured)}
	r.GeneratorMicros = per.micros(f.after.generator.cpu - f.before.generator.cpu)
	r.OthersBusy = others(f.before, f.after, f.to-f.from)
	r.GeneratorBusy = busy.Seconds() / f.now().Seconds()
	if len(f.set.pids) > 0 {
		r.ServerMicros = per.micros(f.after.server.cpu - f.before.server.cpu)
		r.ServerRSS = f.after.server.rss
	}
	if f.set.redisPID != 0 {
		r.RedisMicros = per.micros(f.after.redis.cpu - f.before.redis.cpu)
	}
	return r
}
