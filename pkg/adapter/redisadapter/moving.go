package redisadapter

import (
	"context"
	"sync"
	"time"
)

// What a subscriber and a publisher do when the master that is in charge of a channel changes.

// nobody listens for channels that moved away, until the server has given them up.
type nobody struct{ counts *counters }

func (*nobody) wants(channelKind, string) bool { return false }

func (n *nobody) hear(h heard) { n.counts.received[h.kind][resultNoMatch].Add(1) }

// turns are the commands to subscribe and unsubscribe that the server has not answered, in the order in which they were
// sent: a refusal does not say which command it is for.
type turns struct {
	mu    sync.Mutex
	queue []turn
}

type turn struct {
	topic     topic
	subscribe bool
}

func (q *turns) reset() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = nil
}

func (q *turns) sent(t turn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = append(q.queue, t)
}

// answered ends the turn of t. It reports false if it is the turn of another command: a server tells of its own accord
// that it gave a channel up.
func (q *turns) answered(t turn) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 || q.queue[0] != t {
		return false
	}
	q.queue = q.queue[1:]
	return true
}

// refused ends the turn of the command that was refused.
func (q *turns) refused() (turn, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 {
		return turn{}, false
	}
	t := q.queue[0]
	q.queue = q.queue[1:]
	return t, true
}

// drop notes that the server gave a channel up of its own accord, as one does whose slot moves away: it is judged again.
// The answer to a command that is under way is still to come.
func (t *subscriptions) drop(topic topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.table[topic]; s != nil && s.subscribed && s.unconfirmed == 0 {
		s.subscribed = false
		t.confirmed[s.method]--
		if _, moved := s.listener.(*nobody); !moved {
			t.gap.begin(topic, time.Now())
		}
		t.hintLocked(s)
	}
}

// refuse notes that the server did not do what it was told about a channel, because another one is in charge. It
// returns how many times that happened without a success in between. The channel stays as it is until it is moved, or
// tried again.
func (t *subscriptions) refuse(topic topic) (refusals int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.table[topic]
	if s == nil || s.unconfirmed == 0 {
		return 0
	}
	s.refusals++
	if s.unconfirmed--; s.unconfirmed > 0 {
		return s.refusals
	}
	if s.subscribed {
		s.subscribed = false // who waits goes on waiting
	} else if !s.hinted && !s.judging {
		t.settleLocked(s)
	}
	return s.refusals
}

// retry has those channels judged that were refused.
func (t *subscriptions) retry() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.table {
		if !s.subscribed && s.unconfirmed == 0 {
			t.hintLocked(s)
		}
	}
}

// strays returns the topics whose channels are foreign.
func (t *subscriptions) strays(foreign func(channel string) bool) (list []topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for topic := range t.table {
		if foreign(topic.channel) {
			list = append(list, topic)
		}
	}
	return list
}

// surrender gives a channel away. It returns its listener and those who wait for it, and whether it was heard; the
// listener is nil if there is nothing to give. What the server still has of it is left to nobody.
func (t *subscriptions) surrender(topic topic, to *nobody) (l listener, i interest, waiters []chan struct{}, heard bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.table[topic]
	if s == nil || s.listener == listener(to) {
		return nil, i, nil, false
	}
	l, i, waiters = s.listener, s.interest, s.waiters
	heard = s.subscribed && s.unconfirmed == 0
	s.waiters = nil
	if t.live && (s.subscribed || s.unconfirmed > 0 || s.judging || s.hinted) {
		t.ownLocked(s, to)
		t.hintLocked(s)
	} else {
		t.disownLocked(s)
		delete(t.table, topic)
	}
	if _, own := l.(*probe); own { // it belongs to the connection
		t.gap.end(topic)
		return nil, i, nil, false
	}
	return l, i, waiters, heard
}

// adopt follows a channel that was surrendered elsewhere, with those who wait for it.
func (t *subscriptions) adopt(l listener, i interest, waiters []chan struct{}) {
	confirmed := t.follow(l, i, len(waiters) > 0)
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.table[i.topic()]; s != nil && confirmed != nil && len(s.waiters) > 0 {
		s.waiters = append(s.waiters, waiters...)
		return
	}
	for _, w := range waiters { // there is nothing to wait for, or no connection
		close(w)
	}
}

// movingGap measures how long channels cannot be heard because they move. The nil value measures nothing.
type movingGap struct {
	ended chan struct{} // of capacity 1: there is something to take

	mu    sync.Mutex
	since time.Time
	open  map[topic]struct{}
	last  time.Duration // of a gap that ended and was not taken
	over  bool
}

// begin notes that a channel cannot be heard.
func (g *movingGap) begin(t topic, since time.Time) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.open) == 0 {
		g.open, g.since = map[topic]struct{}{}, since
	}
	if since.Before(g.since) {
		g.since = since
	}
	g.open[t] = struct{}{}
}

// end notes that a channel is heard again, or wanted no more.
func (g *movingGap) end(t topic) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.open[t]; !ok {
		return
	}
	if delete(g.open, t); len(g.open) > 0 {
		return
	}
	g.last, g.over = max(g.last, time.Since(g.since)), true
	select {
	case g.ended <- struct{}{}:
	default:
	}
}

// take returns how long the gap was that ended last, once.
func (g *movingGap) take() (time.Duration, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	d, ok := g.last, g.over
	g.last, g.over = 0, false
	return d, ok
}

// withdrawLocked takes the messages out of the queue that match.
func (p *publisher) withdrawLocked(match func(*outgoing) bool) (out []outgoing) {
	kept := p.queue[:0:0]
	for i := range p.queue {
		if match(&p.queue[i]) {
			p.bytes -= len(*p.queue[i].payload)
			out = append(out, p.queue[i])
		} else {
			kept = append(kept, p.queue[i])
		}
	}
	if len(out) > 0 {
		p.queue = kept
		p.makeSpaceLocked()
	}
	return out
}

// insertLocked adds a message that waited elsewhere. It comes before those that were queued here already, as they are
// newer, after mergeLocked.
func (p *publisher) insertLocked(o outgoing) {
	p.moved = append(p.moved, o)
	p.bytes += len(*o.payload)
}

// mergeLocked puts what was inserted in front of the queue.
func (p *publisher) mergeLocked() {
	if len(p.moved) > 0 {
		p.queue, p.moved = append(p.moved, p.queue...), nil
		p.idle = false
	}
}

// land notes that it is settled what became of the group that was under way: what was refused waits elsewhere.
func (p *publisher) land() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flying != nil {
		close(p.flying)
		p.flying = nil
	}
}

// queueBehindLocked has p send nothing before it is settled what becomes of the group that is under way from another
// publisher: what is refused there goes in front of what is newer. Both are locked.
func (p *publisher) queueBehindLocked(other *publisher) {
	if other.flying != nil {
		p.behind = append(p.behind, other.flying)
	}
}

// await waits for all of list, at most until ctx ends or as long as an answer of Redis may take.
func (p *publisher) await(ctx context.Context, list []<-chan struct{}) {
	limit := time.NewTimer(p.opts.Watchdog)
	defer limit.Stop()
	for _, settled := range list {
		select {
		case <-settled:
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
