package redisadapter

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/internal/cluster"
	"example.com/chorus/pkg/adapter"
)

// maxAsking bounds the questions to Redis that are under way at the same time, each of which takes a connection.
const maxAsking = 16

// line is what the adapters of all modes have in common: the connections to Redis, who the other nodes are, and the
// account of who must answer. A mode adds the links of namespaces, which know the format.
type line struct {
	uid        string
	opts       Options
	invalid    error // of the options: what Join returns
	rdb        redis.UniversalClient
	failover   *failover             // nil without Sentinels
	counting   redis.UniversalClient // is asked for subscribers: in a cluster the client that knows all servers
	counts     *counters
	traces     traces
	publisher  *publisher
	subscriber *subscriber
	membership *membership
	ledger     cluster.Ledger
	awaited    awaited
	patience   cluster.Patience
	asking     chan struct{} // of capacity maxAsking
	goroutines sync.WaitGroup
	publishing chan struct{} // closed when the publisher ended
	life       context.Context
	end        context.CancelFunc

	mu      sync.Mutex
	links   map[string]joined // by namespace
	unnamed map[string]int    // by channel of requests: subscribers that did not say their name when they were asked to
	started bool
	closed  bool
}

// joined is a link as its line sees it.
type joined interface {
	adapter.Link
	// essential are the channels without which the namespace cannot be heard.
	essential() []interest
}

// newLine returns a line that does nothing before its first namespace is joined. Its errors are those of join.
func newLine(rdb redis.UniversalClient, o *Options, uid string, mode string, streams int) *line {
	l := &line{
		counts: newCounters(), uid: uid, publishing: make(chan struct{}), links: map[string]joined{}, unnamed: map[string]int{},
		asking: make(chan struct{}, maxAsking),
	}
	l.life, l.end = context.WithCancel(context.Background())
	if l.opts, l.invalid = o.withDefaults(); l.invalid != nil {
		return l
	}
	client, failover, err := newClient(l.life, rdb, l.opts.Watchdog)
	if err != nil {
		l.invalid = err
		return l
	}
	l.rdb, l.failover, l.counting = client, failover, client
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		l.counting = cluster
	}
	open := func(ctx context.Context) *redis.PubSub { return client.Subscribe(ctx) }
	l.subscriber = newSubscriber(open, &l.opts, l.counts, &l.traces)
	l.publisher = newPublisher(l.rdb, &l.opts, l.counts, &l.traces, l.subscriber.listening)
	l.subscriber.failover, l.publisher.failover = failover, failover
	node := l.opts.Node
	node.ID = uid
	l.membership = newMembership(node, signature{mode, l.opts.Prefix, streams}, &l.opts, l.counts, l.signal)
	l.membership.left = l.ledger.Left
	l.subscriber.heardAgain = l.membership.heardAgain
	l.publisher.regained = func() {
		if l.subscriber.isWhole() { // else it says hello when it is
			l.membership.hello()
		}
	}
	for _, i := range l.membership.interests() {
		l.subscriber.follow(l.membership, i, false)
	}
	l.subscriber.probeWith(newProbe(interest{channel: memberChannel(uid) + "probe"}, l.probe))
	return l
}

// newUID returns a random name of n characters in the alphabet of Node's, and six bits each.
func newUID(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)[:n]
}

// signal publishes a sign of life, unless Redis is away.
func (l *line) signal(channel string, payload []byte) {
	l.enqueueFleeting(channel, string(payload), nil)
}

// probe publishes to the own channel of a connection.
func (l *line) probe(payload string, done func(error)) {
	l.enqueueFleeting(memberChannel(l.uid)+"probe", payload, func(_ redis.Cmder, err error) { done(err) })
}

func (l *line) enqueueFleeting(channel, payload string, done func(redis.Cmder, error)) {
	if up, _ := l.publisher.state(); !up && !l.publisher.isRefused() {
		return
	}
	o := newOutgoing(publishCommand, channel, kindMembership)
	o.fleeting, o.done = true, done
	*o.payload = append(*o.payload, payload...)
	if err := l.publisher.enqueue(ended, o); err != nil { // the queue is full: the next sign comes soon
		o.release()
	}
}

// ended is the context of calls that must not wait.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// join adds the link of a namespace, and starts the line with the first. The channels of the link are followed in the
// background; Ready tells when they are.
func (l *line) join(namespace string, link joined, follower listener) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fmt.Errorf("redisadapter: join %s: %w", namespace, adapter.ErrClosed)
	}
	if _, again := l.links[namespace]; again {
		return fmt.Errorf("redisadapter: join %s: already joined", namespace)
	}
	l.links[namespace] = link
	for _, i := range link.essential() {
		l.subscriber.follow(follower, i, false)
	}
	if !l.started {
		l.started = true
		l.goroutines.Go(func() { l.subscriber.run(l.life) })
		l.goroutines.Go(func() { l.membership.run(l.life) })
		l.goroutines.Go(func() { l.sweep(l.life) })
		l.goroutines.Go(func() { l.failover.run(l.life) })
		l.goroutines.Go(func() {
			defer close(l.publishing)
			l.publisher.run(l.life)
		})
	}
	return nil
}

