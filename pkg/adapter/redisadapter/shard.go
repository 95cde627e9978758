package redisadapter

import (
	"context"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// shard is one master of a cluster.
type shard struct {
	addr       string
	rdb        *redis.Client // nil of the shard nowhere
	opts       Options
	publisher  *publisher
	subscriber *subscriber
	probed     atomic.Pointer[string] // the channel on which the node hears itself
	succeeds   bool                   // a master that was lost; set before the start
	published  chan struct{}          // closed when the publisher ended
	ended      chan struct{}          // closed when all goroutines ended
	end        context.CancelFunc     // nil before the start
}

// newShard returns a master that is not started.
func (s *shards) newShard(addr string, rdb *redis.Client) *shard {
	sh := &shard{
		addr: addr, rdb: rdb, opts: s.line.opts, published: make(chan struct{}), ended: make(chan struct{}),
	}
	sh.opts.Logger = sh.opts.Logger.With(slog.String("server", addr))
	open := func(ctx context.Context) *redis.PubSub {
		s.ask() // this may be a connection in the place of one to a master that is none any more
		return rdb.Subscribe(ctx)
	}
	sh.subscriber = newSubscriber(open, &sh.opts, s.line.counts, &s.line.traces)
	sh.subscriber.gap = &s.gap
	sh.subscriber.turns = new(turns)
	sh.subscriber.refused = func(t topic, refusals int, err error) {
		if refusals <= redirectsAtOnce {
			s.redirect(sh, t.channel, err)
		} else {
			s.ask()
		}
	}
	sh.publisher = newPublisher(rdb, &sh.opts, s.line.counts, &s.line.traces, sh.listening)
	sh.publisher.accepts = func(o *outgoing) bool { return s.owner(o.channel) == sh }
	sh.publisher.reroute = func(ctx context.Context, moved []outgoing, err error) { s.reroute(ctx, sh, moved, err) }
	// Nothing is sent before this node listens, which stands for the others: they come here at the same time.
	sh.publisher.failure = errNotConnected
	return sh
}

// listening waits until this node listens to the master and the others can be expected to, at most until ctx ends.
func (sh *shard) listening(ctx context.Context) {
	sh.subscriber.listening(ctx)
	if sh.succeeds {
		sh.succeeds = false
		sleep(ctx, outageGrace)
	}
}

// startLocked starts the goroutines of a master, unless they run already; they end with retire, or with the line.
func (s *shards) startLocked(sh *shard) {
	if sh.end != nil {
		return
	}
	ctx, end := context.WithCancel(s.line.life)
	sh.end = end
	listened := make(chan struct{})
	s.line.goroutines.Go(func() {
		defer close(listened)
		sh.subscriber.run(ctx)
	})
	s.line.goroutines.Go(func() {
		defer close(sh.ended)
		sh.publisher.run(ctx)
		close(sh.published)
		<-listened
		_ = sh.rdb.Close()
	})
}

// retire ends a master that is in charge of nothing any more, after what it was told has been answered.
func (sh *shard) retire() {
	sh.publisher.close()
	timer := time.NewTimer(sh.opts.Watchdog)
	defer timer.Stop()
	select {
	case <-sh.published:
	case <-timer.C:
	}
	sh.end()
	<-sh.ended
}

// probeLocked has the node hear itself over this master: on a channel of one of its slots, another one when that moved.
func (sh *shard) probeLocked(s *shards) {
	if old := sh.probed.Load(); old != nil && s.owner(*old) == sh {
		return
	}
	const tries = 1 << 20 // one slot of all is found by then
	for i := range tries {
		channel := memberChannel(s.line.uid) + "probe" + strconv.Itoa(i)
		if s.owner(channel) != sh {
			continue
		}
		fresh := sh.probed.Swap(&channel) == nil
		i := interest{channel: channel, method: sharded}
		if fresh {
			sh.subscriber.probeWith(newProbe(i, sh.publishProbe))
		} else {
			sh.subscriber.probe.restart()
			i.kind = kindMembership
			sh.subscriber.follow(sh.subscriber.probe, i, false)
		}
		return
	}
}

func (sh *shard) publishProbe(payload string, done func(error)) {
	if up, _ := sh.publisher.state(); !up {
		return
	}
	o := newOutgoing(spublishCommand, *sh.probed.Load(), kindMembership)
	o.fleeting, o.done = true, func(_ redis.Cmder, err error) { done(err) }
	*o.payload = append(*o.payload, payload...)
	if err := sh.publisher.enqueue(ended, o); err != nil { // the next one comes in a second
		o.release()
	}
}

// reroute takes messages to the master that is in charge of them; moved is not empty, and err says why they were not
// taken. It may wait a little, which holds up the publisher of the master that refused them.
func (s *shards) reroute(ctx context.Context, from *shard, moved []outgoing, err error) {
	most := 0
	for i := range moved {
		moved[i].redirects++
		most = max(most, moved[i].redirects)
	}
	followed := s.redirect(from, moved[0].channel, err)
	if !followed || most > redirectsAtOnce {
		sleep(ctx, backoff(min(most, 3)))
	}
	limit := time.Now().Add(-from.opts.Watchdog)
	var late []outgoing
	s.mu.Lock()
	all := s.allLocked()
	if s.masters[from.addr] != from {
		all = append(all, from)
	}
	for _, sh := range all {
		sh.publisher.mu.Lock()
	}
	for _, o := range moved {
		if o.queued.Before(limit) || s.closing && ctx.Err() != nil {
			late = append(late, o)
		} else {
			s.owner(o.channel).publisher.insertLocked(o)
		}
	}
	for _, sh := range all {
		sh.publisher.mergeLocked()
		sh.publisher.mu.Unlock()
		if sh != from {
			sh.publisher.signal()
		}
	}
	s.mu.Unlock()
	from.publisher.giveUp(late, err)
}
