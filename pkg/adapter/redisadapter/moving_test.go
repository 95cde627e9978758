package redisadapter

import (
	"errors"
	"testing"
	"time"
)

func TestSlotOf(t *testing.T) {
	for channel, want := range map[string]int{ // as CLUSTER KEYSLOT of Redis 7.0 says
		"123456789":       12739,
		"":                0,
		"socket.io#/#":    13868,
		"{user1000}.a":    3443,
		"{user1000}.b":    3443,
		"a{}{user1000}":   slotOfWhole("a{}{user1000}"),
		"a{{user1000}}":   slotOfWhole("{user1000"),
		"a{user1000}{b}c": 3443,
		"a{unclosed":      slotOfWhole("a{unclosed"),
	} {
		if got := slotOf(channel); got != want {
			t.Errorf("slotOf(%q) = %d, want %d", channel, got, want)
		}
	}
}

// slotOfWhole is the slot of a text that is hashed as it is.
func slotOfWhole(text string) int {
	var crc uint16
	for i := range len(text) {
		crc ^= uint16(text[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc % slotCount)
}

func TestTurns(t *testing.T) {
	var q turns
	a, b := topic{channel: "a"}, topic{channel: "b"}
	q.sent(turn{a, true})
	q.sent(turn{b, false})
	if q.answered(turn{a, false}) {
		t.Error("a channel that the server gave up was taken for the answer to a subscription")
	}
	if q.answered(turn{b, false}) {
		t.Error("an answer was taken out of turn")
	}
	if got, ok := q.refused(); !ok || got != (turn{a, true}) {
		t.Errorf("refused = %v, %v, want the subscription of a", got, ok)
	}
	if !q.answered(turn{b, false}) {
		t.Error("the answer in turn was not taken")
	}
	if _, ok := q.refused(); ok {
		t.Error("a refusal of nothing")
	}
	q.sent(turn{a, true})
	q.reset()
	if _, ok := q.refused(); ok {
		t.Error("a command of the former connection was refused")
	}
}

func TestMovingGap(t *testing.T) {
	g := movingGap{ended: make(chan struct{}, 1)}
	a, b := topic{channel: "a"}, topic{channel: "b"}
	g.begin(a, time.Now().Add(-time.Second))
	g.begin(b, time.Now().Add(-3*time.Second))
	g.end(topic{channel: "another"})
	g.end(a)
	if _, ok := g.take(); ok {
		t.Error("a gap ended although a channel cannot be heard")
	}
	g.end(b)
	select {
	case <-g.ended:
	default:
		t.Error("the end was not told")
	}
	if d, ok := g.take(); !ok || d < 3*time.Second || d > 4*time.Second {
		t.Errorf("gap of %v, %v, want 3 s: since the first channel was lost", d, ok)
	}
	if _, ok := g.take(); ok {
		t.Error("a gap was taken twice")
	}
	(*movingGap)(nil).begin(a, time.Now())
	(*movingGap)(nil).end(a)
}

// wanting is a listener that wants everything, and counts.
type wanting struct{ heard int }

func (w *wanting) wants(channelKind, string) bool { return true }
func (w *wanting) hear(heard)                     { w.heard++ }

// TestRefusedAndMoved: a channel that a server refuses goes on to another with those who wait for it.
func TestRefusedAndMoved(t *testing.T) {
	from, to := newSubscriptions(), newSubscriptions()
	from.connected()
	to.connected()
	w := new(wanting)
	i := interest{channel: "c", method: sharded, kind: kindRoom, room: "r"}
	done := from.follow(w, i, true)
	if o, _ := from.judge(10); len(o.subscribe[sharded]) != 1 {
		t.Fatalf("orders %v, want a subscription", o)
	}
	if n := from.refuse(i.topic()); n != 1 {
		t.Errorf("%d refusals, want 1", n)
	}
	if isClosed(done) {
		t.Fatal("who waits was released by the refusal")
	}
	if list := from.strays(func(string) bool { return true }); len(list) != 1 {
		t.Fatalf("strays %v, want one", list)
	}
	l, moved, waiters, wasHeard := from.surrender(i.topic(), &nobody{newCounters()})
	if l != listener(w) || moved != i || len(waiters) != 1 || wasHeard {
		t.Fatalf("surrendered %v, %v, %d waiters, heard %v", l, moved, len(waiters), wasHeard)
	}
	to.adopt(l, moved, waiters)
	if o, _ := to.judge(10); len(o.subscribe[sharded]) != 1 {
		t.Fatalf("orders %v, want a subscription", o)
	}
	to.confirm(i.topic(), true)
	if !isClosed(done) {
		t.Error("who waits was not released by the confirmation")
	}
	if l, _, _ := to.find(i.topic()); l != listener(w) {
		t.Errorf("found %v, want the listener", l)
	}
	if l, _, _ := from.find(i.topic()); l != nil {
		t.Errorf("found %v where it was refused, want none", l)
	}
}

// TestSurrenderHeard: what a server still has of a channel that moved is given up, and heard by nobody.
func TestSurrenderHeard(t *testing.T) {
	from := newSubscriptions()
	from.connected()
	w := new(wanting)
	i := interest{channel: "c", method: sharded, kind: kindRoom, room: "r"}
	from.follow(w, i, false)
	from.judge(10)
	from.confirm(i.topic(), true)
	gone := &nobody{newCounters()}
	if _, _, _, wasHeard := from.surrender(i.topic(), gone); !wasHeard {
		t.Error("surrendered as not heard")
	}
	l, _, _ := from.find(i.topic())
	l.hear(heard{channel: "c"})
	if l != listener(gone) || w.heard > 0 {
		t.Errorf("heard %d times after the surrender, by %T", w.heard, l)
	}
	if o, _ := from.judge(10); len(o.unsubscribe[sharded]) != 1 {
		t.Errorf("orders %v, want the end of the subscription", o)
	}
	from.confirm(i.topic(), false)
	if l, _, _ := from.find(i.topic()); l != nil {
		t.Errorf("found %v, want none", l)
	}
}

func TestReachable(t *testing.T) {
	for _, test := range []struct{ addr, origin, want string }{
		{"10.0.0.1:7000", "10.0.0.2:7001", "10.0.0.1:7000"},
		{":7000", "10.0.0.2:7001", "10.0.0.2:7000"},
		{"?:7000", "redis:7001", "redis:7000"},
		{"127.0.0.1:7000", "redis.example:7001", "redis.example:7000"},
		{"127.0.0.1:7000", "localhost:7001", "127.0.0.1:7000"},
		{"[::1]:7000", "[2001:db8::1]:7001", "[2001:db8::1]:7000"},
		{"no address", "redis:7001", "no address"},
	} {
		if got := reachable(test.addr, test.origin); got != test.want {
			t.Errorf("reachable(%q, %q) = %q, want %q", test.addr, test.origin, got, test.want)
		}
	}
}

func TestMovedSlot(t *testing.T) {
	for text, want := range map[string]int{
		"MOVED 3999 127.0.0.1:6381":        3999,
		"a: MOVED 1 h:1":                   1,
		"MOVED":                            -1,
		"MOVED x h:1":                      -1,
		"CLUSTERDOWN Hash slot not served": -1,
	} {
		if got := movedSlot(errors.New(text)); got != want {
			t.Errorf("movedSlot(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestIsSocketID(t *testing.T) {
	for room, want := range map[string]bool{
		"AAAAAAAAAAAAAAAQAAAA": true, "AAAAAAAAAAAAAAAQAAA": false, "AAAAAAAAAAAAAAAQAAAAA": false, "": false,
		"üüüüüüüüüüüüüüüüüüüü": true, "🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉": true, "🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉a": false, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff": true,
	} {
		if got := isSocketID(room); got != want {
			t.Errorf("isSocketID(%q) = %v, want %v", room, got, want)
		}
	}
}
