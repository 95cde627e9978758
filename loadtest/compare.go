//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

type compareCmd struct {
	drawing  `embed:""`
	Chorus   string        `default:"bin/chorus" help:"Chorus program (default: ${default})."`
	Peer     string        `default:"loadtest/node" help:"Folder of the Node.js peer, with npm ci done (default: ${default})."`
	Loads    []string      `default:"fanout,flood,flood5000,two-nodes,idle,connect" help:"Loads; there are growth, rooms, stalled, storm and drain too (default: ${default})."`
	Runs     int           `default:"3" help:"Runs of each server and each load (default: ${default})."`
	Clients  int           `default:"1000" help:"Connections of fanout, flood and two-nodes (default: ${default})."`
	Rate     float64       `default:"20" help:"Messages per second of fanout and two-nodes (default: ${default})."`
	Size     int           `default:"100" help:"Bytes of a message's text (default: ${default})."`
	Duration time.Duration `default:"10s" help:"Measured time of each run (default: ${default})."`
	Warmup   time.Duration `default:"3s" help:"Time under the same load that is not measured (default: ${default})."`
	Idle     int           `default:"10000" help:"Connections of idle, connect and storm (default: ${default})."`
	Noise    float64       `default:"1" help:"Share of the machine, 0 to 1, that other processes may take: wait before a run and repeat it if they take more (default: ${default}, anything goes)."`
	Patience time.Duration `default:"5m" help:"Time for waiting and repeating, all together; later runs count as they are (default: ${default})."`
	Write    string        `placeholder:"FILE" help:"Replace what is between the markers of each load in this Markdown file, as soon as it is measured."`
	Quiet    bool          `help:"Show no progress."`
}

// Validate is called when the flags have been read.
func (c *compareCmd) Validate() error {
	_, err := c.chosen()
	return errors.Join(
		err,
		between("runs", c.Runs, 1, 20),
		between("clients", c.Clients, floodInflight, maxClients),
		between("rate", c.Rate, 0.1, maxRate),
		between("size", c.Size, maxHeader, maxSize),
		between("duration", c.Duration, 100*time.Millisecond, maxDuration),
		between("warmup", c.Warmup, 0, maxDuration),
		between("idle", c.Idle, 1, maxClients-stormBystanders),
		between("noise", c.Noise, 0, 1),
		between("patience", c.Patience, 0, time.Hour),
	)
}

// chosen returns the loads of --loads, in an order of their own.
func (c *compareCmd) chosen() ([]load, error) {
	all := c.loads()
	for _, name := range c.Loads {
		if !slices.ContainsFunc(all, func(l load) bool { return l.name == name }) {
			return nil, fmt.Errorf("--loads: there is no load %q", name)
		}
	}
	some := slices.DeleteFunc(all, func(l load) bool { return !slices.Contains(c.Loads, l.name) })
	if len(some) == 0 {
		return nil, errors.New("--loads: want at least one")
	}
	return some, nil
}

func (c *compareCmd) Run(ctx context.Context) error {
	loads, err := c.chosen()
	if err != nil {
		return err
	}
	for _, l := range loads {
		if c.Write != "" { // better now than when it is measured
			if _, _, err := cutMarked(c.Write, l.mark()); err != nil {
				return fmt.Errorf("--write: %w", err)
			}
		}
	}
	versions, err := readVersions(ctx, c.Chorus, c.Peer)
	if err != nil {
		return err
	}
	faults, drawn := false, false
	for _, l := range loads {
		contenders := c.contenders()
		if l.alone {
			contenders = contenders[1:]
		}
		t, err := c.measure(ctx, l, contenders)
		if err != nil {
			return fmt.Errorf("%s: %w", l.title, err)
		}
		faults = faults || t.faults()
		text := versions + "\n" + commandLine() + "\n" + renderTables([]*table{t}) + renderBars(t, l.bars)
		if curves := t.curves(); c.SVG != "" && !drawn && curves != nil {
			drawn = true
			if err := c.draw(l.title, curves); err != nil {
				return err
			}
			text += c.picture(l.title)
		}
		fmt.Println(text)
		if c.Write != "" {
			if err := replaceMarked(c.Write, l.mark(), text); err != nil {
				return fmt.Errorf("--write: %w", err)
			}
		}
	}
	if c.SVG != "" && !drawn {
		return errors.New("--svg: none of the loads has latencies")
	}
	if faults {
		return errFaults
	}
	return nil
}

// picture shows the drawing in the file that is written.
func (c *compareCmd) picture(title string) string {
	path, err := filepath.Rel(filepath.Dir(c.Write), c.SVG)
	if err != nil { // one is absolute, the other is not
		path = c.SVG
	}
	return fmt.Sprintf("\n![Latencies by percentile: %s](%s)\n", title, filepath.ToSlash(path))
}

// mark names a load's part of a file.
func (l load) mark() string { return "compare " + l.name }

// commandLine is how this program was called, for whoever wants to repeat it.
func commandLine() string {
	return "Command: `go run ./loadtest " + strings.Join(os.Args[1:], " ") + "`"
}

// measure runs a load several times; the contenders take turns, and each goes
// first in turn.
func (c *compareCmd) measure(ctx context.Context, l load, contenders []contender) (*table, error) {
	t := newTable(l.title, l.rows)
	if l.alone {
		t = newTableAlone(l.title, l.rows)
	}
	for run := range c.Runs {
		for i := range contenders {
			who := (run + i) % len(contenders)
			c.say("%s, run %d of %d: %s", l.title, run+1, c.Runs, t.contenders[who])
			o, err := c.calm(ctx, l, contenders[who])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.contenders[who], err)
			}
			t.add(who, o)
		}
	}
	return t, nil
}

// calm runs one load of one contender while the machine is quiet, again if it
// did not stay so. A run with mistakes counts always.
func (c *compareCmd) calm(ctx context.Context, l load, who contender) (outcome, error) {
	for {
		if err := c.awaitQuiet(ctx); err != nil {
			return outcome{}, err
		}
		start := time.Now()
		o, err := l.run(ctx, who)
		if err != nil {
			return outcome{}, err
		}
		c.say("  %s: %s; noise %.0f %%", l.rows[0], figure(o.figures[0]), o.noise*100)
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

// A contender is one of the servers that are compared.
type contender struct {
	server starter
	rooms  starter // lets clients join rooms
}

// contenders are in the order of every table.
func (c *compareCmd) contenders() []contender {
	node := nodePeer{filepath.Join(c.Peer, "server.js")}
	return []contender{{node, node}, {chorus{c.Chorus}, roomServer{}}}
}
