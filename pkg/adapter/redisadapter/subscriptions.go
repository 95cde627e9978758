package redisadapter

import "sync"

// subscriptions is the table of the channels that are or should be subscribed. Whether a room's channel should be
// is never stored: it is asked anew each time a hint comes that it may have changed, because hints may come in the
// wrong order and the answer of HasRoom never does.
type subscriptions struct {
	wake chan struct{} // of capacity 1: something is to be judged

	mu        sync.Mutex
	table     map[string]*subscription
	hints     []*subscription // to be judged
	live      bool            // there is a connection
	confirmed int
}

// subscription is one channel.
type subscription struct {
	channel string
	link    *link
	room    string
	kind    channelKind

	// Guarded by subscriptions.mu.
	hinted      bool  // in hints
	judging     bool  // HasRoom is being asked
	subscribed  bool  // the last command that was sent is SUBSCRIBE
	unconfirmed int32 // commands without confirmation yet
	waiters     []chan struct{}
}

func newSubscriptions() *subscriptions {
	return &subscriptions{wake: make(chan struct{}, 1), table: map[string]*subscription{}}
}

// follow has a channel judged. With wait the returned channel is closed when the subscription is confirmed, not
// wanted any more or impossible for now; it is nil if there is nothing to wait for.
func (t *subscriptions) follow(l *link, room string, wait bool) <-chan struct{} {
	return t.add(l, l.channels.room(room), room, kindRoom, wait)
}

// followNamespace has the channel of a whole namespace subscribed.
func (t *subscriptions) followNamespace(l *link) {
	t.add(l, l.channels.broadcast(), "", kindBroadcast, false)
}

func (t *subscriptions) add(l *link, channel, room string, kind channelKind, wait bool) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.table[channel]
	if s == nil {
		s = &subscription{channel: channel, room: room, kind: kind}
		t.table[channel] = s
	}
	s.link = l
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

// reconsider has a channel judged that may not be wanted any more.
func (t *subscriptions) reconsider(channel string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.table[channel]; s != nil {
		t.hintLocked(s)
	}
}

// reconsiderLink has all channels of a link judged.
func (t *subscriptions) reconsiderLink(l *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.table {
		if s.link == l {
			t.hintLocked(s)
		}
	}
}

func (t *subscriptions) hintLocked(s *subscription) {
	if s.hinted {
		return
	}
	s.hinted = true
	t.hints = append(t.hints, s)
	if t.live {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// judge takes up to n hints and returns the channels to subscribe to and to unsubscribe from; more tells that
// hints are left. The caller must send both, or call disconnected.
func (t *subscriptions) judge(n int) (subscribe, unsubscribe []string, more bool) {
	t.mu.Lock()
	n = min(n, len(t.hints))
	batch := t.hints[:n:n]
	if t.hints = t.hints[n:]; len(t.hints) == 0 {
		t.hints = nil
	}
	links := make([]*link, n)
	for i, s := range batch {
		s.hinted, s.judging = false, true
		links[i] = s.link
	}
	t.mu.Unlock()

	wanted := make([]bool, n)
	for i, s := range batch {
		if s.kind == kindBroadcast {
			wanted[i] = !links[i].hasLeft()
		} else {
			wanted[i] = links[i].hasRoom(s.room)
		}
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
			subscribe = append(subscribe, s.channel)
		case !wanted[i] && s.subscribed:
			if s.unconfirmed == 0 {
				t.confirmed--
			}
			s.subscribed = false
			s.unconfirmed++
			unsubscribe = append(unsubscribe, s.channel)
		default:
			t.settleLocked(s)
		}
	}
	return subscribe, unsubscribe, len(t.hints) > 0
}

// confirm notes that Redis did what it was told last or before.
func (t *subscriptions) confirm(channel string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.table[channel]
	if s == nil || s.unconfirmed == 0 {
		return
	}
	s.unconfirmed--
	if s.subscribed && s.unconfirmed == 0 {
		t.confirmed++
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
	if !s.subscribed {
		delete(t.table, s.channel)
	}
}

func (t *subscriptions) releaseLocked(s *subscription) {
	for _, w := range s.waiters {
		close(w)
	}
	s.waiters = nil
}

// connected starts over on a new connection: every channel is judged.
func (t *subscriptions) connected() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live = true
	for _, s := range t.table {
		t.hintLocked(s)
	}
}

// disconnected forgets what the lost connection had, and releases all who wait.
func (t *subscriptions) disconnected() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live = false
	t.confirmed = 0
	for _, s := range t.table {
		s.subscribed, s.unconfirmed = false, 0
		t.releaseLocked(s)
	}
}

// find returns who follows a channel.
func (t *subscriptions) find(channel string) (l *link, room string, kind channelKind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.table[channel]; s != nil {
		return s.link, s.room, s.kind
	}
	return nil, "", kindRoom
}

// isConfirmed reports whether Redis sends us what is published on the channel.
func (t *subscriptions) isConfirmed(channel string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.table[channel]
	return s != nil && s.subscribed && s.unconfirmed == 0
}

func (t *subscriptions) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.confirmed
}
