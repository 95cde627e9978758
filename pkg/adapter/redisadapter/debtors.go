package redisadapter

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/internal/cluster"
	"example.com/chorus/pkg/adapter"
)

// subscriberCount returns how many subscribers each channel has. With an error there are counts nevertheless if some
// servers of a cluster answered.
type subscriberCount func(ctx context.Context, channels []string) (map[string]int64, error)

// audience are the channels by whose subscribers the nodes of one namespace are known.
type audience struct {
	namespace string
	request   string                 // to which every server subscribes
	private   func(id string) string // to which only one does
	count     subscriberCount        // of these channels
}

// countSubscribers asks with PUBSUB NUMSUB. In a cluster of Redis each server knows only its own subscribers.
func countSubscribers(rdb redis.UniversalClient) subscriberCount {
	return func(ctx context.Context, channels []string) (map[string]int64, error) {
		c, ok := rdb.(*redis.ClusterClient)
		if !ok {
			return rdb.PubSubNumSub(ctx, channels...).Result()
		}
		var mu sync.Mutex
		sum := make(map[string]int64, len(channels))
		err := c.ForEachShard(ctx, func(ctx context.Context, shard *redis.Client) error {
			counts, err := shard.PubSubNumSub(ctx, channels...).Result()
			mu.Lock()
			defer mu.Unlock()
			for channel, n := range counts {
				sum[channel] += n
			}
			return err
		})
		return sum, err
	}
}

// present are the nodes that take part in a namespace.
type present struct {
	named   []adapter.Node // the others that are alive
	lost    []adapter.Node // others whose subscriptions are still there
	unnamed int            // subscribers that no known node accounts for
}

// settleTime is how long subscribers that were not seen before have to say who they are.
const settleTime = 100 * time.Millisecond

// survey finds out who takes part in a namespace, in one round trip. Only when there are more subscribers without a name
// than before, all are asked to say theirs: one may be a node that has just come.
func (l *line) survey(ctx context.Context, a audience) (present, error) {
	changed := l.membership.nextChange()
	p, err := l.count(ctx, a)
	if err != nil {
		return p, err
	}
	known := l.knownUnnamed(a.request)
	if p.unnamed <= known {
		if p.unnamed < known {
			l.rememberUnnamed(a, p.unnamed)
		}
		return p, nil
	}
	l.membership.hello()
	patience := time.NewTimer(settleTime)
	defer patience.Stop()
	for p.unnamed > 0 {
		select {
		case <-changed:
			changed = l.membership.nextChange()
			if p, err = l.count(ctx, a); err != nil {
				return p, err
			}
			continue
		case <-patience.C:
		case <-ctx.Done():
			return p, context.Cause(ctx)
		}
		break
	}
	l.rememberUnnamed(a, p.unnamed)
	return p, nil
}

func (l *line) knownUnnamed(channel string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unnamed[channel]
}

func (l *line) rememberUnnamed(a audience, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, joined := l.links[a.namespace]; !joined || n == 0 {
		delete(l.unnamed, a.request)
		return
	}
	l.unnamed[a.request] = n
}

// count counts once.
func (l *line) count(ctx context.Context, a audience) (present, error) {
	alive, lapsed := l.membership.members.Alive(), l.membership.members.Lapsed()
	channels := make([]string, 0, 2+len(alive)+len(lapsed))
	channels = append(channels, a.request, a.private(l.uid))
	for _, n := range alive {
		channels = append(channels, a.private(n.ID))
	}
	for _, n := range lapsed {
		channels = append(channels, a.private(n.ID))
	}
	counts, err := a.count(ctx, channels)
	if err != nil {
		l.counts.publishError(errorKind(err), 1)
		if len(counts) == 0 || ctx.Err() != nil {
			return present{}, fmt.Errorf("count subscribers: %w", err)
		}
	}
	p := present{unnamed: int(counts[a.request])}
	if counts[a.private(l.uid)] > 0 {
		p.unnamed--
	}
	for _, n := range alive {
		counted := counts[a.private(n.ID)] > 0
		if counted {
			p.unnamed--
		}
		if counted || err != nil { // one may listen at a server that did not answer
			p.named = append(p.named, n)
		}
	}
	for _, n := range lapsed { // Redis has not noticed yet
		if counts[a.private(n.ID)] > 0 {
			p.lost = append(p.lost, n)
			p.unnamed--
		}
	}
	p.unnamed = max(p.unnamed, 0)
	return p, nil
}

