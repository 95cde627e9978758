//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

type idleCmd struct {
	options  `embed:""`
	Clients  int           `default:"1000" help:"Connections (default: ${default})."`
	Duration time.Duration `default:"10s" help:"Time that is measured (default: ${default}, at most 10m)."`
	Settle   time.Duration `default:"2s" help:"Time between the last connection and the measurement (default: ${default})."`
}

// Validate is called when the flags have been read.
func (i *idleCmd) Validate() error {
	return errors.Join(
		i.validate(),
		between("clients", i.Clients, 1, maxClients),
		between("duration", i.Duration, 100*time.Millisecond, maxDuration),
		between("settle", i.Settle, 0, maxDuration),
	)
}

func (i *idleCmd) Run(ctx context.Context) error {
	set, end, err := i.begin(ctx, i.Clients)
	if err != nil {
		return err
	}
	defer end()
	result, err := runIdle(ctx, set, i.Duration, i.Settle)
	if err != nil {
		return err
	}
	return i.publish(result)
}

// runIdle connects clients that do nothing but answer pings. Memory is what
// the servers grew by since before the first connection.
func runIdle(ctx context.Context, set *setting, duration, settle time.Duration) (*idleResult, error) {
	s, err := newSwarm(set.targets, set.loops, silent(set.clients))
	if err != nil {
		return nil, err
	}
	defer s.close()
	stop := set.progress.watch(func() string {
		n := s.total()
		return fmt.Sprintf("%4.0fs  pings %d  disconnected %d", s.now().Seconds(), n.pings, n.disconnected)
	})
	defer stop()
	memory := set.watchMemory()
	defer memory.stop()
	empty, err := set.cost(os.Getpid())
	if err != nil {
		return nil, err
	}
	begin := s.now()
	made, err := s.connectAll(ctx, connectPlan{parallel: set.parallel, timeout: set.timeout})
	if err != nil {
		return nil, err
	}
	connected := s.now()
	full, err := set.cost(os.Getpid())
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	before, err := set.cost(os.Getpid())
	if err != nil {
		return nil, err
	}
	from, pings := s.now(), s.total().pings
	if err := pause(ctx, duration); err != nil {
		return nil, err
	}
	after, err := set.cost(os.Getpid())
	if err != nil {
		return nil, err
	}
	end := s.now()
	r := &idleResult{
		Clients: set.clients, FailedConnects: made.failed, Disconnected: s.total().disconnected,
		ConnectSeconds: (connected - begin).Seconds(), Seconds: (end - from).Seconds(),
		Pings: s.total().pings - pings, Errors: texts(made.reason, s.failure.get()),
	}
	r.OthersBusy = others(before, after, end-from)
	if len(set.pids) > 0 {
		r.ServerRSS, r.ServerRSSPeak = after.server.rss, memory.peak.Load()
		open := set.clients - made.failed
		r.BytesPerConnection = (after.server.rss - empty.server.rss) / int64(open)
		r.MicrosPerConnect = perUnit{float64(open)}.micros(full.server.cpu - empty.server.cpu)
		r.MicrosPerPing = perUnit{float64(r.Pings)}.micros(after.server.cpu - before.server.cpu)
	}
	return r, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
