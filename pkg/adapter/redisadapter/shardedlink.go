package redisadapter

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"example.com/chorus/internal/cluster"
	"example.com/chorus/pkg/adapter"
)

// shardedLink is the line of one namespace in the sharded adapter.
type shardedLink struct {
	adapter  *shardedAdapter
	channels channels
	local    adapter.Local
	inbound  *inbound[heard]
	own      ownTails
	complain rate.Sometimes  // logs malformed messages
	requests context.Context // of which all requests end with the link
	end      context.CancelCauseFunc
}

var (
	_ adapter.Link         = (*shardedLink)(nil)
	_ adapter.RoomFollower = (*shardedLink)(nil)
	_ adapter.Requester    = (*shardedLink)(nil)
	_ listener             = (*shardedLink)(nil)
)

func newShardedLink(a *shardedAdapter, c channels, local adapter.Local) *shardedLink {
	l := &shardedLink{
		adapter: a, channels: c, local: local, own: newOwnTails(a.uid, c.namespace),
		complain: rate.Sometimes{First: 1, Interval: time.Second},
	}
	l.requests, l.end = context.WithCancelCause(context.Background())
	l.inbound = newInbound(a.opts.ReceiveQueue, receiveQueueBytes, &a.goroutines, l.deliver)
	return l
}

// private is the channel of answers to one server.
func (l *shardedLink) private(uid string) string { return l.channels.room(uid) }

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

// send encodes a message and queues it.
func (l *shardedLink) send(ctx context.Context, channel string, kind channelKind, c *clusterMessage) error {
	if l.inbound.isClosed() {
		return adapter.ErrClosed
	}
	o := newOutgoing(spublishCommand, channel, kind)
	b, err := appendCluster(*o.payload, l.adapter.opts.limits(), c)
	*o.payload = b
	if err == nil {
		err = l.adapter.wire.enqueue(ctx, o)
	}
	if err != nil {
		o.release()
	}
	return err
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
	l.adapter.counts.received[h.kind][result].Add(1)
	if err != nil {
		l.complain.Do(func() {
			l.adapter.opts.Logger.Warn("redisadapter: received a malformed message",
				slog.String("namespace", l.channels.namespace), slog.Int("bytes", len(h.payload)), slog.Any("error", err))
		})
	}
}

// dispatch reads a message and hands it to the namespace, or to the request that waits for it.
func (l *shardedLink) dispatch(h heard) (result, error) {
	head, err := readCluster([]byte(h.payload))
	switch {
	case err != nil:
		return resultMalformed, err
	case head.namespace != l.channels.namespace:
		return resultNoMatch, nil
	case head.uid == l.adapter.uid:
		return resultOwn, nil
	}
	c, err := head.decode(l.adapter.opts.limits(), l.local.HasRoom)
	switch {
	case err != nil:
		return resultMalformed, err
	case c == nil:
		return resultNoMatch, nil
	case c.response != nil:
		if !l.adapter.ledger.Answer(cluster.Answer{Request: c.request, From: c.uid, Response: c.response, Ack: c.kind == clusterAck}) {
			return resultNoMatch, nil // it came too late, or twice
		}
	case c.message == nil: // a sign of life of other adapters of this family
		return resultNoMatch, nil
	case c.request == "":
		l.local.Deliver(c.message)
	case c.uid == "" || c.uid == emitterUID:
		return resultMalformed, clusterMalformed("uid of a request", errMissing)
	default:
		l.local.Answer(c.message, l.responder(c))
	}
	return resultDelivered, nil
}

// responder returns what the namespace calls to answer. A broadcast is answered with the number of clients and then by
// each of them, all else once: Node would take a second answer for that of another server.
func (l *shardedLink) responder(to *clusterMessage) func(*adapter.Response) {
	var answered atomic.Bool
	return func(r *adapter.Response) {
		if r == nil || l.inbound.isClosed() {
			return
		}
		c := newClusterResponse(to, r, l.adapter.uid)
		if c.kind != clusterAck && answered.Swap(true) {
			return
		}
		l.respond(to.uid, &c)
	}
}

// respond publishes an answer. What cannot be sent is logged, and missing at the one who asked.
func (l *shardedLink) respond(uid string, c *clusterMessage) {
	o := newOutgoing(spublishCommand, l.private(uid), kindResponse)
	b, err := appendCluster(*o.payload, l.adapter.opts.limits(), c)
	*o.payload = b
	if err == nil {
		err = l.adapter.replyBy(l.adapter.wire.enqueue, o)
	}
	if err == nil {
		return
	}
	o.release()
	l.complain.Do(func() {
		l.adapter.opts.Logger.Error("redisadapter: cannot answer", slog.String("namespace", l.channels.namespace), slog.Any("error", err))
	})
}

// audience are the channels by which the servers of the namespace are counted.
func (l *shardedLink) audience() audience {
	return audience{namespace: l.channels.namespace, request: l.channels.broadcast(), private: l.private, count: l.adapter.wire.subscribers}
}

// Request sends m to all nodes of the namespace and hands their answers over.
func (l *shardedLink) Request(ctx context.Context, m *adapter.Message, response func(*adapter.Response)) error {
	if l.inbound.isClosed() {
		return fmt.Errorf("redisadapter: request: %w", adapter.ErrClosed)
	}
	switch m.Kind {
	case adapter.Broadcast, adapter.ServerSideEmit, adapter.Fetch, adapter.Count:
	default:
		return fmt.Errorf("redisadapter: request: %w: kind %d is for Publish", ErrInvalidData, m.Kind)
	}
	if deadline, ok := ctx.Deadline(); ok && m.Timeout == 0 {
		asked := *m
		asked.Timeout = max(time.Until(deadline), 0)
		m = &asked
	}
	c := newClusterMessage(m, l.adapter.uid, l.channels.namespace, newClusterID())
	private := interest{channel: l.private(l.adapter.uid), method: sharded}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.requests, func() { cancel(context.Cause(l.requests)) })()
	return l.adapter.request(ctx, exchange{
		namespace: l.channels.namespace,
		audience:  l.audience(),
		id:        c.request,
		kind:      m.Kind,
		listening: func() bool { return l.adapter.wire.isConfirmed(private) },
		send: func(ctx context.Context) error {
			return l.send(ctx, l.channels.broadcast(), kindRequest, &c)
		},
	}, func(r *adapter.Response) {
		if m.Kind == adapter.Count { // Node's servers answer with the sockets
			r = &adapter.Response{Count: max(r.Count, len(r.Sockets))}
		}
		response(r)
	})
}

// Nodes returns the nodes that take part in the namespace, this one first.
func (l *shardedLink) Nodes(ctx context.Context) ([]adapter.Node, error) {
	if l.inbound.isClosed() {
		return nil, fmt.Errorf("redisadapter: nodes: %w", adapter.ErrClosed)
	}
	p, err := l.adapter.survey(ctx, l.audience())
	if err != nil {
		return nil, fmt.Errorf("redisadapter: nodes: %w", err)
	}
	nodes := append([]adapter.Node{l.adapter.membership.node}, p.named...)
	return append(nodes, make([]adapter.Node, p.unnamed)...), nil
}
