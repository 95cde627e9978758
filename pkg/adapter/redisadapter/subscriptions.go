package redisadapter

import "sync"

// method is how a channel is subscribed.
type method uint8

const (
	exact   method = iota // SUBSCRIBE
	pattern               // PSUBSCRIBE: the channel is a pattern
	sharded               // SSUBSCRIBE
	methods
)

var methodNames = [methods]string{"channel", "pattern", "sharded"} // as in adapter.Stats.Subscriptions

// listener is who follows channels.
type listener interface {
	// wants reports whether a channel should be subscribed. It is asked anew each time a hint comes that the answer may
	// have changed, without a lock, and must not wait.
	wants(kind channelKind, room string) bool
	// hear takes what was published. It may wait, which stops the reading.
	hear(h heard)
}

// heard is a message as it was received.
type heard struct {
	channel string // on which it was published
	kind    channelKind
	room    string // for which the channel was subscribed
	payload string
}

// interest is a channel and why it should be subscribed.
type interest struct {
	channel string
	method  method
	kind    channelKind
	room    string // of a channel of kindRoom
}

// topic tells channels and patterns of the same text apart.
type topic struct {
	channel string
	pattern bool
}

func (i interest) topic() topic { return topic{i.channel, i.method == pattern} }

// subscriptions is the table of the channels that are or should be subscribed. Whether one should be is never stored:
// it is asked anew each time a hint comes that it may have changed, because hints may come in the wrong order and
// the answer of HasRoom never does.
type subscriptions struct {
	wake chan struct{} // of capacity 1: something is to be judged

	mu        sync.Mutex
	table     map[topic]*subscription
	owned     map[listener]*subscription // the first of each listener
	hints     []*subscription            // to be judged
	live      bool                       // there is a connection
	gap       *movingGap                 // of channels that move between the servers of a cluster, else nil
	confirmed [methods]int
}

// subscription is one channel.
type subscription struct {
	interest

	// Guarded by subscriptions.mu.
	listener       listener
	previous, next *subscription // of the same listener
	hinted         bool          // in hints
	judging        bool          // the listener is being asked
	subscribed     bool          // the last command that was sent is to subscribe
	unconfirmed    int32         // commands without confirmation yet
	refusals       int           // since it was confirmed last
	waiters        []chan struct{}
}

// orders are the commands that follow from a judgement, by method.
type orders struct{ subscribe, unsubscribe [methods][]string }

func newSubscriptions() *subscriptions {
	return &subscriptions{
		wake: make(chan struct{}, 1), table: map[topic]*subscription{}, owned: map[listener]*subscription{},
	}
}

// follow has a channel judged. With wait the returned channel is closed when the subscription is confirmed, not
// wanted any more or impossible for now; it is nil if there is nothing to wait for.
func (t *subscriptions) follow(l listener, i interest, wait bool) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.table[i.topic()]
	if s == nil {
		s = &subscription{interest: i}
		t.table[i.topic()] = s
	}
	t.ownLocked(s, l)
	if s.subscribed && s.unconfirmed == 0 && !s.hinted && !s.judging {
		return nil
	}
	t.hintLocked(s)
	if !wait || !t.live {
		return nil
	}
	done := make(chan struct{})
	s.waiters = append(s.waiters, done)
	return done
}

// ownLocked makes l the listener of s; a namespace that is joined again takes over what its former link followed.
func (t *subscriptions) ownLocked(s *subscription, l listener) {
	if s.listener == l {
		return
	}
	t.disownLocked(s)
	s.listener, s.next = l, t.owned[l]
	if s.next != nil {
		s.next.previous = s
	}
	t.owned[l] = s
}

func (t *subscriptions) disownLocked(s *subscription) {
	if s.next != nil {
		s.next.previous = s.previous
	}
	switch {
	case s.previous != nil:
		s.previous.next = s.next
	case s.next != nil:
		t.owned[s.listener] = s.next
	default:
		delete(t.owned, s.listener)
	}
	s.previous, s.next = nil, nil
}

// reconsider has a channel judged that may not be wanted any more.
func (t *subscriptions) reconsider(i interest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.table[i.topic()]; s != nil {
		t.hintLocked(s)
	}
}

// dismiss gives up all channels of a listener that wants none any more.
func (t *subscriptions) dismiss(l listener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live {
		for s := t.owned[l]; s != nil; s = s.next {
			t.hintLocked(s)
		}
		return
	}
	for s := t.owned[l]; s != nil; {
		next := s.next
		t.disownLocked(s)
		delete(t.table, s.topic())
		t.gap.end(s.topic())
		s = next
	}
}

