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
	l := newLink(&pubSub{}, channels{prefix: "p", namespace: "/"}, local)
	table := newSubscriptions()
	table.connected()
	channel := l.channels.room("r")

	first := table.follow(l, "r", true)
	if add, remove, _ := table.judge(10); !slices.Equal(add, []string{channel}) || remove != nil {
		t.Fatalf("judge = %q, %q, want to subscribe to %s", add, remove, channel)
	}
	if isClosed(first) {
		t.Error("follow is over before the confirmation")
	}
	table.confirm(channel)
	if !isClosed(first) || !table.isConfirmed(channel) {
		t.Error("follow is not over after the confirmation")
	}
	if again := table.follow(l, "r", true); again != nil {
		t.Error("following a confirmed channel waits")
	}

	local.member = false
	table.reconsider(channel)
	var second <-chan struct{}
	local.asked = func() {
		local.member = true
		second = table.follow(l, "r", true)
	}
	add, remove, more := table.judge(10)
	if add != nil || remove != nil || !more {
		t.Errorf("judge = %q, %q, %v, want nothing yet and more to come", add, remove, more)
	}
	if second == nil || isClosed(second) {
		t.Error("follow does not wait for the judgement under way")
	}
	if add, remove, more := table.judge(10); add != nil || remove != nil || more || !isClosed(second) {
		t.Errorf("judge = %q, %q, %v, want the channel to stay", add, remove, more)
	}
}

// TestCommandsUnderWay follows, leaves and follows a room again before Redis has confirmed anything.
func TestCommandsUnderWay(t *testing.T) {
	local := &askedLocal{member: true}
	l := newLink(&pubSub{}, channels{prefix: "p", namespace: "/"}, local)
	table := newSubscriptions()
	table.connected()
	channel := l.channels.room("r")

	table.follow(l, "r", false)
	table.judge(10)
	local.member = false
	table.reconsider(channel)
	if _, remove, _ := table.judge(10); !slices.Equal(remove, []string{channel}) {
		t.Fatalf("judge unsubscribes from %q, want %s", remove, channel)
	}
	local.member = true
	done := table.follow(l, "r", true)
	if add, _, _ := table.judge(10); !slices.Equal(add, []string{channel}) {
		t.Fatalf("judge subscribes to %q, want %s", add, channel)
	}
	for i := range 3 { // subscribe, unsubscribe, subscribe
		if isClosed(done) || table.count() != 0 {
			t.Fatalf("the channel counts as confirmed after %d of 3 confirmations", i)
		}
		table.confirm(channel)
	}
	if !isClosed(done) || table.count() != 1 {
		t.Error("the channel does not count as confirmed after all confirmations")
	}

	local.member = false
	table.reconsider(channel)
	table.judge(10)
	table.confirm(channel)
	if len(table.table) != 0 || table.count() != 0 {
		t.Errorf("%d channels are kept after the last was given up", len(table.table))
	}

	local.member = true
	waiting := table.follow(l, "r", true)
	table.judge(10)
	table.disconnected()
	if !isClosed(waiting) {
		t.Error("follow waits for a connection that is lost")
	}
	if w := table.follow(l, "r", true); w != nil {
		t.Error("follow waits without a connection")
	}
	table.connected()
	if add, _, _ := table.judge(10); !slices.Equal(add, []string{channel}) {
		t.Errorf("judge on a new connection subscribes to %q, want %s", add, channel)
	}
}
