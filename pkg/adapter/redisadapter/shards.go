package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
)

const (
	// topologyInterval is how often a cluster of Redis is asked who is in charge of which slots, although nothing
	// seems to have changed: a master that was cut off from the others does not know that it lost its slots.
	topologyInterval = 5 * time.Second
	// outageInterval is how often it is asked while a master cannot be listened to, and outageGrace how long the successor
	// of such a master is spared: the other nodes notice within the same interval, and what is published before they listen
	// there is lost.
	outageInterval = 250 * time.Millisecond
	outageGrace    = 2 * outageInterval
	// redirectsAtOnce is how many times a command follows at once where a server sends it. Servers that disagree for a
	// while would send it back and forth.
	redirectsAtOnce = 2
)

var (
	errNotInCharge   = errors.New("another master is in charge of the slot")
	errNoMasterKnown = errors.New("no master is known")
)

// shards are the masters of a Redis Cluster, each with connections of its own that carry the channels of its slots.
type shards struct {
	line    *line
	options func(addr string) redis.Options
	seeds   []string
	// nowhere keeps what belongs to slots whose master is not known. It has no connections.
	nowhere *shard
	table   atomic.Pointer[slotTable]
	gap     movingGap
	nobody  *nobody
	wake    chan struct{} // of capacity 1: something may have changed

	mu      sync.Mutex // held for each change of the table and of the masters, and not for I/O
	masters map[string]*shard
	started bool
	closing bool
	failure error // why the newest question for the masters was not answered
}

// slotTable says which master is in charge of each slot; nil if none is known.
type slotTable [slotCount]*shard

func newShards(l *line, rdb *redis.ClusterClient) *shards {
	s := &shards{
		line: l, options: serverOptions(rdb), seeds: rdb.Options().Addrs, nobody: &nobody{l.counts},
		wake: make(chan struct{}, 1), masters: map[string]*shard{}, failure: errNotConnected,
	}
	s.gap.ended = make(chan struct{}, 1)
	s.table.Store(new(slotTable))
	s.nowhere = s.newShard("", nil)
	s.nowhere.publisher.failure = errNoMasterKnown
	return s
}

// start asks for the masters from here on; the second time it does nothing.
func (s *shards) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started && !s.closing {
		s.started = true
		s.line.goroutines.Go(func() { s.run(s.line.life) })
	}
}

// run keeps the table up to date until ctx ends.
func (s *shards) run(ctx context.Context) {
	tick := time.NewTicker(outageInterval)
	defer tick.Stop()
	for attempt := 0; ; attempt++ {
		s.refresh(ctx)
		asked := time.Now()
		for again := false; !again; {
			select {
			case <-s.wake:
				again = true
			case <-tick.C:
				s.nowhere.publisher.expire()
				again = time.Since(asked) > topologyInterval || s.outage()
			case <-s.gap.ended:
				s.reportGap()
			case <-ctx.Done():
				return
			}
		}
		if time.Since(asked) > time.Second {
			attempt = 0
		} else if !sleep(ctx, backoff(min(attempt, 3))) { // no longer than outageInterval
			return
		}
	}
}

// outage reports whether a master cannot be listened to.
func (s *shards) outage() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sh := range s.masters {
		if !sh.subscriber.isWhole() {
			return true
		}
	}
	return false
}

// ask has the masters asked for soon.
func (s *shards) ask() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// refresh asks who is in charge and follows. Failing that it leaves everything as it is.
func (s *shards) refresh(ctx context.Context) {
	slots, origin, err := s.askMasters(ctx)
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.failure
	if s.failure = err; err != nil {
		if was == nil || was == errNotConnected {
			s.line.opts.Logger.Error("redisadapter: cannot ask for the masters of the cluster", slog.Any("error", err))
		}
		s.ask()
		return
	}
	if s.closing {
		return
	}
	next := new(slotTable)
	for _, r := range slots {
		if len(r.Nodes) == 0 {
			continue
		}
		master := s.masterLocked(reachable(r.Nodes[0].Addr, origin))
		for i := max(r.Start, 0); i <= min(r.End, slotCount-1); i++ {
			next[i] = master
		}
	}
	if *next != *s.table.Load() {
		s.applyLocked(next)
	}
	for _, sh := range s.masters {
		sh.subscriber.retry()
	}
}