// hintLocked does nothing without a connection: the next one judges everything.
func (t *subscriptions) hintLocked(s *subscription) {
	if s.hinted || !t.live {
		return
	}
	s.hinted = true
	t.hints = append(t.hints, s)
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// judge takes up to n hints and returns what is to be subscribed and unsubscribed; more tells that hints are left.
// The caller must send all of it, or call disconnected.
func (t *subscriptions) judge(n int) (o orders, more bool) {
	t.mu.Lock()
	n = min(n, len(t.hints))
	batch := t.hints[:n:n]
	if t.hints = t.hints[n:]; len(t.hints) == 0 {
		t.hints = nil
	}
	listeners := make([]listener, n)
	for i, s := range batch {
		s.hinted, s.judging = false, true
		listeners[i] = s.listener
	}
	t.mu.Unlock()

	wanted := make([]bool, n)
	for i, s := range batch {
		wanted[i] = listeners[i].wants(s.kind, s.room)
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	for i, s := range batch {
		s.judging = false
		switch {
		case s.hinted: // the answer may be old already: the next one counts
		case wanted[i] && !s.subscribed:
			s.subscribed = true
			s.unconfirmed++
			o.subscribe[s.method] = append(o.subscribe[s.method], s.channel)
		case !wanted[i] && s.subscribed:
			if s.unconfirmed == 0 {
				t.confirmed[s.method]--
			}
			s.subscribed = false
			s.unconfirmed++
			o.unsubscribe[s.method] = append(o.unsubscribe[s.method], s.channel)
		default:
			t.settleLocked(s)
		}
	}
	return o, len(t.hints) > 0
}

// confirm notes that Redis did what it was told last or before. One that nobody asked for gave a channel up.
func (t *subscriptions) confirm(topic topic, subscribed bool) {
	t.mu.Lock()
	s := t.table[topic]
	if s == nil || s.unconfirmed == 0 {
		t.mu.Unlock()
		if !subscribed {
			t.drop(topic)
		}
		return
	}
	defer t.mu.Unlock()
	s.unconfirmed--
	if s.subscribed && s.unconfirmed == 0 {
		t.confirmed[s.method]++
		s.refusals = 0
	}
	if !s.hinted && !s.judging {
		t.settleLocked(s)
	}
}

// settleLocked releases those who wait for a channel about which nothing is under way, and forgets it if nobody
// wants it.
func (t *subscriptions) settleLocked(s *subscription) {
	if s.unconfirmed > 0 {
		return
	}
	t.releaseLocked(s)
	if _, moved := s.listener.(*nobody); !moved {
		t.gap.end(s.topic())
	}
	if !s.subscribed && t.table[s.topic()] == s {
		t.disownLocked(s)
		delete(t.table, s.topic())
	}
}

func (t *subscriptions) releaseLocked(s *subscription) {
	for _, w := range s.waiters {
		close(w)
	}
	s.waiters = nil
}

// connected starts over on a new connection: every channel is judged, those of single rooms, of which there are many,
// last.
func (t *subscriptions) connected() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live = true
	for _, rooms := range [...]bool{false, true} {
		for _, s := range t.table {
			if (s.kind == kindRoom) == rooms {
				t.hintLocked(s)
			}
		}
	}
}

// disconnected forgets what the lost connection had, and releases all who wait.
func (t *subscriptions) disconnected() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live = false
	t.confirmed = [methods]int{}
	t.hints = nil
	for _, s := range t.table {
		s.hinted = false
		s.subscribed, s.unconfirmed = false, 0
		t.releaseLocked(s)
	}
}

// find returns who follows a channel or pattern, and why.
func (t *subscriptions) find(topic topic) (l listener, kind channelKind, room string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.table[topic]; s != nil {
		return s.listener, s.kind, s.room
	}
	return nil, kindRoom, ""
}

// isConfirmed reports whether Redis sends us what is published on the channel.
func (t *subscriptions) isConfirmed(i interest) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.table[i.topic()]
	return s != nil && s.subscribed && s.unconfirmed == 0
}

// tally returns how many channels are confirmed, by method; none has no key.
func (t *subscriptions) tally() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	counts := map[string]int{}
	for m, n := range t.confirmed {
		if n > 0 {
			counts[methodNames[m]] = n
		}
	}
	return counts
}
