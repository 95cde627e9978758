//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"text/tabwriter"
	"time"
)

type connectCmd struct {
	options `embed:""`
	drawing `embed:""`
	Clients int     `default:"1000" help:"Connections to make (default: ${default})."`
	Rate    float64 `default:"0" help:"Connections per second; 0: as fast as it goes, --parallel at a time (default: ${default})."`
}

// Validate is called when the flags have been read.
func (c *connectCmd) Validate() error {
	return errors.Join(c.validate(), between("clients", c.Clients, 1, maxClients), between("rate", c.Rate, 0, maxRate))
}

func (c *connectCmd) Run(ctx context.Context) error {
	set, end, err := c.begin(ctx, c.Clients)
	if err != nil {
		return err
	}
	defer end()
	result, err := runConnect(ctx, set, c.Rate)
	if err != nil {
		return err
	}
	title := fmt.Sprintf("%d connections, %.0f/s", result.Clients, result.PerSecond)
	return errors.Join(c.draw(title, filled(curve{"until in the namespace", &result.taken})), c.publish(result))
}

// A connectPlan says how connections are made.
type connectPlan struct {
	rate     float64 // a second; 0: as fast as it goes
	parallel int     // at a time, without a rate
	timeout  time.Duration
}

// connects are connections that were made, and those that were not.
type connects struct {
	mu      sync.Mutex // guards what follows while connections are made
	failed  int
	refused map[int]int // by HTTP status
	reason  error       // why the first failed
	taken   histogram   // from the intended time until the client was in the namespace
	late    histogram   // how long after its time a connection was begun
}

func (c *connects) add(taken, late time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late.record(int64(late))
	if err == nil {
		c.taken.record(int64(taken))
		return
	}
	c.failed++
	if c.reason == nil {
		c.reason = err
	}
	if r := (*refusal)(nil); errors.As(err, &r) {
		if c.refused == nil {
			c.refused = make(map[int]int)
		}
		c.refused[r.status]++
	}
}