// leave forgets a link.
func (l *line) leave(namespace string, link joined) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.links[namespace] == link {
		delete(l.links, namespace)
		l.patience.Forget(namespace)
		for _, i := range link.essential() {
			delete(l.unnamed, i.channel)
		}
	}
}

// sweep forgets lost nodes when Redis has noticed their end, until ctx ends.
func (l *line) sweep(ctx context.Context) {
	tick := time.NewTicker(l.opts.HeartbeatLapse)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.forgetLapsed(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// Close publishes what is queued, within ctx, ends all links and closes the connections. What could not be
// published in time is given up and counted; the error says that ctx ended.
func (l *line) Close(ctx context.Context) error {
	l.mu.Lock()
	links := make([]joined, 0, len(l.links))
	for _, link := range l.links {
		links = append(links, link)
	}
	started := l.started
	l.closed = true
	l.mu.Unlock()
	if l.invalid != nil {
		l.end()
		return nil
	}
	var err error
	if started {
		l.membership.goodbye()
		l.publisher.close()
		select {
		case <-l.publishing:
		case <-ctx.Done():
			err = fmt.Errorf("redisadapter: close: %w", context.Cause(ctx))
		}
	}
	for _, link := range links {
		err = errors.Join(err, link.Leave(ctx))
	}
	l.end()
	_ = l.rdb.Close()
	l.goroutines.Wait()
	return err
}

// Ready returns nil when Redis takes messages and the channels of all namespaces are subscribed.
func (l *line) Ready() error {
	if l.invalid != nil {
		return l.invalid
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fmt.Errorf("redisadapter: %w", adapter.ErrClosed)
	}
	if up, _ := l.publisher.state(); !up {
		if err := l.publisher.status(); err != nil {
			return fmt.Errorf("redisadapter: cannot publish: %w", err)
		}
		return errors.New("redisadapter: not yet connected")
	}
	if err := l.subscriber.status(); err != nil {
		return fmt.Errorf("redisadapter: cannot listen: %w", err)
	}
	for namespace, link := range l.links {
		if !l.hears(link) {
			return fmt.Errorf("redisadapter: namespace %s is not yet subscribed", namespace)
		}
	}
	return nil
}

// hears reports whether the essential channels of a link are subscribed.
func (l *line) hears(link joined) bool {
	for _, i := range link.essential() {
		if !l.subscriber.isConfirmed(i) {
			return false
		}
	}
	return true
}

// Stats returns the totals since the start.
func (l *line) Stats() adapter.Stats {
	s := l.counts.stats()
	if l.invalid != nil {
		return s
	}
	up, queued := l.publisher.state()
	s.Up = map[adapter.Role]bool{adapter.RolePublish: up, adapter.RoleSubscribe: l.subscriber.isWhole()}
	s.PublishQueue = queued
	s.Subscriptions = l.subscriber.tally()
	s.Members = l.membership.members.Len()
	s.Pool = map[string]int{}
	addPool(&s, l.rdb)
	return s
}

// addPool adds the connections of a client.
func addPool(s *adapter.Stats, rdb redis.UniversalClient) {
	p := rdb.PoolStats()
	s.Pool["idle"] += int(p.IdleConns)
	s.Pool["used"] += int(p.TotalConns - min(p.IdleConns, p.TotalConns))
	s.Pool["stale"] += int(p.StaleConns)
}

// AddTrace adds t to those who are told.
func (l *line) AddTrace(t *adapter.Trace) { l.traces.add(t) }

// Members returns the other nodes that are alive and tell their name.
func (l *line) Members() []adapter.Node {
	if l.invalid != nil {
		return nil
	}
	return l.membership.members.Alive()
}

// Drain tells the other nodes that this one takes no new clients any more.
func (l *line) Drain() {
	if l.invalid == nil {
		l.membership.drain()
	}
}

// OnMembership adds a function that is called after each change of Members.
func (l *line) OnMembership(f func([]adapter.Node)) {
	if l.invalid == nil {
		l.membership.observe(f)
	}
}

// asSilent is errors.As for the error of nodes that did not answer.
func asSilent(err error, silent **adapter.SilentNodesError) bool { return errors.As(err, silent) }
