package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"example.com/chorus/pkg/adapter"
)

// ErrUnavailable is wrapped by the error of Publish while Redis is away and the queue is full.
var ErrUnavailable = errors.New("redis is unavailable")

// publisher sends messages from one goroutine. It commits in groups: what queues up while one pipeline is in
// flight goes out in the next, so the rate is bounded by Redis and not by the time of a round trip. It does not
// publish on the goroutine of the sender: that one would pay for a round trip before it delivers locally.
type publisher struct {
	rdb    redis.UniversalClient
	opts   *Options
	counts *counters
	traces *traces
	// listening waits until the subscription is whole, at most until ctx ends.
	listening func(ctx context.Context)
	// verify returns those of the entries whose answers got lost that did not go out. It is nil where there are no streams.
	verify    func(ctx context.Context, uncertain []outgoing) (missing []outgoing, err error)
	uncertain []outgoing // of the goroutine alone
	// regained is called each time when publishing begins to work. It must not wait.
	regained func()
	complain rate.Sometimes // logs errors of single messages
	wake     chan struct{}  // of capacity 1: the queue is not empty, or closing
	// accepts tells, in a cluster, whether the server is in charge of a message, and reroute takes messages elsewhere
	// that the server refused as not its own. Both are nil where there is but one server.
	accepts func(o *outgoing) bool
	reroute func(ctx context.Context, moved []outgoing, err error)

	failover *failover // nil without Sentinels

	mu      sync.Mutex
	queue   []outgoing
	bytes   int           // in queue
	moved   []outgoing    // to be merged into queue
	flying  chan struct{} // in a cluster: closed when it is settled what becomes of the group that is under way
	behind  []<-chan struct{}
	space   chan struct{} // closed when the queue gets shorter; nil while nobody waits for that
	idle    bool          // the goroutine waits for wake
	closing bool
	up      bool
	lost    bool      // a connection that worked failed
	refused bool      // Redis answers, and did not take entries of the newest group, which wait
	failure error     // why it is not up
	since   time.Time // of the failure
	moves   int       // of the master, when publishing began to work
}

func newPublisher(rdb redis.UniversalClient, o *Options, c *counters, t *traces, listening func(context.Context)) *publisher {
	return &publisher{
		rdb: rdb, opts: o, counts: c, traces: t, listening: listening,
		regained: func() {},
		complain: rate.Sometimes{First: 1, Interval: time.Second},
		wake:     make(chan struct{}, 1),
	}
}

// enqueue hands o over. It waits while the queue is full, unless Redis is away.
func (p *publisher) enqueue(ctx context.Context, o outgoing) error {
	for {
		p.mu.Lock()
		if p.accepts != nil && !p.accepts(&o) {
			p.mu.Unlock()
			return errNotInCharge
		}
		if p.closing {
			p.mu.Unlock()
			return fmt.Errorf("redisadapter: publish: %w", adapter.ErrClosed)
		}
		n := len(*o.payload)
		share := 1
		if o.answer {
			share = answerShare
		}
		if len(p.queue) == 0 || len(p.queue) < share*p.opts.PublishQueue && p.bytes+n <= share*p.opts.PublishQueueBytes {
			p.queue = append(p.queue, o)
			p.bytes += n
			idle := p.idle
			p.idle = false
			p.mu.Unlock()
			if idle {
				p.signal()
				// The publisher goes first, even if all processors are busy: a long fan-out of the caller would
				// delay the other nodes by its length. Measured at 50 us for the caller, once per idle period.
				runtime.Gosched()
			}
			return nil
		}
		failure := p.failure
		if ctx.Err() != nil { // the caller tries and comes again: nothing is lost by that
			p.mu.Unlock()
			return fmt.Errorf("redisadapter: publish: queue full (%d messages): %w", p.opts.PublishQueue, context.Cause(ctx))
		}
		if p.space == nil {
			p.space = make(chan struct{})
		}
		space := p.space
		p.mu.Unlock()
		if failure != nil {
			p.counts.queueFull.Add(1)
			return fmt.Errorf("redisadapter: publish: queue full (%d messages): %w: %w", p.opts.PublishQueue, ErrUnavailable, failure)
		}
		select {
		case <-space:
		case <-ctx.Done():
			p.counts.queueFull.Add(1)
			return fmt.Errorf("redisadapter: publish: queue full (%d messages): %w", p.opts.PublishQueue, context.Cause(ctx))
		}
	}
}

func (p *publisher) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// close makes run flush and end.
func (p *publisher) close() {
	p.mu.Lock()
	p.closing = true
	p.makeSpaceLocked()
	p.mu.Unlock()
	p.signal()
}