// connectAll connects every client. It is an error if none could.
func (s *swarm) connectAll(ctx context.Context, plan connectPlan) (*connects, error) {
	var (
		made  connects
		wg    sync.WaitGroup
		slots = make(chan struct{}, plan.parallel)
		start = s.now()
	)
	for i, c := range s.clients {
		at := start + time.Duration(float64(i)*float64(time.Second)/max(plan.rate, 1e-9))
		if plan.rate > 0 {
			if err := s.sleepUntil(ctx, at); err != nil {
				break
			}
		} else {
			slots <- struct{}{}
			at = s.now()
		}
		wg.Go(func() {
			late := s.now() - at
			err := s.join(ctx, c, plan.timeout)
			made.add(s.now()-at, late, err)
			if plan.rate <= 0 {
				<-slots
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if made.failed == len(s.clients) {
		return nil, fmt.Errorf("no client could connect: %w", made.reason)
	}
	return &made, nil
}

// join connects one client and waits until it is in the namespace.
func (s *swarm) join(ctx context.Context, c *client, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errors.New("no answer to CONNECT in time"))
	defer cancel()
	fd, read, err := s.dial(ctx, c)
	if err != nil {
		return err
	}
	if err := c.attach(fd, read); err != nil {
		return err
	}
	select {
	case err := <-c.ready:
		return err
	case <-ctx.Done():
		c.close()
		return context.Cause(ctx)
	}
}

// dial opens the connection of a client.
func (s *swarm) dial(ctx context.Context, c *client) (fd int, read []byte, err error) {
	if c.via >= 0 {
		return dialThrough(ctx, s.targets[c.node], s.targets[c.via])
	}
	return dial(ctx, s.targets[c.node], c.stalls)
}

// runConnect connects the clients and measures nothing else.
func runConnect(ctx context.Context, set *setting, rate float64) (*connectResult, error) {
	s, err := newSwarm(set.targets, set.loops, silent(set.clients))
	if err != nil {
		return nil, err
	}
	defer s.close()
	stop := set.progress.watch(func() string { return fmt.Sprintf("%4.0fs  connected %d", s.now().Seconds(), s.total().joined) })
	memory := set.watchMemory()
	before, err := set.cost(os.Getpid())
	from := s.now()
	var made *connects
	if err == nil {
		made, err = s.connectAll(ctx, connectPlan{rate: rate, parallel: set.parallel, timeout: set.timeout})
	}
	to := s.now()
	stop()
	peak := memory.stop()
	if err != nil {
		return nil, err
	}
	after, err := set.cost(os.Getpid())
	if err != nil {
		return nil, err
	}
	open := set.clients - made.failed
	r := &connectResult{
		Clients: set.clients, Rate: rate, FailedConnects: made.failed, Refused: made.refused,
		Disconnected: s.total().disconnected, Errors: texts(made.reason, s.failure.get()),
		Seconds: (to - from).Seconds(), PerSecond: float64(open) / (to - from).Seconds(),
		Latency: summarize(&made.taken), StartDelayP99: millis(made.late.quantile(0.99)),
		GeneratorCores: (after.generator.cpu - before.generator.cpu).Seconds() / (to - from).Seconds(),
		OthersBusy:     others(before, after, to-from), taken: made.taken,
	}
	if len(set.pids) > 0 {
		r.MicrosPerConnect = perUnit{float64(open)}.micros(after.server.cpu - before.server.cpu)
		r.ServerRSS, r.ServerRSSPeak = after.server.rss, peak
	}
	return r, nil
}

// connectResult is what a run of connections found.
type connectResult struct {
	Clients          int         `json:"clients"`
	Rate             float64     `json:"rate"` // 0: as fast as it went
	FailedConnects   int         `json:"failed_connects"`
	Refused          map[int]int `json:"refused,omitempty"` // by HTTP status
	Disconnected     int64       `json:"disconnected"`
	Seconds          float64     `json:"seconds"`
	PerSecond        float64     `json:"connects_per_second"`
	Latency          *latency    `json:"latency"` // from the intended time until the client is in the namespace
	MicrosPerConnect float64     `json:"server_cpu_us_per_connect,omitempty"`
	ServerRSS        int64       `json:"server_rss_bytes,omitempty"`
	ServerRSSPeak    int64       `json:"server_rss_peak_bytes,omitempty"`
	GeneratorCores   float64     `json:"generator_cores"`
	StartDelayP99    float64     `json:"start_delay_p99_ms"`
	OthersBusy       float64     `json:"others_busy"`
	Errors           []string    `json:"errors,omitempty"`

	taken histogram
}

func (r *connectResult) mistakes() float64 {
	return float64(r.FailedConnects) + float64(r.Disconnected)
}

func (r *connectResult) faults() bool { return r.mistakes() > 0 }

func (r *connectResult) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	wanted := "as fast as it goes"
	if r.Rate > 0 {
		wanted = fmt.Sprintf("%g a second wanted", r.Rate)
	}
	fmt.Fprintf(t, "connections\t%d made in %.1f s, %.0f/s, %s\n", r.Clients-r.FailedConnects, r.Seconds, r.PerSecond, wanted)
	fmt.Fprintf(t, "failures\t%d failed, %d disconnected%s\n", r.FailedConnects, r.Disconnected, statuses(r.Refused))
	r.Latency.show(t, "latency")
	if r.ServerRSS > 0 {
		fmt.Fprintf(t, "server\t%.0f us of CPU per connect, %.1f MB resident, %.1f MB at most\n",
			r.MicrosPerConnect, float64(r.ServerRSS)/1e6, float64(r.ServerRSSPeak)/1e6)
	}
	fmt.Fprintf(t, "generator\t%.2f cores, p99 of starting late %.2f ms\n", r.GeneratorCores, r.StartDelayP99)
	showOthers(t, r.OthersBusy)
	showErrors(t, r.Errors)
	t.Flush()
}