// redirect follows the answer of a server that another one is in charge of a channel. It reports whether that changed
// anything.
func (s *shards) redirect(from *shard, channel string, err error) bool {
	defer s.ask() // the other slots of a master may have moved too
	addr, ok := redis.IsMovedError(err)
	if !ok || movedSlot(err) != slotOf(channel) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if addr = reachable(addr, from.addr); addr == from.addr || s.closing {
		return false
	}
	master := s.masterLocked(addr)
	next := *s.table.Load()
	if slot := slotOf(channel); next[slot] != master {
		next[slot] = master
		s.applyLocked(&next)
	}
	return true
}

// masterLocked returns the master at an address. A new one begins when a table names it.
func (s *shards) masterLocked(addr string) *shard {
	sh := s.masters[addr]
	if sh == nil {
		o := s.options(addr)
		sh = s.newShard(addr, newServerClient(s.line.life, o, s.line.opts.Watchdog))
		s.masters[addr] = sh
	}
	return sh
}

// applyLocked puts a table in force: what waits for a slot that moved goes to its new master.
func (s *shards) applyLocked(next *slotTable) {
	all := s.allLocked()
	for _, sh := range all {
		sh.publisher.mu.Lock()
	}
	inTurn := map[*shard][]*shard{}
	old := s.table.Swap(next)
	for slot, from := range old {
		if to := next[slot]; from != to && from != nil && to != nil && !slices.Contains(inTurn[from], to) {
			inTurn[from] = append(inTurn[from], to)
			to.publisher.queueBehindLocked(from.publisher)
			if to.end == nil && !from.subscriber.deafSince().IsZero() {
				to.succeeds = true
			}
		}
	}
	for _, from := range all {
		for _, o := range from.publisher.withdrawLocked(func(o *outgoing) bool { return s.owner(o.channel) != from }) {
			s.owner(o.channel).publisher.insertLocked(o)
		}
	}
	for _, sh := range all {
		sh.publisher.mergeLocked()
		sh.publisher.mu.Unlock()
		sh.publisher.signal()
	}
	for _, from := range all {
		for _, t := range from.subscriber.strays(func(channel string) bool { return s.owner(channel) != from }) {
			s.moveLocked(from, t)
		}
	}
	inCharge := map[*shard]bool{}
	for _, sh := range next {
		inCharge[sh] = true
	}
	for addr, sh := range s.masters {
		if !inCharge[sh] {
			delete(s.masters, addr)
			s.line.goroutines.Go(sh.retire)
		} else {
			sh.probeLocked(s)
			s.startLocked(sh)
		}
	}
}

func (s *shards) allLocked() []*shard {
	return append(slices.Collect(maps.Values(s.masters)), s.nowhere)
}

// moveLocked takes a channel from one master to the one that is in charge.
func (s *shards) moveLocked(from *shard, t topic) {
	l, i, waiters, heard := from.subscriber.surrender(t, s.nobody)
	if l == nil {
		return
	}
	if since := from.subscriber.deafSince(); !since.IsZero() {
		s.gap.begin(t, since)
	} else if heard {
		s.gap.begin(t, time.Now())
	}
	s.owner(i.channel).subscriber.adopt(l, i, waiters)
}

// owner returns the master that is in charge of a channel.
func (s *shards) owner(channel string) *shard {
	if sh := s.table.Load()[slotOf(channel)]; sh != nil {
		return sh
	}
	return s.nowhere
}

func (s *shards) enqueue(ctx context.Context, o outgoing) error {
	for {
		err := s.owner(o.channel).publisher.enqueue(ctx, o)
		if !errors.Is(err, errNotInCharge) {
			return err
		}
	}
}

