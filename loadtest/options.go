//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// Bounds of one run: a load test ends, and leaves the machine alive.
const (
	maxClients  = 50_000
	maxRate     = 100_000
	maxSize     = 1_000_000
	maxDuration = 10 * time.Minute
)

// options are the flags that every kind of load has.
type options struct {
	URL         []string      `name:"url" default:"http://127.0.0.1:3000" help:"Nodes under test; clients are spread evenly (default: ${default})."`
	AllowRemote bool          `help:"Permit URLs that are not loopback addresses."`
	Exec        []string      `sep:"none" placeholder:"COMMAND" help:"Start this server for the run and measure it; once for each node."`
	PID         []int         `name:"pid" help:"Local server processes to measure."`
	RedisPID    int           `name:"redis-pid" help:"Local Redis process to measure."`
	JSON        string        `name:"json" placeholder:"FILE" help:"Also write the result as JSON; - is the standard output instead of the table."`
	Loops       int           `default:"1" help:"Threads that read (default: ${default}); raise it if the generator is reported busy."`
	Parallel    int           `default:"32" help:"Connections made at the same time (default: ${default})."`
	Timeout     time.Duration `default:"20s" help:"Time for one connection to be made (default: ${default})."`
	Quiet       bool          `help:"Show no progress."`
}

// defaultEvent is what the server of the Socket.IO tutorial relays.
const defaultEvent = "chat message"

// sending are the flags of loads that send messages.
type sending struct {
	Duration time.Duration `default:"10s" help:"Time that is measured (default: ${default}, at most 10m)."`
	Warmup   time.Duration `default:"3s" help:"Time under the same load that is not measured (default: ${default})."`
	Drain    time.Duration `default:"5s" help:"Time that messages may take to come after the last (default: ${default})."`
	Size     int           `default:"100" help:"Bytes of a message's text (default: ${default})."`
}

func (s *sending) validate() error {
	return errors.Join(
		between("duration", s.Duration, 100*time.Millisecond, maxDuration),
		between("warmup", s.Warmup, 0, maxDuration),
		between("drain", s.Drain, 0, maxDuration),
		between("size", s.Size, maxHeader, maxSize),
	)
}

// between checks a number against its bounds.
func between[T int | float64 | time.Duration](flag string, v, low, high T) error {
	if v < low || v > high {
		return fmt.Errorf("--%s %v: want %v to %v", flag, v, low, high)
	}
	return nil
}

func (o *options) validate() error {
	_, err := o.targets()
	return errors.Join(
		err,
		between("loops", o.Loops, 1, 64),
		between("parallel", o.Parallel, 1, 1000),
		between("timeout", o.Timeout, 100*time.Millisecond, maxDuration),
	)
}

func (o *options) targets() ([]target, error) {
	var all []target
	for _, raw := range o.URL {
		t, err := parseTarget(raw, o.AllowRemote)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

// begin starts the servers of --exec and gives what a run with so many clients
// needs. The returned function ends them.
func (o *options) begin(ctx context.Context, clients int) (*setting, func(), error) {
	targets, err := o.targets()
	if err != nil {
		return nil, nil, err
	}
	set := &setting{
		targets: targets, clients: clients, loops: o.Loops, parallel: o.Parallel, timeout: o.Timeout,
		pids: o.PID, redisPID: o.RedisPID,
	}
	if !o.Quiet {
		set.progress = terminal()
	}
	var running servers
	for _, command := range o.Exec {
		s, err := startServer(command, nil, "sh", "-c", "exec "+command)
		if err != nil {
			running.stop()
			return nil, nil, err
		}
		running = append(running, s)
		set.pids = append(set.pids, s.pid())
	}
	if err := running.waitReady(ctx, targets); err != nil {
		running.stop()
		return nil, nil, err
	}
	return set, running.stop, nil
}

// A setting is what every run is given.
type setting struct {
	targets  []target
	clients  int
	loops    int
	parallel int
	timeout  time.Duration
	pids     []int
	redisPID int     // 0: none
	internal string  // internal address of the last node
	last     *server // that node; nil: it is not ours
	progress *progress
}

// cost is what the processes of a run have used up to now.
type cost struct {
	server, redis, generator usage
	machine                  time.Duration // CPU of all processes
}

func (s *setting) cost(self int) (c cost, err error) {
	if c.server, err = sumUsage(s.pids); err != nil {
		return cost{}, err
	}
	if s.redisPID != 0 {
		if c.redis, err = readUsage(s.redisPID); err != nil {
			return cost{}, err
		}
	}
	if c.machine, err = machineBusy(); err != nil {
		return cost{}, err
	}
	c.generator, err = readUsage(self)
	return c, err
}

// others returns the share of the machine that processes outside the run took
// between two moments.
func others(before, after cost, wall time.Duration) float64 {
	ours := func(c cost) time.Duration { return c.server.cpu + c.redis.cpu + c.generator.cpu }
	foreign := after.machine - before.machine - (ours(after) - ours(before))
	return max(0, foreign.Seconds()/wall.Seconds()/float64(runtime.NumCPU()))
}
