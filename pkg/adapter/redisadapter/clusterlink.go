package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"example.com/chorus/internal/cluster"
	"example.com/chorus/pkg/adapter"
)

// clusterLink is what the links have in common whose nodes ask and answer with the messages of Node's ClusterAdapter.
type clusterLink struct {
	line     *line
	channels channels
	local    adapter.Local
	own      ownTails
	carrier  clusterCarrier
	complain rate.Sometimes  // logs malformed messages
	requests context.Context // of which all requests end with the link
	end      context.CancelCauseFunc
}

// clusterCarrier is how the messages of a link travel.
type clusterCarrier interface {
	// encode makes the command that publishes a message. The outgoing is to be released after an error too.
	encode(channel string, kind channelKind, c *clusterMessage) (outgoing, error)
	// enqueue is that of publisher.
	enqueue(ctx context.Context, o outgoing) error
	// subscribers is a subscriberCount.
	subscribers(ctx context.Context, channels []string) (map[string]int64, error)
	// hearsAnswers reports whether answers would be heard.
	hearsAnswers() bool
	isClosed() bool
}

func newClusterLink(l *line, c channels, local adapter.Local, carrier clusterCarrier) clusterLink {
	requests, end := context.WithCancelCause(context.Background())
	return clusterLink{
		line: l, channels: c, local: local, own: newOwnTails(l.uid, c.namespace), carrier: carrier,
		complain: rate.Sometimes{First: 1, Interval: time.Second}, requests: requests, end: end,
	}
}

// private is the channel of answers to one server.
func (l *clusterLink) private(uid string) string { return l.channels.room(uid) }

// send encodes a message and queues it.
func (l *clusterLink) send(ctx context.Context, channel string, kind channelKind, c *clusterMessage) error {
	if l.carrier.isClosed() {
		return adapter.ErrClosed
	}
	o, err := l.carrier.encode(channel, kind, c)
	if err == nil {
		err = l.carrier.enqueue(ctx, o)
	}
	if err != nil {
		o.release()
	}
	return err
}

// count notes what became of a message that was received.
func (l *clusterLink) count(kind channelKind, got result, err error) {
	l.line.counts.received[kind][got].Add(1)
	if err != nil {
		l.complain.Do(func() {
			l.line.opts.Logger.Warn("redisadapter: received a malformed message", slog.String("namespace", l.channels.namespace),
				slog.String("kind", kindNames[kind]), slog.Any("error", err))
		})
	}
}

// dispatch reads a message and hands it to the namespace, or to the request that waits for it.
func (l *clusterLink) dispatch(h heard) (result, error) {
	head, err := readCluster([]byte(h.payload))
	switch {
	case err != nil:
		return resultMalformed, err
	case head.namespace != l.channels.namespace:
		return resultNoMatch, nil
	case head.uid == l.line.uid:
		return resultOwn, nil
	}
	c, err := head.decode(l.line.opts.limits(), l.local.HasRoom)
	switch {
	case err != nil:
		return resultMalformed, err
	case c == nil:
		return resultNoMatch, nil
	case c.response != nil:
		if !l.line.ledger.Answer(cluster.Answer{Request: c.request, From: c.uid, Response: c.response, Ack: c.kind == clusterAck}) {
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
func (l *clusterLink) responder(to *clusterMessage) func(*adapter.Response) {
	var answered atomic.Bool
	return func(r *adapter.Response) {
		if r == nil || l.carrier.isClosed() {
			return
		}
		c := newClusterResponse(to, r, l.line.uid)
		if c.kind == clusterAck || !answered.Swap(true) {
			l.respond(to.uid, &c)
		}
	}
}

// respond publishes an answer. What cannot be sent is logged, and missing at the one who asked.
func (l *clusterLink) respond(uid string, c *clusterMessage) {
	o, err := l.carrier.encode(l.private(uid), kindResponse, c)
	if err == nil {
		err = l.line.reply(l.carrier.enqueue, o)
	}
	if err != nil {
		o.release()
	}
	if err != nil && !errors.Is(err, adapter.ErrClosed) {
		l.complain.Do(func() {
			l.line.opts.Logger.Error("redisadapter: cannot answer a request",
				slog.String("namespace", l.channels.namespace), slog.Any("error", err))
		})
	}
}

// audience are the channels by which the servers of the namespace are counted.
func (l *clusterLink) audience() audience {
	return audience{namespace: l.channels.namespace, request: l.channels.broadcast(), private: l.private, count: l.carrier.subscribers}
}

// Request sends m to all nodes of the namespace and hands their answers over.
func (l *clusterLink) Request(ctx context.Context, m *adapter.Message, response func(*adapter.Response)) error {
	if l.carrier.isClosed() {
		return fmt.Errorf("redisadapter: request: %w", adapter.ErrClosed)
	}
	m, err := forRequest(ctx, m)
	if err != nil {
		return err
	}
	c := newClusterMessage(m, l.line.uid, l.channels.namespace, newClusterID())
	return l.line.request(ctx, exchange{
		namespace: l.channels.namespace,
		audience:  l.audience(),
		id:        c.request,
		kind:      m.Kind,
		life:      l.requests,
		listening: l.carrier.hearsAnswers,
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
func (l *clusterLink) Nodes(ctx context.Context) ([]adapter.Node, error) {
	if l.carrier.isClosed() {
		return nil, fmt.Errorf("redisadapter: nodes: %w", adapter.ErrClosed)
	}
	return l.line.nodes(ctx, l.audience())
}
