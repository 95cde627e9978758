package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf16"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
)

// SubscriptionMode says which rooms have a channel of their own in the sharded adapter. All nodes of a cluster must have
// the same: a node of the static mode never hears what others send to a single room.
type SubscriptionMode string

// The modes, with the names that Node's adapter has for them.
const (
	// SubscriptionStatic uses one channel for each namespace and each node. Every node reads everything; what one
	// goroutine sends arrives in its order, also in a cluster of Redis.
	SubscriptionStatic SubscriptionMode = "static"
	// SubscriptionDynamic adds a channel for each room that is not a socket's own.
	SubscriptionDynamic SubscriptionMode = "dynamic"
	// SubscriptionDynamicPrivate adds a channel for each room, a socket's own too.
	SubscriptionDynamicPrivate SubscriptionMode = "dynamic-private"
)

// ShardedOptions are the choices of the adapter of NewSharded. Nil and the zero value work.
type ShardedOptions struct {
	// Options are those of all adapters; Subscription and PublishOnSpecificResponseChannel mean nothing here. In a cluster
	// of Redis each master has a publish queue of its own.
	Options
	// SubscriptionMode says which rooms have a channel of their own. Default SubscriptionDynamic.
	SubscriptionMode SubscriptionMode
}

// shardedAdapter is the adapter of NewSharded.
type shardedAdapter struct {
	*line
	mode SubscriptionMode
	// wire is where the channels are: on the one server, or on the masters of a cluster.
	wire   shardWire
	shards *shards // of a cluster, else nil
}

// shardWire carries what is published on sharded channels. All methods are safe for concurrent use.
type shardWire interface {
	// enqueue is that of publisher.
	enqueue(ctx context.Context, o outgoing) error
	// follow, reconsider, dismiss and isConfirmed are those of subscriptions.
	follow(l listener, i interest, wait bool) <-chan struct{}
	reconsider(i interest)
	dismiss(l listener)
	isConfirmed(i interest) bool
	// subscribers is a subscriberCount.
	subscribers(ctx context.Context, channels []string) (map[string]int64, error)
}

var (
	_ adapter.Adapter = (*shardedAdapter)(nil)
	_ adapter.Status  = (*shardedAdapter)(nil)
	_ adapter.Counted = (*shardedAdapter)(nil)
	_ adapter.Traced  = (*shardedAdapter)(nil)
	_ adapter.Member  = (*shardedAdapter)(nil)
	_ adapter.Drainer = (*shardedAdapter)(nil)
)

// NewSharded returns an adapter over the sharded Pub/Sub of Redis 7 in the format of Node's createShardedAdapter
// (@socket.io/redis-adapter 8.3). Its links implement adapter.RoomFollower and adapter.Requester, and the adapter
// implements adapter.Status, adapter.Counted, adapter.Traced and adapter.Member.
//
// rdb must be a *redis.Client (of redis.NewClient or redis.NewFailoverClient) or a *redis.ClusterClient. The adapter
// takes over its options and connects by itself, without retries, so that no message is delivered twice; rdb stays
// with the caller, and must stay open if it is a cluster's. In a cluster there is one pair of connections for each
// master, which carries the channels of its slots; slots that move are followed, and how long their channels could not
// be heard is counted and traced as a gap. Connections are made from the first Join on, in the background. Invalid
// options and another type of client are errors of Join.
//
// What one goroutine sends arrives in its order. In a cluster of Redis, where each channel has its own server, that holds
// for each channel alone: between all and one room, or between two rooms, only in SubscriptionStatic. While a channel's slot moves,
// what is under way may come after what is sent later.
//
// Namespaces whose name contains # are refused by Join: their channels could be those of rooms.
func NewSharded(rdb redis.UniversalClient, o *ShardedOptions) adapter.Adapter {
	var c ShardedOptions
	if o != nil {
		c = *o
	}
	if c.SubscriptionMode == "" {
		c.SubscriptionMode = SubscriptionDynamic
	}
	a := &shardedAdapter{line: newLine(rdb, &c.Options, newClusterID(), "sharded "+string(c.SubscriptionMode), 0), mode: c.SubscriptionMode}
	switch a.mode {
	case SubscriptionStatic, SubscriptionDynamic, SubscriptionDynamicPrivate:
	default:
		if a.invalid == nil {
			a.invalid = fmt.Errorf("redisadapter: option SubscriptionMode is %q, must be static, dynamic or dynamic-private", a.mode)
		}
	}
	if a.invalid != nil {
		return a
	}
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		a.shards = newShards(a.line, cluster)
		a.wire = a.shards
	} else {
		a.wire = single{a.line}
	}
	return a
}

