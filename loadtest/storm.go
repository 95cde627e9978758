//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

type stormCmd struct {
	options    `embed:""`
	drawing    `embed:""`
	Clients    int           `default:"10000" help:"Connections that are cut (default: ${default})."`
	Bystanders int           `default:"1000" help:"Connections besides --clients that stay (default: ${default})."`
	Within     time.Duration `default:"2s" help:"Time in which those that were cut come back for the first time (default: ${default})."`
	Settle     time.Duration `default:"2s" help:"Time between the last connection and the cut (default: ${default})."`
	Patience   time.Duration `default:"60s" help:"Time until all must be back (default: ${default})."`
}

// Validate is called when the flags have been read.
func (s *stormCmd) Validate() error {
	return errors.Join(
		s.validate(),
		between("clients", s.Clients, 1, maxClients),
		between("bystanders", s.Bystanders, 0, maxClients),
		between("within", s.Within, 0, time.Minute),
		between("settle", s.Settle, 0, maxDuration),
		between("patience", s.Patience, s.Within, maxDuration),
	)
}

func (s *stormCmd) Run(ctx context.Context) error {
	set, end, err := s.begin(ctx, s.Clients)
	if err != nil {
		return err
	}
	defer end()
	result, err := runStorm(ctx, set, stormPlan{s.Bystanders, s.Within, s.Settle, s.Patience})
	if err != nil {
		return err
	}
	title := fmt.Sprintf("%d connections cut at once, coming back within %v", s.Clients, s.Within)
	return errors.Join(s.draw(title, filled(curve{"until back", &result.back})), s.publish(result))
}

// A stormPlan says what stays and how the others come back.
type stormPlan struct {
	bystanders int
	within     time.Duration
	settle     time.Duration
	patience   time.Duration
}

// A storm is a run in which many connections are cut at once.
type storm struct {
	*swarm
	set       *setting
	plan      stormPlan
	cut       time.Duration // when, since the epoch
	end       time.Duration // when all were back, or given up
	attempts  connects      // of coming back
	back      histogram     // from the first intended time until the client was back
	retries   atomic.Int64
	told      atomic.Int64 // refusals that said when to come back
	backMu    sync.Mutex   // guards back
	abandoned int

	latePings int           // bystanders that were not pinged for longer than a client waits
	silence   time.Duration // the longest of a bystander
}

func runStorm(ctx context.Context, set *setting, plan stormPlan) (*stormResult, error) {
	s, err := newSwarm(set.targets, set.loops, silent(set.clients+plan.bystanders))
	if err != nil {
		return nil, err
	}
	t := &storm{swarm: s, set: set, plan: plan}
	t.watched = plan.bystanders
	stop := set.progress.watch(func() string {
		n := t.total()
		return fmt.Sprintf("%4.0fs  connected %d  retries %d  disconnected %d", t.now().Seconds(), n.joined, t.retries.Load(), n.disconnected)
	})
	memory := set.watchMemory()
	made, err := s.connectAll(ctx, connectPlan{parallel: set.parallel, timeout: set.timeout})
	if err == nil {
		err = pause(ctx, plan.settle)
	}
	var (
		before, after cost
		steady        int64
	)
	if err == nil {
		before, err = set.cost(os.Getpid())
	}
	if err == nil {
		steady = memory.restart()
		err = t.blow(ctx)
	}
	if err == nil {
		after, err = set.cost(os.Getpid())
	}
	if err == nil {
		err = t.awaitPings(ctx)
	}
	stop()
	peak := memory.stop()
	s.close()
	if err != nil {
		return nil, err
	}
	r := t.result(made, before, after)
	if len(set.pids) > 0 {
		r.ServerRSSSteady, r.ServerRSSPeak = steady, peak
		r.PeakRatio = float64(peak) / float64(steady)
		r.MicrosPerConnect = perUnit{float64(t.back.total)}.micros(after.server.cpu - before.server.cpu)
	}
	return r, nil
}

// blow cuts the connections and returns when their clients are back.
func (t *storm) blow(ctx context.Context) error {
	victims := t.clients[t.plan.bystanders:]
	t.cut = t.now()
	for _, c := range victims {
		if err := c.cut(); err != nil {
			return fmt.Errorf("cut: %w", err)
		}
	}
	limited, cancel := context.WithTimeout(ctx, t.plan.patience)
	defer cancel()
	var wg sync.WaitGroup
	for _, c := range victims {
		wg.Go(func() { t.comeBack(limited, c) })
	}
	wg.Wait()
	t.end = t.now()
	t.abandoned = len(victims) - int(t.back.total)
	return ctx.Err()
}

// comeBack connects a client again as the official one does, until it is
// connected or ctx ends.
func (t *storm) comeBack(ctx context.Context, c *client) {
	first := t.cut + time.Duration(rand.Float64()*float64(t.plan.within))
	at := first
	for failed := 0; ; {
		if pause(ctx, at-t.now()) != nil {
			return
		}
		late := t.now() - at
		err := t.join(ctx, c, t.set.timeout)
		now := t.now()
		t.attempts.add(now-at, late, err)
		if err == nil {
			t.backMu.Lock()
			defer t.backMu.Unlock()
			t.back.record(int64(now - first))
			return
		}
		if r := (*refusal)(nil); errors.As(err, &r) && r.retryAfter {
			t.told.Add(1)
		}
		failed++
		t.retries.Add(1)
		at = now + backoff(failed)
	}
}

// awaitPings waits until every bystander was pinged after the storm began, or
// should have been long ago.
func (t *storm) awaitPings(ctx context.Context) error {
	bystanders := t.clients[:t.plan.bystanders]
	err := await(ctx, t.heartbeat.lapse()-(t.now()-t.cut), func() bool {
		return !slices.ContainsFunc(bystanders, func(c *client) bool { return c.quiet(t.cut) })
	})
	for _, c := range bystanders {
		longest, connected := c.longestSilence(t.now())
		if !connected {
			continue // counted as such
		}
		t.silence = max(t.silence, longest)
		if longest > t.heartbeat.lapse() {
			t.latePings++
		}
	}
	return err
}

// result sums up. The swarm is closed.
func (t *storm) result(made *connects, before, after cost) *stormResult {
	r := &stormResult{
		Clients: len(t.clients) - t.plan.bystanders, Bystanders: t.plan.bystanders, Within: t.plan.within.Seconds(),
		FailedConnects: made.failed, Disconnected: t.total().disconnected,
		Back: int(t.back.total), Abandoned: t.abandoned, Seconds: (t.end - t.cut).Seconds(),
		Retries: t.retries.Load(), Refused: t.attempts.refused, RetryAfter: t.told.Load(),
		StartDelayP99: millis(t.attempts.late.quantile(0.99)),
		LatePings:     t.latePings, LongestSilence: t.silence.Seconds(),
		Failed: t.attempts.failed, Latency: summarize(&t.back), back: t.back,
		GeneratorCores: (after.generator.cpu - before.generator.cpu).Seconds() / (t.end - t.cut).Seconds(),
		OthersBusy:     others(before, after, t.end-t.cut),
		Errors:         texts(made.reason, t.attempts.reason, t.failure.get()),
	}
	for _, n := range r.Refused {
		r.Failed -= n
	}
	return r
}
