//go:build linux

package main

import (
	"context"
	"fmt"
	"time"
)

// Sizes of the loads whose bars are about growth and trouble.
const (
	growthDeliveries = 20_000 // a second, whatever the number of clients

	roomsCount, roomsMembers, roomsRate = 100, 10, 1000

	stalledClients, stalledCount, stalledRate, stalledSize = 10_000, 100, 4, 4000
	stalledDuration                                        = 20 * time.Second // longer than a server may wait for a client

	stormBystanders = 1000
	stormWithin     = 2 * time.Second
)

// growthSizes are numbers of clients.
var growthSizes = []int{500, 1000, 5000, 10_000}

// growth is the same number of deliveries to more and more clients.
func (c *compareCmd) growth() load {
	l := load{
		name: "growth", title: fmt.Sprintf("Growth, one node, %d deliveries/s of %d B, whatever the number of clients", growthDeliveries, c.Size),
		bars:  []bar{{row: growthRow, limit: 1.2}, {row: linearRow, limit: 1.2}},
		alone: true,
		run:   c.grow,
	}
	for _, n := range growthSizes {
		l.rows = append(l.rows, fmt.Sprintf("CPU, us per delivery, %d clients", n))
	}
	l.rows = append(l.rows, growthRow)
	for _, n := range growthSizes {
		l.rows = append(l.rows, fmt.Sprintf("resident memory before messages, MB, %d clients", n))
	}
	l.rows = append(l.rows, linearRow)
	return l
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
