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
	followed []interest // essential
	local    adapter.Local
	inbound  *inbound[heard]
	complain rate.Sometimes  // logs malformed messages
	requests context.Context // of which all requests end with the link
	leave    context.CancelCauseFunc
}

var (
	_ adapter.Link         = (*link)(nil)
	_ adapter.RoomFollower = (*link)(nil)
	_ adapter.Requester    = (*link)(nil)
	_ listener             = (*link)(nil)
)

func newLink(a *line, c channels, local adapter.Local) *link {
	l := &link{line: a, channels: c, local: local, complain: rate.Sometimes{First: 1, Interval: time.Second}}
	l.requests, l.leave = context.WithCancelCause(context.Background())
	l.inbound = newInbound(a.opts.ReceiveQueue, receiveQueueBytes, &a.goroutines, l.handle)
	l.followed = []interest{
		{channel: c.broadcast(), kind: kindBroadcast},
		{channel: c.request(), kind: kindRequest},
		{channel: c.response(), kind: kindResponse},
		{channel: c.private(a.uid), kind: kindResponse},
	}
	if l.byPattern() {
		l.followed[0] = interest{channel: c.all(), method: pattern, kind: kindBroadcast}
	}
	return l
}

func (l *link) byPattern() bool { return l.line.opts.Subscription == SubscribePattern }

func (l *link) essential() []interest { return l.followed }

// roomInterest is what to follow for a room.
func (l *link) roomInterest(room string) interest {
	if l.byPattern() {
		return l.followed[0]
	}
	return interest{channel: l.channels.room(room), kind: kindRoom, room: room}
}

// Publish encodes m and queues it for the publisher.
func (l *link) Publish(ctx context.Context, m *adapter.Message) error {
	if l.inbound.isClosed() {
		return fmt.Errorf("redisadapter: publish: %w", adapter.ErrClosed)
	}
	var o outgoing
	var err error
	switch m.Kind {
	case adapter.Broadcast:
		o, err = l.broadcast(m)
	case adapter.Fetch, adapter.Count:
		return fmt.Errorf("redisadapter: publish: %w: kind %d is for Request", ErrInvalidData, m.Kind)
	default:
		o, err = l.requestMessage("", m)
	}
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

func (l *link) broadcast(m *adapter.Message) (o outgoing, err error) {
	o = newOutgoing(publishCommand, l.channels.broadcast(), kindBroadcast)
	if len(m.Rooms) == 1 {
		o.channel, o.kind = l.channels.room(m.Rooms[0]), kindRoom
	}
	*o.payload, err = appendMessage(*o.payload, l.line.opts.limits(), l.line.uid, l.channels.namespace, m)
	return o, err
}

// requestMessage makes a request of m. Without an id no answer is wanted.
func (l *link) requestMessage(id string, m *adapter.Message) (o outgoing, err error) {
	o = newOutgoing(publishCommand, l.channels.request(), kindRequest)
	*o.payload, err = appendRequest(*o.payload, l.line.opts.limits(), l.line.uid, id, l.channels.namespace, m)
	return o, err
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
func (l *link) FollowRoomSoon(room string) {
	if !l.byPattern() {
		l.line.subscriber.follow(l, l.roomInterest(room), false)
	}
}

// UnfollowRoom gives the channel of a room up, in the background and unless the room has members again.
func (l *link) UnfollowRoom(room string) {
	if !l.byPattern() {
		l.line.subscriber.reconsider(l.roomInterest(room))
	}
}

// Leave ends the link. What was received and not yet delivered is dropped.
func (l *link) Leave(ctx context.Context) error {
	l.leave(adapter.ErrClosed)
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
	if h.kind == kindBroadcast {
		if room := l.channels.roomOf(h.channel); room != "" {
			h.kind, h.room = kindRoom, room
		}
	}
	received := &l.line.counts.received[h.kind]
	switch {
	case h.kind != kindResponse && isOwn(h.payload, l.line.uid):
		received[resultOwn].Add(1)
	case !l.wants(h.kind, h.room), h.kind == kindResponse && !l.awaits(h.payload):
		received[resultNoMatch].Add(1)
	default:
		l.inbound.push(h, len(h.payload))
	}
}

// handle takes what was queued, one message after the other.
func (l *link) handle(h heard) {
	var got result
	var err error
	switch h.kind {
	case kindRequest:
		got, err = l.answer(h.payload)
	case kindResponse:
		got, err = l.settle(h.payload)
	default:
		got, err = l.deliver(h.payload)
	}
	if err != nil {
		got = resultMalformed
		l.complain.Do(func() {
			l.line.opts.Logger.Warn("redisadapter: received a malformed message",
				slog.String("namespace", l.channels.namespace), slog.String("kind", kindNames[h.kind]),
				slog.Int("bytes", len(h.payload)), slog.Any("error", err))
		})
	}
	l.line.counts.received[h.kind][got].Add(1)
}

// deliver hands a broadcast over.
func (l *link) deliver(payload string) (result, error) {
	m, err := decodeMessage(payload, l.line.opts.limits(), l.channels.namespace, l.local.HasRoom)
	if err != nil {
		return resultMalformed, err
	}
	if m == nil {
		return resultNoMatch, nil
	}
	l.local.Deliver(m)
	return resultDelivered, nil
}
