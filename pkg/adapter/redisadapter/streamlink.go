package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"example.com/chorus/internal/cluster"
	"example.com/chorus/pkg/adapter"
)

// streamLink is the line of one namespace in the streams adapter.
type streamLink struct {
	adapter  *streams
	channels channels
	stream   string
	home     *streamReader // of stream
	local    adapter.Local
	recorder adapter.Recorder // local, if its sessions are kept, else nil
	echoes   *echoes          // of a recorder
	inbound  *inbound[arrival]
	own      ownTails
	requests context.Context // ends with Leave
	end      context.CancelCauseFunc
	complain rate.Sometimes // logs malformed messages
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
)

func newStreamLink(a *streams, c channels, local adapter.Local) *streamLink {
	l := &streamLink{
		adapter: a, channels: c, stream: a.names.of(c.namespace), local: local, own: newOwnTails(a.uid, c.namespace),
		complain: rate.Sometimes{First: 1, Interval: time.Second},
	}
	l.requests, l.end = context.WithCancelCause(a.life)
	l.inbound = newInbound(a.opts.ReceiveQueue, receiveQueueBytes, &a.goroutines, l.deliver)
	if recorder, ok := local.(adapter.Recorder); ok {
		l.recorder = recorder
		l.echoes = newEchoes(a.streamsOpts.LocalAfter, a.opts.PublishQueue, func() { l.inbound.add(arrival{overdo: true}) })
	}
	return l
}

// private is the channel of answers to one server.
func (l *streamLink) private(uid string) string { return l.channels.room(uid) }

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

// listens reports whether the channels are subscribed.
func (l *streamLink) listens() bool {
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
		err = l.ask(ctx, &c)
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
		if err := l.enqueue(ctx, c, o); err != nil { // the clients of this node get it
			l.echoes.giveUp(e)
			return err
		}
		return nil
	}
	return l.enqueue(ctx, c, o)
}

// enqueue encodes an entry and queues it.
func (l *streamLink) enqueue(ctx context.Context, c *clusterMessage, o outgoing) error {
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

// send publishes a message on a channel, always as MessagePack.
func (l *streamLink) send(channel string, kind channelKind, c *clusterMessage, enqueue func(outgoing) error) error {
	if l.inbound.isClosed() {
		return adapter.ErrClosed
	}
	command := publishCommand
	if l.adapter.streamsOpts.ShardedPubSub {
		command = spublishCommand
	}
	o := newOutgoing(command, channel, kind)
	err := l.encodable(c)
	if err == nil {
		*o.payload, err = appendClusterAs(*o.payload, l.adapter.opts.limits(), c, true)
	}
	if err == nil {
		err = enqueue(o)
	}
	if err != nil {
		o.release()
	}
	return err
}

// ask publishes a message to all servers of the namespace.
func (l *streamLink) ask(ctx context.Context, c *clusterMessage) error {
	return l.send(l.channels.broadcast(), kindRequest, c, func(o outgoing) error { return l.adapter.wire.enqueue(ctx, o) })
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
	l.adapter.counts.received[kind][outcome].Add(1)
	if err != nil {
		l.complain.Do(func() {
			l.adapter.opts.Logger.Warn("redisadapter: received a malformed message",
				slog.String("namespace", l.channels.namespace), slog.String("on", kindNames[kind]), slog.Any("error", err))
		})
	}
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

// dispatch reads a message of a channel and hands it to the namespace, or to the request that waits for it.
func (l *streamLink) dispatch(h heard) (result, error) {
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
// each of them, all else once; Node would take a second answer for that of another server.
func (l *streamLink) responder(to *clusterMessage) func(*adapter.Response) {
	var answered atomic.Bool
	return func(r *adapter.Response) {
		if r == nil || l.inbound.isClosed() {
			return
		}
		if ack := to.kind == clusterBroadcast && r.Packet != nil; ack || !answered.Swap(true) {
			l.respond(to, r)
		}
	}
}

// respond publishes an answer. What cannot be sent is missing at the one who asked.
func (l *streamLink) respond(to *clusterMessage, r *adapter.Response) {
	c := newClusterResponse(to, r, l.adapter.uid)
	if err := l.send(l.private(to.uid), kindResponse, &c, l.adapter.answer); err != nil && !errors.Is(err, adapter.ErrClosed) {
		l.complain.Do(func() {
			l.adapter.opts.Logger.Error("redisadapter: cannot answer a request",
				slog.String("namespace", l.channels.namespace), slog.Any("error", err))
		})
	}
}

// audience are the channels by which the servers of the namespace are counted.
func (l *streamLink) audience() audience {
	return audience{namespace: l.channels.namespace, request: l.channels.broadcast(), private: l.private, count: l.adapter.wire.subscribers}
}

// Request sends m to all nodes of the namespace and hands their answers over.
func (l *streamLink) Request(ctx context.Context, m *adapter.Message, response func(*adapter.Response)) error {
	switch m.Kind {
	case adapter.Broadcast, adapter.ServerSideEmit, adapter.Fetch, adapter.Count:
	default:
		return fmt.Errorf("redisadapter: request: %w: kind %d is for Publish", ErrInvalidData, m.Kind)
	}
	if l.inbound.isClosed() {
		return fmt.Errorf("redisadapter: request: %w", adapter.ErrClosed)
	}
	if deadline, ok := ctx.Deadline(); ok && m.Timeout == 0 {
		asked := *m
		asked.Timeout = max(time.Until(deadline), 0)
		m = &asked
	}
	c := newClusterMessage(m, l.adapter.uid, l.channels.namespace, newClusterID())
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.requests, func() { cancel(context.Cause(l.requests)) })()
	return l.adapter.request(ctx, exchange{
		namespace: l.channels.namespace,
		audience:  l.audience(),
		id:        c.request,
		kind:      m.Kind,
		listening: l.listens,
		send:      func(ctx context.Context) error { return l.ask(ctx, &c) },
	}, func(r *adapter.Response) {
		if m.Kind == adapter.Count { // Node's servers answer with the sockets
			r = &adapter.Response{Count: max(r.Count, len(r.Sockets))}
		}
		response(r)
	})
}

// Nodes returns the nodes that take part in the namespace.
func (l *streamLink) Nodes(ctx context.Context) ([]adapter.Node, error) {
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
