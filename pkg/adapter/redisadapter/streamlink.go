package redisadapter

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
)

// streamLink is the line of one namespace in the streams adapter.
type streamLink struct {
	clusterLink
	adapter  *streams
	stream   string
	recorder adapter.Recorder // local, if its sessions are kept, else nil
	echoes   *echoes          // of a recorder
	inbound  *inbound[arrival]
}

// arrival is one thing that came for a link: a message on a channel, an entry of a stream, a new beginning of the home
// stream, or the impatience of its echoes.
type arrival struct {
	heard  heard
	entry  *streamEntry
	home   bool            // the entry is of the home stream
	begin  *adapter.Offset // the place from which on everything will come
	overdo bool            // echoes are due
}

var (
	_ adapter.Link      = (*streamLink)(nil)
	_ adapter.Requester = (*streamLink)(nil)
	_ listener          = (*streamLink)(nil)
	_ clusterCarrier    = (*streamLink)(nil)
)

func newStreamLink(a *streams, c channels, local adapter.Local) *streamLink {
	l := &streamLink{adapter: a, stream: a.names.of(c.namespace)}
	l.clusterLink = newClusterLink(a.line, c, local, l)
	l.inbound = newInbound(a.opts.ReceiveQueue, receiveQueueBytes, &a.goroutines, l.deliver)
	if recorder, ok := local.(adapter.Recorder); ok {
		l.recorder = recorder
		l.echoes = newEchoes(a.streamsOpts.LocalAfter, a.opts.PublishQueue, func() { l.inbound.add(arrival{overdo: true}) })
	}
	return l
}

// interests are the channels without which requests cannot be heard.
func (l *streamLink) interests() []interest {
	return []interest{
		{channel: l.channels.broadcast(), method: l.adapter.method(), kind: kindRequest},
		{channel: l.private(l.adapter.uid), method: l.adapter.method(), kind: kindResponse},
	}
}

// essential are the channels of the line's own connection.
func (l *streamLink) essential() []interest {
	if l.adapter.streamsOpts.ShardedPubSub {
		return nil
	}
	return l.interests()
}

// hearsAnswers reports whether the channels are subscribed.
func (l *streamLink) hearsAnswers() bool {
	for _, i := range l.interests() {
		if !l.adapter.wire.isConfirmed(i) {
			return false
		}
	}
	return true
}

// Publish adds m to the stream, or publishes it if it is a server-side emit, which is not worth keeping.
func (l *streamLink) Publish(ctx context.Context, m *adapter.Message) error {
	c := newClusterMessage(m, l.adapter.uid, l.channels.namespace, "")
	var err error
	if m.Kind == adapter.ServerSideEmit {
		err = l.send(ctx, l.channels.broadcast(), kindRequest, &c)
	} else {
		err = l.add(ctx, &c)
	}
	if err != nil {
		return fmt.Errorf("redisadapter: publish: %w", err)
	}
	return nil
}

// add queues an entry.
func (l *streamLink) add(ctx context.Context, c *clusterMessage) error {
	if l.inbound.isClosed() {
		return adapter.ErrClosed
	}
	o := newOutgoing(addCommand, l.stream, kindStream)
	o.entry = &entryFields{
		uid: c.uid, namespace: c.namespace, kind: c.kind, sent: c.sent, maxLen: l.adapter.streamsOpts.MaxLen, next: l.adapter.nextNumber,
	}
	if l.echoes != nil && c.kind == clusterBroadcast {
		e := l.echoes.expect(c.message)
		o.entry.next = func() uint64 { return l.echoes.launch(e, l.adapter.nextNumber()) }
		o.done = func(_ redis.Cmder, err error) {
			if err != nil {
				l.echoes.giveUp(e)
			}
		}
		if err := l.enqueueEntry(ctx, c, o); err != nil { // the clients of this node get it
			l.echoes.giveUp(e)
			return err
		}
		return nil
	}
	return l.enqueueEntry(ctx, c, o)
}

// enqueueEntry encodes an entry and queues it.
func (l *streamLink) enqueueEntry(ctx context.Context, c *clusterMessage, o outgoing) error {
	err := l.encodable(c)
	if err == nil {
		*o.payload, err = appendEntryData(*o.payload, l.adapter.opts.limits(), c)
	}
	if err == nil {
		err = l.adapter.publisher.enqueue(ctx, o)
	}
	if err != nil {
		o.release()
	}
	return err
}