// forgetLapsed forgets lost nodes whose connection is gone from Redis too. It asks, so it may wait.
func (l *line) forgetLapsed(ctx context.Context) {
	lapsed := l.membership.members.Lapsed()
	if len(lapsed) == 0 {
		return
	}
	channels := make([]string, len(lapsed))
	for i, n := range lapsed {
		channels[i] = memberChannel(n.ID)
	}
	counts, err := countSubscribers(l.counting)(ctx, channels)
	if err != nil {
		return // nothing hangs on it: the next time may work
	}
	for i, n := range lapsed {
		if counts[channels[i]] == 0 {
			l.membership.members.Gone(n.ID)
		}
	}
}

// exchange is one request and what is needed to carry it out.
type exchange struct {
	namespace string
	audience  audience
	id        string
	kind      adapter.Kind
	life      context.Context // of the link, with which its requests end
	// listening tells that answers would be heard.
	listening func() bool
	// send publishes the request.
	send func(ctx context.Context) error
}

// certain tells that every server answers. A server-side emit is answered by the application, if it likes: from its
// silence nothing follows for the next time.
func (x *exchange) certain() bool { return x.kind != adapter.ServerSideEmit }

// nodes returns the nodes of an audience, this one first.
func (l *line) nodes(ctx context.Context, a audience) ([]adapter.Node, error) {
	p, err := l.survey(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("redisadapter: nodes: %w", err)
	}
	nodes := append([]adapter.Node{l.membership.self()}, p.named...)
	return append(nodes, make([]adapter.Node, p.unnamed)...), nil
}

// forRequest returns m as it is asked: it says how long the sender waits.
func forRequest(ctx context.Context, m *adapter.Message) (*adapter.Message, error) {
	switch m.Kind {
	case adapter.Broadcast, adapter.ServerSideEmit, adapter.Fetch, adapter.Count:
	default:
		return nil, fmt.Errorf("redisadapter: request: %w: kind %d is for Publish", ErrInvalidData, m.Kind)
	}
	if deadline, ok := ctx.Deadline(); ok && m.Timeout == 0 {
		asked := *m
		asked.Timeout = max(time.Until(deadline), 0)
		m = &asked
	}
	return m, nil
}

// silenceCounts is how long unnamed subscribers must have been silent, at least, to be taken for those that never answer.
const silenceCounts = time.Second

// request carries out an exchange, at most until ctx ends.
func (l *line) request(ctx context.Context, x exchange, response func(*adapter.Response)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.life, func() { cancel(adapter.ErrClosed) })()
	defer context.AfterFunc(x.life, func() { cancel(context.Cause(x.life)) })()
	err := l.exchange(ctx, x, response)
	switch silent := (*adapter.SilentNodesError)(nil); {
	case err == nil:
		l.counts.request("complete")
		return nil
	case asSilent(err, &silent):
		l.counts.request("incomplete")
	default:
		l.counts.request("failed")
	}
	return fmt.Errorf("redisadapter: request: %w", err)
}

func (l *line) exchange(ctx context.Context, x exchange, response func(*adapter.Response)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !x.listening() {
		return fmt.Errorf("%w: answers would not be heard", ErrUnavailable)
	}
	select {
	case l.asking <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	p, err := l.survey(ctx, x.audience)
	<-l.asking
	if err != nil {
		return err
	}
	expected := l.patience.Expect(x.namespace, p.unnamed)
	if len(p.named) == 0 && p.unnamed == 0 {
		return nil
	}
	l.awaited.add(x.id, x.kind)
	defer l.awaited.remove(x.id)
	start := time.Now()
	due := cluster.Debtors{Named: p.named, Lost: p.lost, Unnamed: expected, Acks: x.kind == adapter.Broadcast}
	err = l.ledger.Run(ctx, x.id, due, l.opts.RequestTimeout, func() error {
		if err := x.send(ctx); err != nil {
			return err
		}
		for _, n := range p.named { // one may have left since it was counted
			if !l.membership.members.Has(n.ID) {
				l.ledger.Left(n.ID, false)
			}
		}
		return nil
	}, response)
	silent := (*adapter.SilentNodesError)(nil)
	switch {
	case err == nil && x.certain() && expected > 0:
		l.patience.Note(x.namespace, p.unnamed, expected, 0)
	case asSilent(err, &silent) && x.certain() && time.Since(start) >= silenceCounts:
		l.patience.Note(x.namespace, p.unnamed, expected, silent.Unnamed)
	}
	return err
}

// awaited are the requests whose answers are awaited, by their ids, and of which kind they are.
type awaited struct {
	mu    sync.Mutex
	kinds map[string]adapter.Kind
}

func (a *awaited) add(id string, kind adapter.Kind) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kinds == nil {
		a.kinds = make(map[string]adapter.Kind)
	}
	a.kinds[id] = kind
}

func (a *awaited) remove(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.kinds, id)
}

func (a *awaited) kind(id string) (adapter.Kind, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	kind, ok := a.kinds[id]
	return kind, ok
}
