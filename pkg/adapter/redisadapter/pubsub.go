package redisadapter

import (
	"context"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
)

// pubSub is the adapter of NewPubSub.
type pubSub struct{ *line }

var (
	_ adapter.Adapter = (*pubSub)(nil)
	_ adapter.Status  = (*pubSub)(nil)
	_ adapter.Counted = (*pubSub)(nil)
	_ adapter.Traced  = (*pubSub)(nil)
	_ adapter.Member  = (*pubSub)(nil)
	_ adapter.Drainer = (*pubSub)(nil)
)

// NewPubSub returns an adapter over Redis Pub/Sub in the format of @socket.io/redis-adapter 8. Its links implement
// adapter.RoomFollower, and the adapter implements adapter.Status, adapter.Counted, adapter.Traced and adapter.Member.
//
// rdb must be a *redis.Client (of redis.NewClient or redis.NewFailoverClient) or a *redis.ClusterClient. The adapter
// takes over its options and connects by itself, without retries, so that no message is delivered twice; rdb stays with
// the caller, and must stay open if it is a cluster's, which is asked where its masters are. Connections are made from the first Join on, in the background. Invalid options and
// another type of client are errors of Join.
//
// Namespaces whose name contains # are refused by Join: their channels could be those of rooms.
func NewPubSub(rdb redis.UniversalClient, o *Options) adapter.Adapter {
	return &pubSub{newLine(rdb, o, newUID(uidLength), "pubsub", 0)}
}

// Join connects a namespace. Its channels are subscribed in the background; Ready tells when they are.
func (a *pubSub) Join(_ context.Context, namespace string, local adapter.Local) (adapter.Link, error) {
	if a.invalid != nil {
		return nil, a.invalid
	}
	c := channels{prefix: a.opts.Prefix, namespace: namespace}
	if err := c.check(); err != nil {
		return nil, err
	}
	l := newLink(a.line, c, local)
	if err := a.join(namespace, l, l); err != nil {
		return nil, err
	}
	return l, nil
}
