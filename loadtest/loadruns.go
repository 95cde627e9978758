//go:build linux

package main

import (
	"context"
	"fmt"
	"time"
)

// figures are those of latencyRows; without values they are zero.
func (l *latency) figures(first float64) []float64 {
	if l == nil {
		l = &latency{}
	}
	return []float64{first, l.P50, l.P90, l.P99, l.P999, l.Max}
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }

// outcome is what a table needs of a run.
func (r *trafficResult) outcome(figures ...float64) outcome {
	return outcome{figures: figures, mistakes: r.mistakes(), noise: r.OthersBusy, curves: r.curves()}
}

// start starts fresh servers for a run with so many clients.
func start(ctx context.Context, s starter, spec clusterSpec, clients int) (*setting, func(), error) {
	set, stop, err := startCluster(ctx, s, spec)
	if err != nil {
		return nil, nil, err
	}
	set.clients = clients
	return set, stop, nil
}

// send puts fresh servers under messages at a rate.
func (c *compareCmd) send(ctx context.Context, s starter, spec clusterSpec, clients int, plan fanoutPlan) (*trafficResult, error) {
	set, stop, err := start(ctx, s, spec, clients)
	if err != nil {
		return nil, err
	}
	defer stop()
	r, err := runFanout(ctx, set, plan)
	if err != nil {
		return nil, err
	}
	if r.Own == nil || spec.nodes > 1 && r.Other == nil {
		return nil, fmt.Errorf("nothing was delivered: %v", r.Errors)
	}
	return r, nil
}

func (c *compareCmd) sending() sending {
	return sending{Duration: c.Duration, Warmup: c.Warmup, Drain: 10 * time.Second, Size: c.Size}
}

func (c *compareCmd) fanoutPlan() fanoutPlan {
	return fanoutPlan{sending: c.sending(), event: defaultEvent, rate: c.Rate, senders: 1}
}

func (c *compareCmd) fanout(ctx context.Context, who contender) (outcome, error) {
	r, err := c.send(ctx, who.server, clusterSpec{nodes: 1}, c.Clients, c.fanoutPlan())
	if err != nil {
		return outcome{}, err
	}
	return r.outcome(append(r.Own.figures(r.ServerMicros), megabytes(r.ServerRSS), megabytes(r.ServerRSSPeak))...), nil
}

func (c *compareCmd) twoNodes(ctx context.Context, who contender) (outcome, error) {
	r, err := c.send(ctx, who.server, clusterSpec{nodes: 2, redis: true}, c.Clients, c.fanoutPlan())
	if err != nil {
		return outcome{}, err
	}
	return r.outcome(r.ServerMicros, r.RedisMicros, r.ServerMicros+r.RedisMicros, r.Own.P50, r.Own.P99, r.Other.P50, r.Other.P99,
		r.Other.P50-r.Own.P50), nil
}

func (c *compareCmd) flood(ctx context.Context, who contender, clients int) (outcome, error) {
	set, stop, err := start(ctx, who.server, clusterSpec{nodes: 1}, clients)
	if err != nil {
		return outcome{}, err
	}
	defer stop()
	r, err := runFlood(ctx, set, floodPlan{sending: c.sending(), event: defaultEvent, inflight: floodInflight, senders: floodInflight})
	if err != nil {
		return outcome{}, err
	}
	return r.outcome(append(r.Own.figures(r.PerServerSecond), r.PerSecond, megabytes(r.ServerRSSPeak), r.GeneratorCores*100)...), nil
}

func (c *compareCmd) idle(ctx context.Context, who contender) (outcome, error) {
	set, stop, err := start(ctx, who.server, clusterSpec{nodes: 1, ping: idlePing}, c.Idle)
	if err != nil {
		return outcome{}, err
	}
	defer stop()
	r, err := runIdle(ctx, set, c.Duration, c.Warmup)
	if err != nil {
		return outcome{}, err
	}
	return outcome{
		figures:  []float64{float64(r.BytesPerConnection), r.MicrosPerConnect, r.MicrosPerPing, megabytes(r.ServerRSSPeak)},
		mistakes: r.mistakes(), noise: r.OthersBusy,
	}, nil
}

func (c *compareCmd) connect(ctx context.Context, who contender) (outcome, error) {
	set, stop, err := start(ctx, who.server, clusterSpec{nodes: 1}, c.Idle)
	if err != nil {
		return outcome{}, err
	}
	defer stop()
	r, err := runConnect(ctx, set, 0)
	if err != nil {
		return outcome{}, err
	}
	return outcome{
		figures:  append(r.Latency.figures(r.MicrosPerConnect), r.PerSecond, megabytes(r.ServerRSSPeak)),
		mistakes: r.mistakes(), noise: r.OthersBusy, curves: filled(curve{"", &r.taken}),
	}, nil
}