// run is the goroutine of the publisher; it ends after close, or with ctx.
func (p *publisher) run(ctx context.Context) {
	probe := time.NewTicker(pingInterval)
	defer probe.Stop()
	if p.status() == nil { // else recover comes first
		p.probe(ctx)
	}
	for ctx.Err() == nil {
		if p.status() != nil {
			if !p.recover(ctx) {
				break
			}
			continue
		}
		group, behind, closing := p.take()
		switch {
		case len(behind) > 0:
			p.await(ctx, behind)
		case len(group) > 0:
			p.send(ctx, group)
			p.land()
		case closing:
			return
		default:
			select {
			case <-p.wake:
			case <-probe.C:
				p.probe(ctx)
			case <-ctx.Done():
			}
		}
	}
	p.giveUp(append(p.uncertain, p.takeAll()...), errors.Join(adapter.ErrClosed, p.status()))
}

// recover tries until Redis answers and our own subscription is back, which stands for those of the other nodes:
// what is sent before they listen is lost. It returns false when the publisher closes first.
func (p *publisher) recover(ctx context.Context) bool {
	for attempt := 0; ; attempt++ {
		p.expire()
		pause := time.NewTimer(backoff(attempt))
		select {
		case <-pause.C:
		case <-p.wake: // perhaps to close
			pause.Stop()
		case <-ctx.Done():
			pause.Stop()
		}
		if p.isClosing() || ctx.Err() != nil {
			return false
		}
		if err := p.rdb.Ping(ctx).Err(); err != nil {
			p.setFailure(err)
			continue
		}
		if err := p.settle(ctx); err != nil {
			p.setFailure(err)
			continue
		}
		if p.isRefused() && !p.retry(ctx) {
			continue
		}
		wait, cancel := context.WithTimeout(ctx, p.opts.Watchdog)
		p.listening(wait)
		cancel()
		p.setUp()
		return true
	}
}

func (p *publisher) probe(ctx context.Context) {
	if err := p.rdb.Ping(ctx).Err(); err != nil {
		p.setFailure(err)
	} else {
		p.setUp()
	}
}

// send publishes a group in one pipeline.
func (p *publisher) send(ctx context.Context, group []outgoing) {
	pipe := p.rdb.Pipeline()
	for i := range group {
		group[i].command(ctx, pipe, &group[i])
	}
	cmds, err := pipe.Exec(ctx)
	wait, sent := time.Since(group[0].queued), 0
	var again, lost, moved, refused []outgoing
	var cause, refusal, full error
	for i, o := range group {
		switch err := cmds[i].Err(); {
		case err == nil:
			p.counts.published[o.kind].Add(1)
			if !o.fleeting {
				sent++
			}
			if o.entry != nil && len(refused) > 0 { // which would come after it
				lost, cause, refused = append(lost, refused...), full, nil
			}
			o.finish(cmds[i], nil)
		case p.reroute != nil && isMoved(err) && !o.fleeting:
			moved, refusal = append(moved, o), err
		case neverSent(err) && !o.fleeting:
			again = append(again, o)
		case o.entry != nil && refusesWrites(err):
			refused, full = append(refused, o), err
		case o.entry != nil && !isReply(err):
			p.uncertain = append(p.uncertain, o)
		default:
			lost, cause = append(lost, o), err
		}
	}
	if sent > 0 {
		p.traces.published(sent, wait, nil)
	}
	p.setRefused(len(refused) > 0)
	if len(refused) > 0 {
		p.counts.publishError(errorKind(full), 1)
		p.setFailure(full)
	}
	if err != nil {
		elsewhere := p.reroute != nil && isMoved(err)
		if !elsewhere && (!isReply(err) || neverSent(err)) || len(p.uncertain) > 0 {
			p.setFailure(err)
		}
		p.putBack(append(again, refused...))
		if len(moved) > 0 {
			p.reroute(ctx, moved, refusal)
		}
		p.giveUp(lost, cause)
	}
}

// settle finds out which entries went out whose answers got lost, and has the others sent again before all else.
func (p *publisher) settle(ctx context.Context) error {
	if len(p.uncertain) == 0 {
		return nil
	}
	missing, err := p.verify(ctx, p.uncertain)
	if err != nil {
		return fmt.Errorf("look for entries whose answers got lost: %w", err)
	}
	for _, o := range p.uncertain {
		if !slices.ContainsFunc(missing, func(m outgoing) bool { return m.entry == o.entry }) {
			p.counts.published[o.kind].Add(1)
			o.finish(nil, nil)
		}
	}
	p.uncertain = nil
	p.putBack(missing)
	return nil
}

