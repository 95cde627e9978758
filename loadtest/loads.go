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

// Sizes of the loads whose bars are about growth and trouble.
const (
	growthDeliveries = 20_000 // a second, whatever the number of clients

	roomsCount, roomsMembers, roomsRate = 100, 10, 1000

	stalledClients, stalledCount, stalledRate, stalledSize = 10_000, 100, 4, 4000
	stalledDuration                                        = 20 * time.Second // longer than a server may wait for a client

	drainClients, drainNodes = 5000, 3

	stormBystanders = 1000
	stormWithin     = 2 * time.Second
)

// growthSizes are numbers of clients.
var growthSizes = []int{500, 1000, 5000, 10_000}

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
	drainRow      = "p99 of the others during the drain / before"
	refusedRow    = "handshakes that the others refused"
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
			bars: []bar{{row: besideRow, limit: 1.1}, {row: stalledMemory, limit: 1.5}}, // a queue of 1 MiB, and its upkeep
			run:  c.stalled,
		},
		{
			name: "storm", title: fmt.Sprintf("%d connections cut at once, which come back within %v, beside %d others", c.Idle, stormWithin, stormBystanders),
			rows: append(latencyRows("CPU, us per connection cut and made"), "s until all were back", "retries", "refused with Retry-After", stormRow,
				"longest time without a ping, s"),
			bars: []bar{{row: stormRow, limit: 1.3}},
			run:  c.storm,
		},
		{
			name:  "drain",
			title: fmt.Sprintf("One of %d nodes drained, %d clients, half of the WebSockets relayed, %g messages/s to all", drainNodes, drainClients, drainDefaults.Rate),
			rows: []string{
				"clients that depended on the node", "of these back", "s of the drain", "s until all were back", refusedRow,
				"attempts that the drained node refused", "outage p50, ms", "outage p99, ms", "longest outage, ms", "p99 of the others before, ms",
				"p99 of the others during the drain, ms", drainRow,
			},
			bars:  []bar{{row: drainRow, limit: 2}},
			alone: true,
			run:   c.drain,
		},
	}
}

// latencyRows are rows of percentiles behind a first one.
func latencyRows(first string) []string {
	return []string{first, "latency p50, ms", "latency p90, ms", p99Row, "latency p99.9, ms", "longest latency, ms"}
}

func (c *compareCmd) flooded(name string, clients int, b bar) load {
	return load{
		name:  name,
		title: fmt.Sprintf("Flood, one node, %d WebSocket clients, %d messages of %d B under way", clients, floodInflight, c.Size),
		rows:  append(latencyRows(floodRow), "deliveries per second", "resident memory at most, MB", "the generator's share of a processor, %"),
		bars:  []bar{b},
		run:   func(ctx context.Context, who contender) (outcome, error) { return c.flood(ctx, who, clients) },
	}
}

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