func (c *compareCmd) grow(ctx context.Context, who contender) (outcome, error) {
	var (
		cpu, memory []float64
		o           outcome
	)
	for _, clients := range growthSizes {
		plan := c.fanoutPlan()
		plan.rate = growthDeliveries / float64(clients)
		r, err := c.send(ctx, who.server, clusterSpec{nodes: 1}, clients, plan)
		if err != nil {
			return outcome{}, err
		}
		cpu, memory = append(cpu, r.ServerMicros), append(memory, megabytes(r.ServerRSSSteady))
		o.mistakes += r.mistakes()
		o.noise = max(o.noise, r.OthersBusy)
	}
	slope := func(from, to int) float64 {
		return (memory[to] - memory[from]) / float64(growthSizes[to]-growthSizes[from])
	}
	o.figures = append(append(cpu, cpu[3]/cpu[0]), append(memory, slope(2, 3)/slope(0, 2))...)
	return o, nil
}

// rooms measures the same messages beside more and more idle rooms of one
// server.
func (c *compareCmd) rooms(ctx context.Context, who contender) (outcome, error) {
	set, stop, err := start(ctx, who.rooms, clusterSpec{nodes: 1}, roomsCount*roomsMembers)
	if err != nil {
		return outcome{}, err
	}
	defer stop()
	var (
		o     outcome
		steps []*trafficResult
	)
	for _, idle := range []int{0, 10_000, 100_000} {
		r, err := runRooms(ctx, set, roomsPlan{sending: c.sending(), members: roomsMembers, idleRooms: idle, rate: roomsRate})
		if err != nil {
			return outcome{}, err
		}
		if r.Own == nil {
			return outcome{}, fmt.Errorf("nothing was delivered: %v", r.Errors)
		}
		steps = append(steps, r)
		o.mistakes += r.mistakes()
		o.noise = max(o.noise, r.OthersBusy)
	}
	none, some, many := steps[0], steps[1], steps[2]
	o.curves = none.curves()
	o.figures = []float64{
		none.EmitMicros, some.EmitMicros, many.EmitMicros, many.EmitMicros / none.EmitMicros,
		none.Own.P50, none.Own.P99, many.Own.P50, many.Own.P99,
	}
	return o, nil
}

// stalled measures what clients that do not read do to the others.
func (c *compareCmd) stalled(ctx context.Context, who contender) (outcome, error) {
	plan := c.fanoutPlan()
	plan.rate, plan.Size, plan.Duration = stalledRate, stalledSize, max(c.Duration, stalledDuration)
	without, err := c.send(ctx, who.server, clusterSpec{nodes: 1}, stalledClients, plan)
	if err != nil {
		return outcome{}, err
	}
	plan.stalled = stalledCount
	r, err := c.send(ctx, who.server, clusterSpec{nodes: 1}, stalledClients, plan)
	if err != nil {
		return outcome{}, err
	}
	o := r.outcome(without.Own.P99, r.Own.P99, r.Own.P99/without.Own.P99,
		megabytes(r.ServerRSSPeak-r.ServerRSSSteady)/stalledCount, megabytes(r.ServerRSSPeak), float64(r.StalledClosed))
	o.mistakes += without.mistakes()
	o.noise = max(o.noise, without.OthersBusy)
	return o, nil
}

func (c *compareCmd) storm(ctx context.Context, who contender) (outcome, error) {
	set, stop, err := start(ctx, who.server, clusterSpec{nodes: 1, ping: idlePing}, c.Idle)
	if err != nil {
		return outcome{}, err
	}
	defer stop()
	r, err := runStorm(ctx, set, stormPlan{bystanders: stormBystanders, within: stormWithin, settle: c.Warmup, patience: time.Minute})
	if err != nil {
		return outcome{}, err
	}
	return outcome{
		figures: append(r.Latency.figures(r.MicrosPerConnect), r.Seconds, float64(r.Retries), float64(r.RetryAfter), r.PeakRatio,
			r.LongestSilence),
		mistakes: r.mistakes(), noise: r.OthersBusy, curves: filled(curve{"", &r.back}),
	}, nil
}

// drainDefaults are those of loadtest drain.
var drainDefaults = drainPlan{
	Rate: 4, Size: 100, Before: 10 * time.Second, Relayed: 0.5, LameDuck: 2 * time.Second, Spread: 20 * time.Second, Patience: time.Minute,
}

func (c *compareCmd) drain(ctx context.Context, who contender) (outcome, error) {
	set, stop, err := start(ctx, who.server, drainDefaults.spec(drainNodes), drainClients)
	if err != nil {
		return outcome{}, err
	}
	defer stop()
	r, err := runDrain(ctx, set, drainDefaults)
	if err != nil {
		return outcome{}, err
	}
	if r.Before == nil || r.During == nil || r.Outage == nil {
		return outcome{}, fmt.Errorf("nothing was delivered, or nobody came back: %v", r.Errors)
	}
	refused := 0
	for _, n := range r.Refused {
		refused += n
	}
	return outcome{
		figures: []float64{
			float64(r.Moving), float64(r.Back), r.Seconds, r.BackSeconds, float64(refused), float64(r.PassedOn),
			r.Outage.P50, r.Outage.P99, r.Outage.Max, r.Before.P99, r.During.P99, r.Ratio,
		},
		mistakes: r.mistakes(), noise: r.OthersBusy, curves: r.curves(),
	}, nil
}