func (l *streamLink) encodable(c *clusterMessage) error {
	if l.adapter.streamsOpts.OnlyPlaintext && c.isBinary() {
		return fmt.Errorf("%w: binary values, which the option OnlyPlaintext refuses", ErrInvalidData)
	}
	return nil
}

// encode makes the command that publishes a message, always as MessagePack.
func (l *streamLink) encode(channel string, kind channelKind, c *clusterMessage) (o outgoing, err error) {
	command := publishCommand
	if l.adapter.streamsOpts.ShardedPubSub {
		command = spublishCommand
	}
	o = newOutgoing(command, channel, kind)
	if err = l.encodable(c); err == nil {
		*o.payload, err = appendClusterAs(*o.payload, l.adapter.opts.limits(), c, true)
	}
	return o, err
}

func (l *streamLink) enqueue(ctx context.Context, o outgoing) error {
	return l.adapter.wire.enqueue(ctx, o)
}

func (l *streamLink) isClosed() bool { return l.inbound.isClosed() }

func (l *streamLink) subscribers(ctx context.Context, channels []string) (map[string]int64, error) {
	return l.adapter.wire.subscribers(ctx, channels)
}

// Leave ends the link. What was received and not yet delivered is dropped.
func (l *streamLink) Leave(ctx context.Context) error {
	l.end(adapter.ErrClosed)
	l.adapter.leave(l.channels.namespace, l)
	for _, r := range l.adapter.reading() {
		r.unfollow(l)
	}
	l.inbound.shut()
	if l.echoes != nil {
		l.echoes.close()
	}
	l.adapter.wire.dismiss(l)
	if err := l.inbound.quiesce(ctx); err != nil {
		return fmt.Errorf("redisadapter: leave %s: %w", l.channels.namespace, err)
	}
	return nil
}

// wants reports whether the link listens: until Leave.
func (l *streamLink) wants(channelKind, string) bool { return !l.inbound.isClosed() }

// hear takes what was published on a channel.
func (l *streamLink) hear(h heard) {
	if l.own.match(h.payload) {
		l.adapter.counts.received[h.kind][resultOwn].Add(1)
		return
	}
	l.inbound.push(arrival{heard: h}, len(h.payload))
}

// push takes an entry. It may wait, which stops the reading.
func (l *streamLink) push(r *streamReader, e streamEntry) {
	if e.uid == l.adapter.uid && (l.recorder == nil || e.kind != clusterBroadcast) {
		l.adapter.counts.received[kindStream][resultOwn].Add(1)
		return
	}
	l.inbound.push(arrival{entry: &e, home: r.stream == l.stream}, len(e.data))
}

// begin takes the place from which on a reader has everything. That of the stream which only Node's servers write to is
// of no use.
func (l *streamLink) begin(r *streamReader, at adapter.Offset) {
	if l.recorder != nil && r.stream == l.stream {
		l.inbound.push(arrival{begin: &at}, 0)
	}
}

// deliver handles what came, one after the other.
func (l *streamLink) deliver(a arrival) {
	var err error
	var outcome result
	kind := kindStream
	switch {
	case a.begin != nil:
		l.recorder.Begin(*a.begin)
		return
	case a.overdo:
		for _, m := range l.echoes.due() {
			l.recorder.Record(adapter.Record{Message: m, Own: true})
		}
		return
	case a.entry != nil:
		outcome, err = l.deliverEntry(a.entry, a.home)
	default:
		kind = a.heard.kind
		outcome, err = l.dispatch(a.heard)
	}
	l.count(kind, outcome, err)
}

// deliverEntry reads an entry and hands it to the namespace.
func (l *streamLink) deliverEntry(e *streamEntry, home bool) (result, error) {
	record := adapter.Record{Own: e.uid == l.adapter.uid}
	if home {
		record.Offset = e.offset
	}
	if record.Own {
		if record.Message = l.echoes.came(e.number); record.Message != nil {
			l.recorder.Record(record)
			return resultOwn, nil
		}
		record.Again = true
	}
	hasRoom := l.local.HasRoom
	recorded := l.recorder != nil && e.kind == clusterBroadcast
	if recorded { // what nobody here wants may be missed by a client that comes from elsewhere
		hasRoom = everyRoom
	}
	c, err := e.decode(l.adapter.opts.limits(), hasRoom)
	switch {
	case err != nil:
		return resultMalformed, err
	case c == nil:
		return resultNoMatch, nil
	case recorded:
		record.Message = c.message
		l.recorder.Record(record)
	default:
		l.local.Deliver(c.message)
	}
	if record.Own {
		return resultOwn, nil
	}
	return resultDelivered, nil
}