// single is the wire to a server that is no cluster: the connections of the line.
type single struct{ line *line }

func (w single) enqueue(ctx context.Context, o outgoing) error {
	return w.line.publisher.enqueue(ctx, o)
}

func (w single) follow(l listener, i interest, wait bool) <-chan struct{} {
	return w.line.subscriber.follow(l, i, wait)
}

func (w single) reconsider(i interest)       { w.line.subscriber.reconsider(i) }
func (w single) dismiss(l listener)          { w.line.subscriber.dismiss(l) }
func (w single) isConfirmed(i interest) bool { return w.line.subscriber.isConfirmed(i) }

func (w single) subscribers(ctx context.Context, channels []string) (map[string]int64, error) {
	return w.line.rdb.PubSubShardNumSub(ctx, channels...).Result()
}

// Join connects a namespace. Its channels are subscribed in the background; Ready tells when they are.
func (a *shardedAdapter) Join(_ context.Context, namespace string, local adapter.Local) (adapter.Link, error) {
	if a.invalid != nil {
		return nil, a.invalid
	}
	c := channels{prefix: a.opts.Prefix, namespace: namespace}
	if err := c.check(); err != nil {
		return nil, err
	}
	l := newShardedLink(a, c, local)
	if err := a.join(namespace, l, l); err != nil {
		return nil, err
	}
	if a.shards != nil {
		a.shards.start()
	}
	for _, i := range l.interests() {
		a.wire.follow(l, i, false)
	}
	return l, nil
}

// Close publishes what is queued, within ctx, ends all links and closes the connections. What could not be published in
// time is given up and counted; the error says that ctx ended.
func (a *shardedAdapter) Close(ctx context.Context) error {
	if a.shards == nil {
		return a.line.Close(ctx)
	}
	err := a.shards.flush(ctx)
	return errors.Join(err, a.line.Close(ctx))
}

// Ready returns nil when Redis takes messages and the channels of all namespaces are subscribed.
func (a *shardedAdapter) Ready() error {
	if err := a.line.Ready(); err != nil {
		return err
	}
	if a.shards != nil {
		if err := a.shards.ready(); err != nil {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for namespace, link := range a.links {
		for _, i := range link.(*shardedLink).interests() {
			if !a.wire.isConfirmed(i) {
				return fmt.Errorf("redisadapter: namespace %s is not yet subscribed", namespace)
			}
		}
	}
	return nil
}

// Stats returns the totals since the start.
func (a *shardedAdapter) Stats() adapter.Stats {
	s := a.line.Stats()
	if a.shards != nil {
		a.shards.addStats(&s)
	}
	return s
}

// hasChannel reports whether the nodes that have members of a room listen to a channel of the room.
func (a *shardedAdapter) hasChannel(room string) bool {
	switch a.mode {
	case SubscriptionDynamic:
		return !isSocketID(room)
	case SubscriptionDynamicPrivate:
		return true
	}
	return false
}

// socketIDLength is the length of a socket's id, by which Node tells private rooms apart.
const socketIDLength = 20

// isSocketID reports whether Node takes the name of a room for the id of a socket: it counts as JavaScript does.
func isSocketID(room string) bool {
	if len(room) < socketIDLength || len(room) > 3*socketIDLength {
		return false
	}
	n := 0
	for _, r := range room {
		n += max(utf16.RuneLen(r), 1)
	}
	return n == socketIDLength
}
