package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"example.com/chorus/pkg/adapter"
)

// requestIDLength makes ids that nobody has to compare: 96 bits.
const requestIDLength = 16

// Request asks the other nodes, as adapter.Requester says.
func (l *link) Request(ctx context.Context, m *adapter.Message, response func(*adapter.Response)) error {
	if l.inbound.isClosed() {
		return fmt.Errorf("redisadapter: request: %w", adapter.ErrClosed)
	}
	m, err := forRequest(ctx, m)
	if err != nil {
		return err
	}
	id := newUID(requestIDLength)
	o, err := l.requestMessage(id, m)
	if err != nil {
		o.release()
		return fmt.Errorf("redisadapter: request: %w", err)
	}
	sent := false
	defer func() {
		if !sent {
			o.release()
		}
	}()
	x := exchange{
		namespace: l.channels.namespace,
		audience:  l.audience(),
		id:        id,
		kind:      m.Kind,
		life:      l.requests,
		listening: func() bool { return l.line.hears(l) },
		send: func(ctx context.Context) error {
			o.queued = time.Now()
			err := l.line.publisher.enqueue(ctx, o)
			sent = err == nil
			return err
		},
	}
	return l.line.request(ctx, x, response)
}

func (l *link) audience() audience {
	return audience{
		namespace: l.channels.namespace, request: l.channels.request(), private: l.channels.private,
		count: countSubscribers(l.line.counting),
	}
}

// Nodes returns the nodes that take part in the namespace, this one first.
func (l *link) Nodes(ctx context.Context) ([]adapter.Node, error) {
	if l.inbound.isClosed() {
		return nil, fmt.Errorf("redisadapter: nodes: %w", adapter.ErrClosed)
	}
	return l.line.nodes(ctx, l.audience())
}

// awaits tells whether an answer is for this node.
func (l *link) awaits(payload string) bool {
	id, err := responseID(payload)
	if err != nil {
		return true // it is counted as malformed in its turn
	}
	_, ok := l.line.awaited.kind(id)
	return ok
}

// settle files an answer.
func (l *link) settle(payload string) (result, error) {
	a, ok, err := decodeResponse(payload, l.line.opts.limits(), l.line.awaited.kind)
	if err != nil {
		return resultMalformed, err
	}
	if !ok || !l.line.ledger.Answer(a) {
		return resultNoMatch, nil
	}
	return resultDelivered, nil
}

// answer hands a request over, and sends back what the namespace answers.
func (l *link) answer(payload string) (result, error) {
	r, err := decodeRequest(payload, l.line.opts.limits(), l.channels.namespace)
	if err != nil {
		return resultMalformed, err
	}
	if r.uid == l.line.uid {
		return resultOwn, nil
	}
	switch {
	case r.legacy && !l.local.HasRoom(r.message.Rooms[0]):
		return resultNoMatch, nil
	case r.wantsAnswer():
		l.local.Answer(&r.message, l.responder(r))
	default:
		l.local.Deliver(&r.message)
		if r.legacy && r.id != "" {
			l.respond(r, new(adapter.Response), nil)
		}
	}
	return resultDelivered, nil
}

// responder returns what the namespace calls to answer. A broadcast is answered with the number of clients and then by
// each of them, all else once; Node would take a second answer for that of another server.
func (l *link) responder(r *peerRequest) func(*adapter.Response) {
	var answered atomic.Bool
	return func(response *adapter.Response) {
		if response == nil || l.inbound.isClosed() {
			return
		}
		ack := r.typ == typeBroadcast && response.Packet != nil
		if !ack && answered.Swap(true) {
			return
		}
		var rooms []string
		if r.typ == typeAllRooms {
			rooms = roomsOf(response.Sockets)
		}
		l.respond(r, response, rooms)
	}
}

// roomsOf returns the rooms of sockets, each once.
func roomsOf(sockets []adapter.Socket) []string {
	var rooms []string
	seen := make(map[string]struct{})
	for i := range sockets {
		for _, room := range sockets[i].Rooms {
			if _, again := seen[room]; !again {
				seen[room] = struct{}{}
				rooms = append(rooms, room)
			}
		}
	}
	return rooms
}

// respond publishes an answer.
func (l *link) respond(to *peerRequest, r *adapter.Response, rooms []string) {
	o := newOutgoing(publishCommand, l.answerChannel(to), kindResponse)
	b, err := appendResponse(*o.payload, l.line.opts.limits(), l.line.uid, to, r, rooms)
	*o.payload = b
	if err == nil {
		err = l.line.reply(l.line.publisher.enqueue, o)
	}
	if err != nil {
		o.release()
		l.complain.Do(func() {
			l.line.opts.Logger.Error("redisadapter: cannot answer", slog.String("namespace", l.channels.namespace), slog.Any("error", err))
		})
	}
}

// uidLimit is the longest uid that is taken into the name of a channel.
const uidLimit = 64

// answerChannel is where who asks hears the answer. Nodes of Chorus hear both channels, so the others are spared.
func (l *link) answerChannel(to *peerRequest) string {
	specific := l.line.opts.PublishOnSpecificResponseChannel && to.typ != typeServerSideEmit
	if to.uid != "" && len(to.uid) <= uidLimit && (specific || l.line.membership.members.Has(to.uid)) {
		return l.channels.private(to.uid)
	}
	return l.channels.response()
}

// reply queues an answer and never waits: it is called by those who read from clients. When the acknowledgements of very
// many clients come at once, more of them may wait than of other messages.
func (l *line) reply(enqueue func(context.Context, outgoing) error, o outgoing) error {
	o.answer = true
	err := enqueue(ended, o)
	if errors.Is(err, context.Canceled) {
		l.counts.queueFull.Add(1)
	}
	return err
}