func (s *shards) follow(l listener, i interest, wait bool) <-chan struct{} {
	sh := s.owner(i.channel)
	done := sh.subscriber.follow(l, i, wait)
	if s.owner(i.channel) != sh { // the table changed meanwhile; who waits goes along
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.owner(i.channel) != sh {
			s.moveLocked(sh, i.topic())
		}
	}
	return done
}

func (s *shards) reconsider(i interest) { s.owner(i.channel).subscriber.reconsider(i) }

func (s *shards) isConfirmed(i interest) bool { return s.owner(i.channel).subscriber.isConfirmed(i) }

func (s *shards) dismiss(l listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sh := range s.allLocked() {
		sh.subscriber.dismiss(l)
	}
}

// subscribers asks all masters: a slot that has just moved is counted where it is.
func (s *shards) subscribers(ctx context.Context, channels []string) (map[string]int64, error) {
	s.mu.Lock()
	masters := slices.Collect(maps.Values(s.masters))
	s.mu.Unlock()
	if len(masters) == 0 {
		return nil, errNoMasterKnown
	}
	counts := make([]map[string]int64, len(masters))
	errs := make([]error, len(masters))
	var asked sync.WaitGroup
	for i, sh := range masters {
		asked.Go(func() { counts[i], errs[i] = sh.rdb.PubSubShardNumSub(ctx, channels...).Result() })
	}
	asked.Wait()
	sum := make(map[string]int64, len(channels))
	for _, count := range counts {
		for channel, n := range count {
			sum[channel] += n
		}
	}
	return sum, errors.Join(errs...)
}

// flush publishes what is queued, within ctx, and lets no more in.
func (s *shards) flush(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	all := s.allLocked()
	s.mu.Unlock()
	for _, sh := range all {
		sh.publisher.close()
	}
	var err error
	for _, sh := range all {
		if sh == s.nowhere {
			continue
		}
		select {
		case <-sh.published:
		case <-ctx.Done():
			err = fmt.Errorf("redisadapter: close: %w", context.Cause(ctx))
		}
	}
	s.nowhere.publisher.giveUp(s.nowhere.publisher.takeAll(), errors.Join(adapter.ErrClosed, errNoMasterKnown))
	return err
}

// ready returns nil when every master can be published to and listened to.
func (s *shards) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return fmt.Errorf("redisadapter: masters of the cluster: %w", s.failure)
	}
	for _, sh := range s.masters {
		if err := sh.publisher.status(); err != nil {
			return fmt.Errorf("redisadapter: cannot publish to %s: %w", sh.addr, err)
		}
		if err := sh.subscriber.status(); err != nil {
			return fmt.Errorf("redisadapter: cannot listen to %s: %w", sh.addr, err)
		}
	}
	return nil
}

// addStats adds the state of the masters to that of the line's own connections.
func (s *shards) addStats(t *adapter.Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sh := range s.allLocked() {
		up, queued := sh.publisher.state()
		t.PublishQueue += queued
		if sh == s.nowhere {
			continue
		}
		addPool(t, sh.rdb)
		t.Up[adapter.RolePublish] = t.Up[adapter.RolePublish] && up
		t.Up[adapter.RoleSubscribe] = t.Up[adapter.RoleSubscribe] && sh.subscriber.isWhole()
		for method, n := range sh.subscriber.tally() {
			t.Subscriptions[method] += n
		}
	}
	if len(s.masters) == 0 {
		t.Up[adapter.RolePublish], t.Up[adapter.RoleSubscribe] = false, false
	}
}

// reportGap tells how long channels could not be heard that moved.
func (s *shards) reportGap() {
	d, ok := s.gap.take()
	if !ok {
		return
	}
	const cause = "moved"
	s.line.counts.reconnect(adapter.RoleSubscribe, cause)
	s.line.traces.reconnected(adapter.RoleSubscribe, cause)
	s.line.traces.gap(d)
	s.line.opts.Logger.Warn("redisadapter: listening again where slots moved to; messages of other nodes may have been missed",
		slog.Duration("gap", d), slog.String("cause", cause))
}
