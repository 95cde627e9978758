package redisadapter

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
)

// shardedLink is the line of one namespace in the sharded adapter.
type shardedLink struct {
	clusterLink
	adapter *shardedAdapter
	inbound *inbound[heard]
}

var (
	_ adapter.Link         = (*shardedLink)(nil)
	_ adapter.RoomFollower = (*shardedLink)(nil)
	_ adapter.Requester    = (*shardedLink)(nil)
	_ listener             = (*shardedLink)(nil)
	_ clusterCarrier       = (*shardedLink)(nil)
)

func newShardedLink(a *shardedAdapter, c channels, local adapter.Local) *shardedLink {
	l := &shardedLink{adapter: a}
	l.clusterLink = newClusterLink(a.line, c, local, l)
	l.inbound = newInbound(a.opts.ReceiveQueue, receiveQueueBytes, &a.goroutines, l.deliver)
	return l
}

// interests are the channels without which the namespace cannot be heard.
func (l *shardedLink) interests() []interest {
	return []interest{
		{channel: l.channels.broadcast(), method: sharded, kind: kindBroadcast},
		{channel: l.private(l.adapter.uid), method: sharded, kind: kindResponse},
	}
}

// essential are the channels of the line's own connection: none.
func (l *shardedLink) essential() []interest { return nil }

func (l *shardedLink) roomInterest(room string) interest {
	return interest{channel: l.channels.room(room), method: sharded, kind: kindRoom, room: room}
}

func spublishCommand(ctx context.Context, pipe redis.Pipeliner, o *outgoing) {
	pipe.SPublish(ctx, o.channel, *o.payload)
}

// Publish encodes m and queues it for the publisher.
func (l *shardedLink) Publish(ctx context.Context, m *adapter.Message) error {
	channel, kind := l.channels.broadcast(), kindBroadcast
	switch {
	case m.Kind != adapter.Broadcast:
		kind = kindRequest
	case len(m.Rooms) == 1 && l.adapter.hasChannel(m.Rooms[0]) && !l.isPrivateOfOldClient(m.Rooms[0]):
		channel, kind = l.channels.room(m.Rooms[0]), kindRoom
	}
	c := newClusterMessage(m, l.adapter.uid, l.channels.namespace, "")
	if err := l.send(ctx, channel, kind, &c); err != nil {
		return fmt.Errorf("redisadapter: publish: %w", err)
	}
	return nil
}

// isPrivateOfOldClient reports whether a room is the own one of a client that speaks protocol 3, in a namespace other
// than the main one: its id is longer than 20 characters, so that Node's servers in dynamic mode send it on a channel
// to which none of them listens. They do listen to that of the namespace.
func (l *shardedLink) isPrivateOfOldClient(room string) bool {
	id, ok := strings.CutPrefix(room, l.channels.namespace+"#")
	return ok && len(id) == socketIDLength && l.adapter.mode == SubscriptionDynamic
}

// encode makes the command that publishes a message.
func (l *shardedLink) encode(channel string, kind channelKind, c *clusterMessage) (o outgoing, err error) {
	o = newOutgoing(spublishCommand, channel, kind)
	*o.payload, err = appendCluster(*o.payload, l.adapter.opts.limits(), c)
	return o, err
}

func (l *shardedLink) enqueue(ctx context.Context, o outgoing) error {
	return l.adapter.wire.enqueue(ctx, o)
}

func (l *shardedLink) isClosed() bool { return l.inbound.isClosed() }

// hearsAnswers reports whether the channel of answers is subscribed.
func (l *shardedLink) hearsAnswers() bool {
	return l.adapter.wire.isConfirmed(interest{channel: l.private(l.adapter.uid), method: sharded})
}

func (l *shardedLink) subscribers(ctx context.Context, channels []string) (map[string]int64, error) {
	return l.adapter.wire.subscribers(ctx, channels)
}

// FollowRoom subscribes to the channel of a room and waits for the confirmation while Redis can be reached. It does
// nothing for a room that has none.
func (l *shardedLink) FollowRoom(ctx context.Context, room string) error {
	if !l.adapter.hasChannel(room) {
		return nil
	}
	confirmed := l.adapter.wire.follow(l, l.roomInterest(room), true)
	if confirmed == nil {
		return nil
	}
	select {
	case <-confirmed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("redisadapter: follow room: %w", context.Cause(ctx))
	}
}

// FollowRoomSoon subscribes to the channel of a room in the background.
func (l *shardedLink) FollowRoomSoon(room string) {
	if l.adapter.hasChannel(room) {
		l.adapter.wire.follow(l, l.roomInterest(room), false)
	}
}

// UnfollowRoom gives the channel of a room up, in the background and unless the room has members again.
func (l *shardedLink) UnfollowRoom(room string) {
	if l.adapter.hasChannel(room) {
		l.adapter.wire.reconsider(l.roomInterest(room))
	}
}

// Leave ends the link. What was received and not yet delivered is dropped.
func (l *shardedLink) Leave(ctx context.Context) error {
	l.end(adapter.ErrClosed)
	l.adapter.leave(l.channels.namespace, l)
	l.inbound.shut()
	l.adapter.wire.dismiss(l)
	if err := l.inbound.quiesce(ctx); err != nil {
		return fmt.Errorf("redisadapter: leave %s: %w", l.channels.namespace, err)
	}
	return nil
}

// wants asks the namespace about the channel of a room; after Leave none is wanted.
func (l *shardedLink) wants(kind channelKind, room string) bool {
	if !l.inbound.enter() {
		return false
	}
	defer l.inbound.exit()
	return kind != kindRoom || l.local.HasRoom(room)
}

// hear sorts a message out before anything of it is decoded.
func (l *shardedLink) hear(h heard) {
	received := &l.adapter.counts.received[h.kind]
	switch {
	case l.own.match(h.payload):
		received[resultOwn].Add(1)
	case !l.wants(h.kind, h.room):
		received[resultNoMatch].Add(1)
	default:
		l.inbound.push(h, len(h.payload))
	}
}

func (l *shardedLink) deliver(h heard) {
	result, err := l.dispatch(h)
	l.count(h.kind, result, err)
}
