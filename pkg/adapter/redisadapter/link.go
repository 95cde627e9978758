package redisadapter

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"example.com/chorus/pkg/adapter"
)

// link is the line of one namespace.
type link struct {
	line     *line
	channels channels
	local    adapter.Local
	inbound  *inbound[heard]
	complain rate.Sometimes // logs malformed messages
}

var (
	_ adapter.Link         = (*link)(nil)
	_ adapter.RoomFollower = (*link)(nil)
	_ listener             = (*link)(nil)
)

func newLink(a *line, c channels, local adapter.Local) *link {
	l := &link{line: a, channels: c, local: local, complain: rate.Sometimes{First: 1, Interval: time.Second}}
	l.inbound = newInbound(a.opts.ReceiveQueue, receiveQueueBytes, &a.goroutines, l.deliver)
	return l
}

func (l *link) essential() []interest {
	return []interest{{channel: l.channels.broadcast(), kind: kindBroadcast}}
}

func (l *link) roomInterest(room string) interest {
	return interest{channel: l.channels.room(room), kind: kindRoom, room: room}
}

// Publish encodes m and queues it for the publisher.
func (l *link) Publish(ctx context.Context, m *adapter.Message) error {
	if l.inbound.isClosed() {
		return fmt.Errorf("redisadapter: publish: %w", adapter.ErrClosed)
	}
	o := newOutgoing(publishCommand, l.channels.broadcast(), kindBroadcast)
	if len(m.Rooms) == 1 {
		o.channel, o.kind = l.channels.room(m.Rooms[0]), kindRoom
	}
	b, err := appendMessage(*o.payload, l.line.opts.limits(), l.line.uid, l.channels.namespace, m)
	*o.payload = b
	if err == nil {
		err = l.line.publisher.enqueue(ctx, o)
	} else {
		err = fmt.Errorf("redisadapter: publish: %w", err)
	}
	if err != nil {
		o.release()
	}
	return err
}

// FollowRoom subscribes to the channel of a room and waits for the confirmation while Redis can be reached.
func (l *link) FollowRoom(ctx context.Context, room string) error {
	confirmed := l.line.subscriber.follow(l, l.roomInterest(room), true)
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
func (l *link) FollowRoomSoon(room string) { l.line.subscriber.follow(l, l.roomInterest(room), false) }

// UnfollowRoom gives the channel of a room up, in the background and unless the room has members again.
func (l *link) UnfollowRoom(room string) { l.line.subscriber.reconsider(l.roomInterest(room)) }

// Leave ends the link. What was received and not yet delivered is dropped.
func (l *link) Leave(ctx context.Context) error {
	l.line.leave(l.channels.namespace, l)
	l.inbound.shut()
	l.line.subscriber.dismiss(l)
	if err := l.inbound.quiesce(ctx); err != nil {
		return fmt.Errorf("redisadapter: leave %s: %w", l.channels.namespace, err)
	}
	return nil
}

// wants asks the namespace about the channel of a room; after Leave none is wanted.
func (l *link) wants(kind channelKind, room string) bool {
	if !l.inbound.enter() {
		return false
	}
	defer l.inbound.exit()
	return kind != kindRoom || l.local.HasRoom(room)
}

// hear sorts a message out before anything of it is decoded.
func (l *link) hear(h heard) {
	received := &l.line.counts.received[h.kind]
	switch {
	case isOwn(h.payload, l.line.uid):
		received[resultOwn].Add(1)
	case !l.wants(h.kind, h.room):
		received[resultNoMatch].Add(1)
	default:
		l.inbound.push(h, len(h.payload))
	}
}

func (l *link) deliver(h heard) {
	m, err := decodeMessage(h.payload, l.line.opts.limits(), l.channels.namespace, l.local.HasRoom)
	received := &l.line.counts.received[h.kind]
	switch {
	case err != nil:
		received[resultMalformed].Add(1)
		l.complain.Do(func() {
			l.line.opts.Logger.Warn("redisadapter: received a malformed message",
				slog.String("namespace", l.channels.namespace), slog.Int("bytes", len(h.payload)), slog.Any("error", err))
		})
	case m == nil:
		received[resultNoMatch].Add(1)
	default:
		received[resultDelivered].Add(1)
		l.local.Deliver(m)
	}
}
