package redisadapter

import (
	"slices"
	"testing"

	"example.com/chorus/pkg/adapter"
)

// askedLocal calls asked while it is asked for a room.
type askedLocal struct {
	member bool
	asked  func()
}

func (l *askedLocal) Deliver(*adapter.Message)                         {}
func (l *askedLocal) Answer(*adapter.Message, func(*adapter.Response)) {}
func (l *askedLocal) HasRoom(string) bool {
	member := l.member
	if asked := l.asked; asked != nil {
		l.asked = nil
		asked()
	}
	return member
}

// judge returns the channels to subscribe to and to unsubscribe from exactly.
func judge(t *subscriptions) (subscribe, unsubscribe []string, more bool) {
	o, more := t.judge(10)
	return o.subscribe[exact], o.unsubscribe[exact], more
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestFollowWhileJudging lets a room get a member after its emptiness was seen and before the channel is given up:
// nothing may be given up, and who follows must not be told that all is well before that is decided.
func TestFollowWhileJudging(t *testing.T) {
	local := &askedLocal{member: true}
	l := newLink(&line{}, channels{prefix: "p", namespace: "/"}, local)
	table := newSubscriptions()
	table.connected()
	room := l.roomInterest("r")
	channel := room.channel

	first := table.follow(l, room, true)
	if add, remove, _ := judge(table); !slices.Equal(add, []string{channel}) || remove != nil {
		t.Fatalf("judge = %q, %q, want to subscribe to %s", add, remove, channel)
	}
	if isClosed(first) {
		t.Error("follow is over before the confirmation")
	}
	table.confirm(topic{channel: channel}, true)
	if !isClosed(first) || !table.isConfirmed(room) {
		t.Error("follow is not over after the confirmation")
	}
	if again := table.follow(l, room, true); again != nil {
		t.Error("following a confirmed channel waits")
	}

	local.member = false
	table.reconsider(room)
	var second <-chan struct{}
	local.asked = func() {
		local.member = true
		second = table.follow(l, room, true)
	}
	add, remove, more := judge(table)
	if add != nil || remove != nil || !more {
		t.Errorf("judge = %q, %q, %v, want nothing yet and more to come", add, remove, more)
	}
	if second == nil || isClosed(second) {
		t.Error("follow does not wait for the judgement under way")
	}
	if add, remove, more := judge(table); add != nil || remove != nil || more || !isClosed(second) {
		t.Errorf("judge = %q, %q, %v, want the channel to stay", add, remove, more)
	}
}

// TestCommandsUnderWay follows, leaves and follows a room again before Redis has confirmed anything.
func TestCommandsUnderWay(t *testing.T) {
	local := &askedLocal{member: true}
	l := newLink(&line{}, channels{prefix: "p", namespace: "/"}, local)
	table := newSubscriptions()
	table.connected()
	room := l.roomInterest("r")
	channel := room.channel

	table.follow(l, room, false)
	judge(table)
	local.member = false
	table.reconsider(room)
	if _, remove, _ := judge(table); !slices.Equal(remove, []string{channel}) {
		t.Fatalf("judge unsubscribes from %q, want %s", remove, channel)
	}
	local.member = true
	done := table.follow(l, room, true)
	if add, _, _ := judge(table); !slices.Equal(add, []string{channel}) {
		t.Fatalf("judge subscribes to %q, want %s", add, channel)
	}
	for i := range 3 { // subscribe, unsubscribe, subscribe
		if isClosed(done) || table.confirmed[exact] != 0 {
			t.Fatalf("the channel counts as confirmed after %d of 3 confirmations", i)
		}
		table.confirm(topic{channel: channel}, i != 1)
	}
	if !isClosed(done) || table.confirmed[exact] != 1 {
		t.Error("the channel does not count as confirmed after all confirmations")
	}

	local.member = false
	table.reconsider(room)
	judge(table)
	table.confirm(topic{channel: channel}, false)
	if len(table.table) != 0 || len(table.owned) != 0 || table.confirmed[exact] != 0 {
		t.Errorf("%d channels are kept after the last was given up", len(table.table))
	}

	local.member = true
	waiting := table.follow(l, room, true)
	judge(table)
	table.disconnected()
	if !isClosed(waiting) {
		t.Error("follow waits for a connection that is lost")
	}
	if w := table.follow(l, room, true); w != nil {
		t.Error("follow waits without a connection")
	}
	table.connected()
	if add, _, _ := judge(table); !slices.Equal(add, []string{channel}) {
		t.Errorf("judge on a new connection subscribes to %q, want %s", add, channel)
	}
}

// TestUnsubscribedByServer follows a channel again that the server gave up by itself.
func TestUnsubscribedByServer(t *testing.T) {
	l := newLink(&line{}, channels{prefix: "p", namespace: "/"}, &askedLocal{member: true})
	table := newSubscriptions()
	table.connected()
	room := interest{channel: "c", method: sharded, kind: kindRoom, room: "r"}
	table.follow(l, room, false)
	for range 2 {
		if o, _ := table.judge(10); !slices.Equal(o.subscribe[sharded], []string{"c"}) {
			t.Fatalf("judge = %+v, want to subscribe to c", o)
		}
		table.confirm(room.topic(), true)
		if n := table.tally()["sharded"]; n != 1 {
			t.Errorf("%d channels are confirmed, want 1", n)
		}
		table.confirm(room.topic(), false)
		if n := table.tally()["sharded"]; n != 0 {
			t.Errorf("%d channels are confirmed after the server gave one up, want none", n)
		}
	}
}

// TestDismiss gives up the channels of one listener, with a connection and without.
func TestDismiss(t *testing.T) {
	table := newSubscriptions()
	stays := newLink(&line{}, channels{prefix: "p", namespace: "/stays"}, &askedLocal{member: true})
	goes := newLink(&line{}, channels{prefix: "p", namespace: "/goes"}, &askedLocal{member: true})
	for _, live := range []bool{false, true} {
		if live {
			table.connected()
		}
		for _, l := range []*link{stays, goes} {
			for _, r := range []string{"a", "b", "c"} {
				table.follow(l, l.roomInterest(r), false)
			}
		}
		if live {
			judge(table)
			for topic := range table.table {
				table.confirm(topic, true)
			}
			goes.inbound.shut()
		}
		table.dismiss(goes)
		if live {
			if _, remove, _ := judge(table); len(remove) != 3 {
				t.Errorf("judge unsubscribes from %q, want the 3 channels of the link that left", remove)
			}
			for _, r := range []string{"a", "b", "c"} {
				table.confirm(goes.roomInterest(r).topic(), false)
			}
		}
		if len(table.table) != 3 || len(table.owned) != 1 || table.owned[stays] == nil {
			t.Errorf("live %v: %d channels of %d listeners are kept, want 3 of 1", live, len(table.table), len(table.owned))
		}
	}
}

// TestNamespaceFirst: a new connection hears the namespaces before the rooms.
func TestNamespaceFirst(t *testing.T) {
	l := newLink(&line{}, channels{prefix: "p", namespace: "/"}, &askedLocal{member: true})
	table := newSubscriptions()
	for _, r := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		table.follow(l, l.roomInterest(r), false)
	}
	for _, i := range l.essential() {
		table.follow(l, i, false)
	}
	table.connected()
	o, more := table.judge(len(l.essential()))
	for _, i := range l.essential() {
		if !more || !slices.Contains(o.subscribe[exact], i.channel) {
			t.Errorf("judge = %q first, want %s among them", o.subscribe[exact], i.channel)
		}
	}
}
