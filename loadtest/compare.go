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
	Noise    float64       `default:"1" help:"Share of the machine, 0 to 1, that other processes may take: wait before a run and repeat it if they take more (default: ${default}, anything goes)."`
	Patience time.Duration `default:"5m" help:"Time for waiting and repeating, all together; later runs count as they are (default: ${default})."`
	Write    string        `placeholder:"FILE" help:"Replace the table between the markers of this Markdown file."`
	Quiet    bool          `help:"Show no progress."`
}

// idlePing is how often the servers ping in the idle load: ten times their
// default, so that a short run sees enough pings.
const idlePing = 2500 * time.Millisecond

// Validate is called when the flags have been read.
func (c *compareCmd) Validate() error {
	return errors.Join(
		between("runs", c.Runs, 1, 20),
		between("clients", c.Clients, 2, maxClients),
		between("rate", c.Rate, 0.1, maxRate),
		between("size", c.Size, maxHeader, maxSize),
		between("duration", c.Duration, 100*time.Millisecond, maxDuration),
		between("idle", c.Idle, 0, maxClients),
		between("noise", c.Noise, 0, 1),
		between("patience", c.Patience, 0, time.Hour),
	)
}

func (c *compareCmd) Run(ctx context.Context) error {
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
				o, err := c.calm(ctx, t, who)
				if err != nil {
					return fmt.Errorf("%s: %s: %w", t.title, t.contenders[who], err)
				}
				t.add(who, o)
				faults = faults || o.mistakes > 0
			}
		}
	}
	text := versions + renderTables(tables)
	fmt.Print(text)
	if c.Write != "" {
		if err := replaceMarked(c.Write, "compare", text); err != nil {
			return fmt.Errorf("--write: %w", err)
		}
	}
	if faults {
		return errFaults
	}
	return nil
}

// calm runs one load of one contender while the machine is quiet, again if it
// did not stay so. A run with mistakes counts always.
func (c *compareCmd) calm(ctx context.Context, t *table, who int) (outcome, error) {
	for {
		if err := c.awaitQuiet(ctx); err != nil {
			return outcome{}, err
		}
		start := time.Now()
		o, err := t.run(ctx, c.contender(who))
		if err != nil {
			return outcome{}, err
		}
		c.say("  %s: %s; noise %.0f %%", t.rows[0], figure(o.figures[0]), o.noise*100)
		if o.noise <= c.Noise || o.mistakes > 0 || c.Patience <= 0 {
			return o, nil
		}
		c.Patience -= time.Since(start)
		c.say("  too noisy, again")
	}
}

// awaitQuiet waits until the processes of this machine, of which none is ours
// now, leave it in peace for a second, or the patience is over.
func (c *compareCmd) awaitQuiet(ctx context.Context) error {
	for c.Noise < 1 && c.Patience > 0 {
		before, err := machineBusy()
		if err != nil {
			return err
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		after, err := machineBusy()
		if err != nil {
			return err
		}
		if others(cost{machine: before}, cost{machine: after}, time.Second) <= c.Noise {
			return nil
		}
		c.Patience -= time.Second
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

// loads returns a table for each load.
func (c *compareCmd) loads() []*table {
	fan := fmt.Sprintf("%d WebSocket clients, %g messages/s of %d B", c.Clients, c.Rate, c.Size)
	tables := []*table{
		newTable("One node, "+fan,
			[]string{"server CPU, us per delivery", "latency p50, ms", "latency p99, ms", "resident memory, MB"},
			func(ctx context.Context, s starter) (outcome, error) {
				r, err := c.fanout(ctx, s, clusterSpec{nodes: 1})
				if err != nil {
					return outcome{}, err
				}
				return r.outcome(r.ServerMicros, r.Own.P50, r.Own.P99, float64(r.ServerRSS)/1e6), nil
			}),
		newTable("Two nodes and Redis, "+fan,
			[]string{
				"CPU of both nodes, us per delivery", "CPU of Redis, us per delivery", "own node p50, ms", "own node p99, ms",
				"other node p50, ms", "other node p99, ms",
			},
			func(ctx context.Context, s starter) (outcome, error) {
				r, err := c.fanout(ctx, s, clusterSpec{nodes: 2, redis: true})
				if err != nil {
					return outcome{}, err
				}
				return r.outcome(r.ServerMicros, r.RedisMicros, r.Own.P50, r.Own.P99, r.Other.P50, r.Other.P99), nil
			}),
	}
	if c.Idle > 0 {
		tables = append(tables, newTable(
			fmt.Sprintf("%d idle WebSocket connections, a ping each %v", c.Idle, idlePing),
			[]string{"resident memory, B per connection", "CPU, us per connect", "CPU, us per ping and pong"},
			c.idle))
	}
	return tables
}

func (r *trafficResult) outcome(figures ...float64) outcome {
	return outcome{figures: figures, mistakes: r.mistakes(), noise: r.OthersBusy}
}

// fanout runs one load on fresh servers.
func (c *compareCmd) fanout(ctx context.Context, s starter, spec clusterSpec) (*trafficResult, error) {
	set, stop, err := startCluster(ctx, s, spec)
	if err != nil {
		return nil, err
	}
	defer stop()
	set.clients = c.Clients
	r, err := runFanout(ctx, set, fanoutPlan{
		sending: sending{c.Duration, 3 * time.Second, 5 * time.Second, c.Size}, event: defaultEvent, rate: c.Rate, senders: 1,
	})
	if err != nil {
		return nil, err
	}
	if r.Own == nil || spec.nodes > 1 && r.Other == nil {
		return nil, fmt.Errorf("nothing was delivered: %v", r.Errors)
	}
	return r, nil
}

func (c *compareCmd) idle(ctx context.Context, s starter) (outcome, error) {
	set, stop, err := startCluster(ctx, s, clusterSpec{nodes: 1, ping: idlePing})
	if err != nil {
		return outcome{}, err
	}
	defer stop()
	set.clients = c.Idle
	r, err := runIdle(ctx, set, c.Duration, 2*time.Second)
	if err != nil {
		return outcome{}, err
	}
	return outcome{
		figures:  []float64{float64(r.BytesPerConnection), r.MicrosPerConnect, r.MicrosPerPing},
		mistakes: float64(r.Disconnected) + float64(r.FailedConnects),
		noise:    r.OthersBusy,
	}, nil
}
