package redisadapter

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"example.com/chorus/pkg/adapter"
)

// link is the line of one namespace. What arrives for it waits in a bounded queue for a worker, which exists
// only while there is something to deliver and keeps the order.
type link struct {
	adapter  *pubSub
	channels channels
	local    adapter.Local
	complain rate.Sometimes // logs malformed messages

	mu      sync.Mutex
	changed *sync.Cond // of queue, left and calls
	queue   []incoming
	bytes   int // in queue
	working bool
	left    bool
	calls   int // of methods of local that are under way
}

// incoming is a message as it was received.
type incoming struct {
	payload string
	kind    channelKind
}

var (
	_ adapter.Link         = (*link)(nil)
	_ adapter.RoomFollower = (*link)(nil)
)

func newLink(a *pubSub, c channels, local adapter.Local) *link {
	l := &link{adapter: a, channels: c, local: local, complain: rate.Sometimes{First: 1, Interval: time.Second}}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// Publish encodes m and queues it for the publisher.
func (l *link) Publish(ctx context.Context, m *adapter.Message) error {
	if l.hasLeft() {
		return fmt.Errorf("redisadapter: publish: %w", adapter.ErrClosed)
	}
	o := outgoing{channel: l.channels.broadcast(), payload: buffers.Get().(*[]byte), kind: kindBroadcast, queued: time.Now()}
	if len(m.Rooms) == 1 {
		o.channel, o.kind = l.channels.room(m.Rooms[0]), kindRoom
	}
	b, err := appendMessage((*o.payload)[:0], l.adapter.opts.limits(), l.adapter.uid, l.channels.namespace, m)
	*o.payload = b
	if err == nil {
		err = l.adapter.publisher.enqueue(ctx, o)
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
	confirmed := l.adapter.subscriber.follow(l, room, true)
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
func (l *link) FollowRoomSoon(room string) { l.adapter.subscriber.follow(l, room, false) }

// UnfollowRoom gives the channel of a room up, in the background and unless the room has members again.
func (l *link) UnfollowRoom(room string) { l.adapter.subscriber.reconsider(l.channels.room(room)) }

// Leave ends the link. What was received and not yet delivered is dropped.
func (l *link) Leave(ctx context.Context) error {
	l.adapter.remove(l)
	defer context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.changed.Broadcast()
	})()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = true
	l.queue, l.bytes = nil, 0
	l.changed.Broadcast()
	l.adapter.subscriber.reconsiderLink(l)
	for l.calls > 0 {
		if ctx.Err() != nil {
			return fmt.Errorf("redisadapter: leave %s: %w", l.channels.namespace, context.Cause(ctx))
		}
		l.changed.Wait()
	}
	return nil
}

func (l *link) hasLeft() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.left
}

// hasRoom asks the namespace; after Leave no room has members.
func (l *link) hasRoom(room string) bool {
	l.mu.Lock()
	if l.left {
		l.mu.Unlock()
		return false
	}
	l.calls++
	l.mu.Unlock()
	defer l.called()
	return l.local.HasRoom(room)
}

func (l *link) called() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls--; l.calls == 0 && l.left {
		l.changed.Broadcast()
	}
}

// push queues a received message. It waits while the queue is full, so that reading stops.
func (l *link) push(in incoming) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.left && len(l.queue) > 0 &&
		(len(l.queue) >= l.adapter.opts.ReceiveQueue || l.bytes+len(in.payload) > receiveQueueBytes) {
		l.changed.Wait()
	}
	if l.left {
		return
	}
	l.queue = append(l.queue, in)
	l.bytes += len(in.payload)
	if !l.working {
		l.working = true
		l.adapter.goroutines.Go(l.work)
	}
}

// work delivers until the queue is empty.
func (l *link) work() {
	for {
		l.mu.Lock()
		if len(l.queue) == 0 {
			l.queue = nil
			l.working = false
			l.mu.Unlock()
			return
		}
		in := l.queue[0]
		l.queue[0] = incoming{}
		l.queue = l.queue[1:]
		l.bytes -= len(in.payload)
		l.calls++
		l.changed.Broadcast()
		l.mu.Unlock()
		l.deliver(in)
		l.called()
	}
}

func (l *link) deliver(in incoming) {
	m, err := decodeMessage(in.payload, l.adapter.opts.limits(), l.channels.namespace, l.local.HasRoom)
	received := &l.adapter.counts.received[in.kind]
	switch {
	case err != nil:
		received[resultMalformed].Add(1)
		l.complain.Do(func() {
			l.adapter.opts.Logger.Warn("redisadapter: received a malformed message",
				slog.String("namespace", l.channels.namespace), slog.Int("bytes", len(in.payload)), slog.Any("error", err))
		})
	case m == nil:
		received[resultNoMatch].Add(1)
	default:
		received[resultDelivered].Add(1)
		l.local.Deliver(m)
	}
}