// expire gives up what waited too long for Redis. The time in which nobody knew that it is away does not count: else all
// that came behind a publication without answer would be given up with it.
func (p *publisher) expire() {
	limit := time.Now().Add(-p.opts.Watchdog)
	p.mu.Lock()
	var old []outgoing
	if p.since.Before(limit) && len(p.queue) > 0 && p.queue[0].queued.Before(limit) {
		p.queue = slices.DeleteFunc(p.takeLocked(len(p.queue)), func(o outgoing) bool {
			if o.entry != nil || !o.queued.Before(limit) {
				p.bytes += len(*o.payload)
				return false
			}
			old = append(old, o)
			return true
		})
	}
	failure := p.failure
	p.mu.Unlock()
	p.giveUp(old, failure)
}

// giveUp counts and reports messages that will not be sent.
func (p *publisher) giveUp(group []outgoing, err error) {
	defer func(all []outgoing) {
		for i := range all {
			all[i].finish(nil, err)
		}
	}(group)
	group = slices.DeleteFunc(slices.Clone(group), func(o outgoing) bool { return o.fleeting })
	if len(group) == 0 {
		return
	}
	kind := errorKind(err)
	p.counts.publishError(kind, len(group))
	p.traces.published(len(group), time.Since(group[0].queued), err)
	p.complain.Do(func() {
		p.opts.Logger.Error("redisadapter: messages given up", slog.Int("messages", len(group)),
			slog.String("kind", kind), slog.Any("error", err))
	})
}

// take returns the next group, or what must be settled elsewhere before there is one, and whether the publisher is closing.
func (p *publisher) take() (group []outgoing, behind []<-chan struct{}, closing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if behind, p.behind = p.behind, nil; len(behind) > 0 {
		return nil, behind, false
	}
	n, size := 0, 0
	for n < len(p.queue) && n < p.opts.PublishBatch && (n == 0 || size <= batchBytes) {
		size += len(*p.queue[n].payload)
		n++
	}
	if p.idle = n == 0; !p.idle && p.reroute != nil {
		p.flying = make(chan struct{})
	}
	return p.takeLocked(n), nil, p.closing
}

func (p *publisher) takeAll() []outgoing {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.takeLocked(len(p.queue))
}

func (p *publisher) takeLocked(n int) []outgoing {
	if n == 0 {
		return nil
	}
	group := p.queue[:n:n]
	if p.queue = p.queue[n:]; len(p.queue) == 0 {
		p.queue = nil
	}
	for i := range group {
		p.bytes -= len(*group[i].payload)
	}
	p.makeSpaceLocked()
	return group
}

func (p *publisher) makeSpaceLocked() {
	if p.space != nil {
		close(p.space)
		p.space = nil
	}
}

// putBack puts messages that were not sent in front of the others.
func (p *publisher) putBack(group []outgoing) {
	if len(group) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range group {
		p.bytes += len(*group[i].payload)
	}
	p.queue = append(group, p.queue...)
}

func (p *publisher) setUp() {
	p.mu.Lock()
	lost, up, cause := p.lost, p.up, "closed"
	p.up, p.lost, p.failure = true, false, nil
	if !up && p.failover.moved(&p.moves) {
		cause = "failover"
	}
	p.mu.Unlock()
	if !up {
		p.regained()
	}
	if lost { // as with subscriptions, the first connection is none made anew
		p.counts.reconnect(adapter.RolePublish, cause)
		p.traces.reconnected(adapter.RolePublish, cause)
		p.opts.Logger.Info("redisadapter: publishing again")
	}
}

func (p *publisher) setFailure(err error) {
	p.mu.Lock()
	was := p.failure
	if was == nil {
		p.since = time.Now()
	}
	p.lost = p.lost || p.up
	p.up, p.failure = false, err
	p.makeSpaceLocked() // who waits for room learns that it will not come soon
	p.mu.Unlock()
	if was == nil || errorKind(was) != errorKind(err) {
		p.opts.Logger.Error("redisadapter: cannot publish", slog.String("kind", errorKind(err)), slog.Any("error", err))
	}
}

// status returns why messages cannot be published, or nil.
func (p *publisher) status() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failure
}

// setRefused notes whether Redis answers and takes no entries, for which there may be room, or another master, soon.
func (p *publisher) setRefused(refused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = refused
}

func (p *publisher) isRefused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}

// retry sends the next group again, and reports whether it was taken. What is no entry gets through with it.
func (p *publisher) retry(ctx context.Context) bool {
	group, _, _ := p.take()
	if len(group) > 0 {
		p.send(ctx, group)
	} else {
		p.setRefused(false)
	}
	return !p.isRefused()
}

func (p *publisher) isClosing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closing
}

// state returns whether Redis took the last message or ping, and how many messages wait.
func (p *publisher) state() (up bool, queued int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.up, len(p.queue)
}
