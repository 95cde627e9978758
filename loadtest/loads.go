//go:build linux

package main

import (
	"context"
	"fmt"
	"time"
)

// A load is one that compare puts the contenders under.
type load struct {
	name  string // on the command line and in the marks of a file
	title string
	rows  []string
	bars  []bar
	alone bool // Chorus only: nothing is compared
	run   func(context.Context, contender) (outcome, error)
}

// floodInflight is how many messages are under way, of a sender each.
const floodInflight = 8

// idlePing is how often the servers ping in the idle load and in the storm:
// ten times their default, so that a short run sees enough pings.
const idlePing = 2500 * time.Millisecond

// Rows that bars look at.
const (
	cpuRow        = "server CPU, us per delivery"
	p99Row        = "latency p99, ms"
	floodRow      = "deliveries per second of server CPU"
	allCPURow     = "CPU of both nodes and Redis, us per delivery"
	behindRow     = "other node's p50 behind the own node's, ms"
	idleRow       = "resident memory, B per connection"
	pingRow       = "CPU, us per ping and pong"
	connectRow    = "CPU, us per connect"
	growthRow     = "CPU, 10 000 clients / 500 clients"
	linearRow     = "memory of a connection, the last 5 000 / the 4 500 before"
	roomsRow      = "CPU per message, 100 000 idle rooms / none"
	besideRow     = "p99 of the others beside stalled ones / without"
	stalledMemory = "memory at most above that before, MB per stalled client"
	stormRow      = "memory at most / before"
)

// loads returns all of them, in the order of the bars that were set.
func (c *compareCmd) loads() []load {
	fan := fmt.Sprintf("%d WebSocket clients, %g messages/s of %d B", c.Clients, c.Rate, c.Size)
	return []load{
		{
			name: "fanout", title: "One node, " + fan,
			rows: append(latencyRows(cpuRow), "resident memory, MB", "resident memory at most, MB"),
			bars: []bar{{row: cpuRow, limit: 6, ratio: 1. / 3, aim: 5}, {row: p99Row, ratio: 1. / 2}},
			run:  c.fanout,
		},
		c.flooded("flood", c.Clients, bar{row: floodRow, atLeast: true, ratio: 8, aim: 12}),
		c.flooded("flood5000", 5000, bar{row: floodRow, atLeast: true, ratio: 10}),
		{
			name: "two-nodes", title: "Two nodes and Redis, " + fan,
			rows: []string{
				"CPU of both nodes, us per delivery", "CPU of Redis, us per delivery", allCPURow, "own node p50, ms", "own node p99, ms",
				"other node p50, ms", "other node p99, ms", behindRow,
			},
			bars: []bar{{row: allCPURow, limit: 7}, {row: behindRow, limit: 2}},
			run:  c.twoNodes,
		},
		{
			name: "idle", title: fmt.Sprintf("%d idle WebSocket connections, a ping each %v", c.Idle, idlePing),
			rows: []string{idleRow, connectRow, pingRow, "resident memory at most, MB"},
			bars: []bar{{row: idleRow, limit: 4000, aim: 3000}, {row: pingRow, limit: 25}},
			run:  c.idle,
		},
		{
			name: "connect", title: fmt.Sprintf("%d connections, handshake and namespace, 32 at a time", c.Idle),
			rows: append(latencyRows(connectRow), "connects per second", "resident memory at most, MB"),
			bars: []bar{{row: connectRow, limit: 450}},
			run:  c.connect,
		},
		c.growth(),
		{
			name: "rooms", title: fmt.Sprintf("%d rooms of %d members, %d messages/s to one of them in turn", roomsCount, roomsMembers, roomsRate),
			rows: []string{
				"CPU, us per message, no idle rooms", "CPU, us per message, 10 000 idle rooms", "CPU, us per message, 100 000 idle rooms", roomsRow,
				"p50 without idle rooms, ms", "p99 without idle rooms, ms", "p50 beside 100 000, ms", "p99 beside 100 000, ms",
			},
			bars: []bar{{row: roomsRow, limit: 1.2}},
			run:  c.rooms,
		},
		{
			name: "stalled", title: fmt.Sprintf("%d clients, of which %d read nothing, %d messages/s of %d B", stalledClients, stalledCount, stalledRate, stalledSize),
			rows: []string{"p99 without stalled clients, ms", "p99 of the others, ms", besideRow, stalledMemory, "resident memory at most, MB", "stalled clients that the server closed"},
			bars: []bar{{row: besideRow, limit: 1.1}, {row: stalledMemory, limit: 1.5}},
			run:  c.stalled,
		},
		{
			name: "storm", title: fmt.Sprintf("%d connections cut at once, which come back within %v, beside %d others", c.Idle, stormWithin, stormBystanders),
			rows: append(latencyRows("CPU, us per connection cut and made"), "s until all were back", "retries", "refused with Retry-After", stormRow,
				"longest time without a ping, s"),
			bars: []bar{{row: stormRow, limit: 1.3}},
			run:  c.storm,
		},
	}
}

// latencyRows are rows of percentiles behind a first one.
func latencyRows(first string) []string {
	return []string{first, "latency p50, ms", "latency p90, ms", p99Row, "latency p99.9, ms", "longest latency, ms"}
}

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

func (c *compareCmd) flooded(name string, clients int, b bar) load {
	return load{
		name:  name,
		title: fmt.Sprintf("Flood, one node, %d WebSocket clients, %d messages of %d B under way", clients, floodInflight, c.Size),
		rows:  append(latencyRows(floodRow), "deliveries per second", "resident memory at most, MB", "the generator's share of a processor, %"),
		bars:  []bar{b},
		run: func(ctx context.Context, who contender) (outcome, error) {
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
		},
	}
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
