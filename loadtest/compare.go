//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

type compareCmd struct {
	Chorus   string        `default:"bin/chorus" help:"Chorus program (default: ${default})."`
	Peer     string        `default:"loadtest/node" help:"Folder of the Node.js peer, with npm ci done (default: ${default})."`
	Runs     int           `default:"3" help:"Runs of each server and each load (default: ${default})."`
	Clients  int           `default:"1000" help:"Connections of the fan-out loads (default: ${default})."`
	Rate     float64       `default:"20" help:"Messages per second (default: ${default})."`
	Size     int           `default:"100" help:"Bytes of a message's text (default: ${default})."`
	Duration time.Duration `default:"10s" help:"Measured time of each run (default: ${default})."`
	Idle     int           `default:"5000" help:"Connections of the idle load; 0 leaves it out (default: ${default})."`
	Write    string        `placeholder:"FILE" help:"Replace the table between the markers of this Markdown file."`
	Quiet    bool          `help:"Show no progress."`
}

// idlePing is how often the servers ping in the idle load: ten times their
// default, so that a short run sees enough pings.
const idlePing = 2500 * time.Millisecond

func (c *compareCmd) Run(ctx context.Context) error {
	if err := errors.Join(
		between("runs", c.Runs, 1, 20),
		between("clients", c.Clients, 2, maxClients),
		between("rate", c.Rate, 0.1, maxRate),
		between("size", c.Size, maxHeader, maxSize),
		between("duration", c.Duration, 100*time.Millisecond, maxDuration),
		between("idle", c.Idle, 0, maxClients),
	); err != nil {
		return err
	}
	versions, err := readVersions(ctx, c.Chorus, c.Peer)
	if err != nil {
		return err
	}
	tables := c.loads()
	faults := false
	for _, t := range tables {
		for run := range c.Runs {
			for i := range t.contenders {
				who := (run + i) % len(t.contenders) // each goes first in turn
				c.say("%s, run %d of %d: %s", t.title, run+1, c.Runs, t.contenders[who])
				cells, err := t.run(ctx, c.contender(who))
				if err != nil {
					return fmt.Errorf("%s: %s: %w", t.title, t.contenders[who], err)
				}
				t.add(who, cells)
				faults = faults || cells[len(cells)-1] > 0
			}
		}
	}
	text := versions + renderTables(tables)
	fmt.Print(text)
	if c.Write != "" {
		if err := replaceMarked(c.Write, text); err != nil {
			return fmt.Errorf("--write: %w", err)
		}
	}
	if faults {
		return errFaults
	}
	return nil
}

func (c *compareCmd) say(format string, args ...any) {
	if !c.Quiet {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}
}

// contender makes a starter of Node (0) or Chorus (1), the order of every
// table.
func (c *compareCmd) contender(i int) starter {
	if i == 0 {
		return nodePeer{filepath.Join(c.Peer, "server.js")}
	}
	return chorus{c.Chorus}
}

// loads returns a table for each load. The last row of each counts faults.
func (c *compareCmd) loads() []*table {
	fan := fmt.Sprintf("%d WebSocket clients, %g messages/s of %d B", c.Clients, c.Rate, c.Size)
	tables := []*table{
		newTable("One node, "+fan,
			[]string{"server CPU, us per delivery", "latency p50, ms", "latency p99, ms", "resident memory, MB", othersRow, faultRow},
			func(ctx context.Context, s starter) ([]float64, error) {
				r, err := c.fanout(ctx, s, 1, false)
				if err != nil {
					return nil, err
				}
				return []float64{r.ServerMicros, r.Own.P50, r.Own.P99, float64(r.ServerRSS) / 1e6, r.OthersBusy * 100, r.mistakes()}, nil
			}),
		newTable("Two nodes and Redis, "+fan,
			[]string{
				"CPU of both nodes, us per delivery", "CPU of Redis, us per delivery", "own node p50, ms", "own node p99, ms",
				"other node p50, ms", "other node p99, ms", othersRow, faultRow,
			},
			func(ctx context.Context, s starter) ([]float64, error) {
				r, err := c.fanout(ctx, s, 2, true)
				if err != nil {
					return nil, err
				}
				return []float64{r.ServerMicros, r.RedisMicros, r.Own.P50, r.Own.P99, r.Other.P50, r.Other.P99, r.OthersBusy * 100, r.mistakes()}, nil
			}),
	}
	if c.Idle > 0 {
		tables = append(tables, newTable(
			fmt.Sprintf("%d idle WebSocket connections, a ping each %v", c.Idle, idlePing),
			[]string{"resident memory, B per connection", "CPU, us per connect", "CPU, us per ping and pong", faultRow},
			c.idle))
	}
	return tables
}

const (
	othersRow = "noise: share of the machine that other processes took, %"
	faultRow  = "lost, duplicated, out of order, damaged, disconnected, failed connects"
)

// fanout runs one load on fresh servers.
func (c *compareCmd) fanout(ctx context.Context, s starter, nodes int, redis bool) (*fanoutResult, error) {
	set, stop, err := startCluster(ctx, s, clusterSpec{nodes: nodes, redis: redis})
	if err != nil {
		return nil, err
	}
	defer stop()
	set.clients, set.duration = c.Clients, c.Duration
	r, err := runFanout(ctx, set, fanoutPlan{rate: c.Rate, size: c.Size, senders: 1, warmup: 3 * time.Second, drain: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	if r.Own == nil || nodes > 1 && r.Other == nil {
		return nil, fmt.Errorf("nothing was delivered: %v", r.Errors)
	}
	c.say("  %.2f us per delivery; others used %.0f %% of the machine; generator %.0f %% busy", r.ServerMicros, r.OthersBusy*100, r.GeneratorBusy*100)
	return r, nil
}

func (c *compareCmd) idle(ctx context.Context, s starter) ([]float64, error) {
	set, stop, err := startCluster(ctx, s, clusterSpec{nodes: 1, ping: idlePing})
	if err != nil {
		return nil, err
	}
	defer stop()
	set.clients, set.duration = c.Idle, c.Duration
	r, err := runIdle(ctx, set, 2*time.Second)
	if err != nil {
		return nil, err
	}
	return []float64{
		float64(r.BytesPerConnection), r.MicrosPerConnect, r.MicrosPerPing,
		float64(r.Disconnected) + float64(r.FailedConnects),
	}, nil
}
