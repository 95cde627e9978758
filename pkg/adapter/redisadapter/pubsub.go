package redisadapter

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
)

// pubSub is the adapter of NewPubSub.
type pubSub struct {
	uid        string
	opts       Options
	invalid    error // of the options: what Join returns
	rdb        *redis.Client
	counts     *counters
	traces     traces
	publisher  *publisher
	subscriber *subscriber
	goroutines sync.WaitGroup
	publishing chan struct{} // closed when the publisher ended
	life       context.Context
	end        context.CancelFunc

	mu      sync.Mutex
	links   []*link
	started bool
	closed  bool
}

var (
	_ adapter.Adapter = (*pubSub)(nil)
	_ adapter.Status  = (*pubSub)(nil)
	_ adapter.Counted = (*pubSub)(nil)
	_ adapter.Traced  = (*pubSub)(nil)
)

// NewPubSub returns an adapter over Redis Pub/Sub in the format of @socket.io/redis-adapter 8. Its links implement
// adapter.RoomFollower, and the adapter implements adapter.Status, adapter.Counted and adapter.Traced.
//
// rdb must be a *redis.Client (of redis.NewClient or redis.NewFailoverClient) or a *redis.ClusterClient. The adapter
// takes over its options and connects by itself, without retries, so that no message is delivered twice; rdb stays with
// the caller, and must stay open if it is a cluster's, which is asked where its masters are. Connections are made from the first Join on, in the background. Invalid options and
// another type of client are errors of Join.
//
// Namespaces whose name contains # are refused by Join: their channels could be those of rooms.
func NewPubSub(rdb redis.UniversalClient, o *Options) adapter.Adapter {
	a := &pubSub{counts: newCounters(), uid: newUID(), publishing: make(chan struct{})}
	a.life, a.end = context.WithCancel(context.Background())
	if a.opts, a.invalid = o.withDefaults(); a.invalid != nil {
		return a
	}
	if a.rdb, a.invalid = newClient(a.life, rdb, a.opts.Watchdog); a.invalid != nil {
		return a
	}
	a.subscriber = newSubscriber(a.rdb, &a.opts, a.counts, &a.traces, a.uid)
	a.publisher = newPublisher(a.rdb, &a.opts, a.counts, &a.traces, a.subscriber.listening)
	return a
}

// newUID returns a name for this adapter in the alphabet and length of Node's.
func newUID() string {
	var b [uidLength]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])[:uidLength]
}

// Join connects a namespace. The channel is subscribed in the background; Ready tells when it is.
func (a *pubSub) Join(_ context.Context, namespace string, local adapter.Local) (adapter.Link, error) {
	if a.invalid != nil {
		return nil, a.invalid
	}
	c := channels{prefix: a.opts.Prefix, namespace: namespace}
	if err := c.check(); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, fmt.Errorf("redisadapter: join %s: %w", namespace, adapter.ErrClosed)
	}
	for _, l := range a.links {
		if l.channels.namespace == namespace {
			return nil, fmt.Errorf("redisadapter: join %s: already joined", namespace)
		}
	}
	l := newLink(a, c, local)
	a.links = append(a.links, l)
	a.subscriber.followNamespace(l)
	if !a.started {
		a.started = true
		a.goroutines.Go(func() { a.subscriber.run(a.life) })
		a.goroutines.Go(func() {
			defer close(a.publishing)
			a.publisher.run(a.life)
		})
	}
	return l, nil
}

// remove forgets a link and gives its channels up.
func (a *pubSub) remove(l *link) {
	a.mu.Lock()
	a.links = slices.DeleteFunc(a.links, func(o *link) bool { return o == l })
	a.mu.Unlock()
}

// Close publishes what is queued, within ctx, ends all links and closes the connections. What could not be
// published in time is given up and counted; the error says that ctx ended.
func (a *pubSub) Close(ctx context.Context) error {
	a.mu.Lock()
	links := slices.Clone(a.links)
	started := a.started && !a.closed
	a.closed = true
	a.mu.Unlock()
	if a.invalid != nil {
		a.end()
		return nil
	}
	var err error
	if started {
		a.publisher.close()
		select {
		case <-a.publishing:
		case <-ctx.Done():
			err = fmt.Errorf("redisadapter: close: %w", context.Cause(ctx))
		}
	}
	for _, l := range links {
		err = errors.Join(err, l.Leave(ctx))
	}
	a.end()
	_ = a.rdb.Close()
	a.goroutines.Wait()
	return err
}

// Ready returns nil when Redis takes messages and the channels of all namespaces are subscribed.
func (a *pubSub) Ready() error {
	if a.invalid != nil {
		return a.invalid
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return fmt.Errorf("redisadapter: %w", adapter.ErrClosed)
	}
	if up, _ := a.publisher.state(); !up {
		if err := a.publisher.status(); err != nil {
			return fmt.Errorf("redisadapter: cannot publish: %w", err)
		}
		return errors.New("redisadapter: not yet connected")
	}
	if err := a.subscriber.status(); err != nil {
		return fmt.Errorf("redisadapter: cannot listen: %w", err)
	}
	for _, l := range a.links {
		if !a.subscriber.isConfirmed(l.channels.broadcast()) {
			return fmt.Errorf("redisadapter: namespace %s is not yet subscribed", l.channels.namespace)
		}
	}
	return nil
}

// Stats returns the totals since the start.
func (a *pubSub) Stats() adapter.Stats {
	s := a.counts.stats()
	if a.invalid != nil {
		return s
	}
	up, queued := a.publisher.state()
	s.Up = map[adapter.Role]bool{adapter.RolePublish: up, adapter.RoleSubscribe: a.subscriber.isWhole()}
	s.PublishQueue = queued
	s.Subscriptions = map[string]int{"channel": a.subscriber.count()}
	return s
}

// AddTrace adds t to those who are told.
func (a *pubSub) AddTrace(t *adapter.Trace) { a.traces.add(t) }
