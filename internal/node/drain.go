package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/forward"
)

// goodbyeTime is the part of drain.timeout that is left to cut what the drain did not close, and to say goodbye to the cluster.
const goodbyeTime = time.Second

// drainLogInterval is how often the log tells of a drain's progress, besides its phases.
const drainLogInterval = 5 * time.Second

// validate looks whether there is time for all of it.
func (c *drainConfig) validate() error {
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{{"drain.lame-duck", c.LameDuck}, {"drain.spread", c.Spread}} {
		if d.value < 0 {
			return invalidf(d.flag, "must be at least 0s, got %s", d.value)
		}
	}
	if c.LameDuck+c.Spread >= c.Timeout {
		return invalidf("drain.spread", "--drain.lame-duck (%s) and --drain.spread (%s) together must be less than --drain.timeout (%s)", c.LameDuck, c.Spread, c.Timeout)
	}
	return nil
}

// drainState is what a node knows of its own drain.
type drainState struct {
	asked chan string // by whom; has room for one

	mu       sync.Mutex
	progress *socketio.DrainProgress // nil: there is none
	changed  chan struct{}           // closed when there is other progress
}

func newDrainState() *drainState {
	return &drainState{asked: make(chan string, 1), changed: make(chan struct{})}
}

// ask makes the node drain, if it does not yet.
func (d *drainState) ask(who string) {
	select {
	case d.asked <- who:
	default: // it was asked before
	}
}

func (d *drainState) set(p socketio.DrainProgress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.progress = &p
	close(d.changed)
	d.changed = make(chan struct{})
}

// get returns the progress, and what is closed when it changes.
func (d *drainState) get() (p *socketio.DrainProgress, changed <-chan struct{}) {
	if d == nil {
		return nil, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.progress, d.changed
}

// drained reports whether a progress is the last one.
func drained(p *socketio.DrainProgress) bool {
	return p != nil && (p.Phase == socketio.DrainDone || p.Error != "")
}

// handOver drains the node until ctx ends, and logs it.
func (n *node) handOver(ctx context.Context) {
	c := &n.config.Drain
	n.draining.Store(true)
	start, phase, logged := time.Now(), socketio.DrainPhase(""), time.Time{}
	o := &socketio.DrainOptions{LameDuck: c.LameDuck, Spread: max(c.Spread, time.Millisecond), Rate: c.Rate}
	if n.forward != nil {
		o.Relays = n.forward
	}
	o.OnProgress = func(p socketio.DrainProgress) {
		n.drain.set(p)
		if p.Error == "" && p.Phase != socketio.DrainDone && (p.Phase != phase || time.Since(logged) >= drainLogInterval) {
			phase, logged = p.Phase, time.Now()
			n.log.Info("draining", "phase", p.Phase, "open", p.Open, "closed", p.Closed, "per_second", int(p.Rate), "takers", p.Takers)
		}
	}
	err := n.server.Drain(ctx, o)
	p, _ := n.drain.get()
	took := time.Since(start).Round(time.Millisecond).String()
	switch {
	case p == nil: // it could not begin
		n.log.Error("drain failed", "error", err)
	case err != nil:
		n.log.Warn("drain ended early: what is left is cut", "closed", p.Closed, "cut", p.Cut, "took", took, "cause", context.Cause(ctx))
	default:
		n.log.Info("drained", "closed", p.Closed, "took", took)
	}
}

// drain stops the node after SIGTERM or a request to drain, both of which come from those who run many nodes: its clients go over to the
// other nodes.
func (c *serveCommand) drain(n *node, why string, signalled bool, signals <-chan os.Signal) error {
	ctx, done := untilNextSignal(signals, !signalled)
	defer done()
	d := &n.config.Drain
	n.log.Info("shutting down", "cause", why, "lame_duck", d.LameDuck.String(), "spread", d.Spread.String(), "timeout", d.Timeout.String(),
		"connections", n.server.Connections())
	whole, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	draining, stop := context.WithTimeoutCause(ctx, d.Timeout-min(goodbyeTime, d.Timeout/4), fmt.Errorf("--drain.timeout (%s) is over", d.Timeout))
	defer stop()
	n.handOver(draining)
	open := n.server.Connections()
	err := n.shutdown(whole)
	return cutShort(ctx, open, err)
}

// untilNextSignal returns a context that ends with errSecondSignal when a signal comes. SIGTERM behind a request to drain is no
// second one: supervisors send it when their own command has returned.
func untilNextSignal(signals <-chan os.Signal, requested bool) (ctx context.Context, done func()) {
	ctx, hurry := context.WithCancelCause(context.Background())
	go func() {
		for {
			select {
			case s := <-signals:
				if s == syscall.SIGTERM && requested {
					requested = false
					continue
				}
				hurry(errSecondSignal)
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { hurry(nil) }
}

// cutShort is the result of an end in which so many connections were open when they were to be closed: an error if a signal
// made it short for them.
func cutShort(ctx context.Context, open int, err error) error {
	if context.Cause(ctx) != errSecondSignal || open == 0 {
		return err
	}
	return errSecondSignal
}

// serveDrain makes the node drain, and end when it has. With ?wait it answers with a line of JSON for each progress, until the drain
// has ended.
func (n *node) serveDrain(w http.ResponseWriter, r *http.Request) {
	if err := n.mayCommand(r); err != nil {
		n.log.Warn("a request to drain is refused", "from", r.RemoteAddr, "error", err)
		writeJSON(w, http.StatusForbidden, map[string]string{"error": err.Error()})
		return
	}
	if name := r.URL.Query().Get("node"); name != "" && name != n.id {
		writeJSON(w, http.StatusMisdirectedRequest, map[string]string{"error": fmt.Sprintf("this is node %s, not %s", n.id, name)})
		return
	}
	_, wait := r.URL.Query()["wait"]
	n.drain.ask("POST /drain from " + r.RemoteAddr)
	if !wait {
		_, h := n.ready()
		writeJSON(w, http.StatusAccepted, h)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusAccepted)
	out, c := json.NewEncoder(w), http.NewResponseController(w)
	for {
		p, changed := n.drain.get()
		if p != nil && (out.Encode(p) != nil || c.Flush() != nil) || drained(p) {
			return // told to the end, or nobody listens any more
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// mayCommand returns why a request may not tell this node what to do: it must come from this host, or be signed with the secret of
// the cluster for this node. What a browser sends is the doing of a page, and what a proxy passes on comes from somewhere else.
func (n *node) mayCommand(r *http.Request) error {
	for _, name := range []string{"Origin", "Sec-Fetch-Site"} {
		if r.Header.Get(name) != "" {
			return fmt.Errorf("pages cannot do this (header %s)", name)
		}
	}
	if forward.IsCommand(r) {
		if n.forward == nil {
			return fmt.Errorf("this node has no cluster secret (--node.forward is off): ask it from its own host")
		}
		if r.URL.Query().Get("node") != n.id { // it could be meant for another one
			return fmt.Errorf("the request does not name this node, %s", n.id)
		}
		return n.forward.VerifyCommand(r)
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("neither from this host nor signed with the cluster secret")
	}
	for _, name := range []string{"X-Forwarded-For", "Forwarded"} {
		if r.Header.Get(name) != "" {
			return fmt.Errorf("passed on by a proxy (header %s)", name)
		}
	}
	return nil
}
