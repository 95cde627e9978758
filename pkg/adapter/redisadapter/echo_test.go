package redisadapter

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/chorus/pkg/adapter"
)

// echoed is an account of echoes whose impatience delivers at once.
type echoed struct {
	*echoes

	lock      sync.Mutex
	delivered []string
}

func newEchoed(limit int) *echoed {
	e := new(echoed)
	e.echoes = newEchoes(time.Second, limit, func() {
		e.lock.Lock()
		defer e.lock.Unlock()
		for _, m := range e.due() {
			e.delivered = append(e.delivered, string(m.Packet.Data))
		}
	})
	return e
}

func numbered(n int) *adapter.Message {
	return &adapter.Message{Packet: adapter.Packet{Data: fmt.Append(nil, n)}}
}

func (e *echoed) check(t *testing.T, want ...string) {
	t.Helper()
	e.lock.Lock()
	defer e.lock.Unlock()
	if !slices.Equal(e.delivered, want) {
		t.Errorf("delivered %q, want %q", e.delivered, want)
	}
}

func TestEchoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEchoed(100)
		e.launch(e.expect(numbered(1)), 11)
		time.Sleep(900 * time.Millisecond)
		e.launch(e.expect(numbered(2)), 12)
		if m := e.came(11); m == nil || string(m.Packet.Data) != "1" {
			t.Errorf("came back as %v, want the first", m)
		}
		if m := e.came(11); m != nil {
			t.Error("it came back twice")
		}
		time.Sleep(900 * time.Millisecond)
		synctest.Wait()
		e.check(t)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		e.check(t, "2") // a second after it was sent

		// Nothing is waited for until something comes back.
		third := e.expect(numbered(3))
		e.check(t, "2", "3")
		e.launch(third, 13)
		if m := e.came(12); m != nil {
			t.Error("what was delivered came back as new")
		}
		e.launch(e.expect(numbered(4)), 14)
		e.check(t, "2", "3")
		if m := e.came(13); m != nil {
			t.Error("what was delivered before it went out came back as new")
		}
		if m := e.came(14); m == nil {
			t.Error("the last did not come back")
		}
		e.close()
	})
}

// What is given up is delivered, and what came before it too: one sender's order is kept.
func TestEchoesGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEchoed(100)
		e.launch(e.expect(numbered(1)), 11)
		second := e.expect(numbered(2))
		e.launch(e.expect(numbered(3)), 13)
		e.giveUp(second)
		e.check(t, "1", "2")
		e.giveUp(second)
		e.check(t, "1", "2")
		if m := e.came(11); m != nil {
			t.Error("what was delivered came back as new")
		}
		if m := e.came(13); m == nil {
			t.Error("what was not given up did not come back")
		}
		e.close()
	})
}

func TestEchoesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEchoed(3)
		for i := range 5 {
			e.expect(numbered(i))
		}
		e.check(t, "0", "1")
		e.close()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		e.check(t, "0", "1")
		if left := len(e.due()); left != 3 {
			t.Errorf("%d were left at the end, want 3", left)
		}
		if len(e.waiting) != 0 || len(e.entries) != 0 {
			t.Errorf("%d wait and %d are on their way at the end", len(e.waiting), len(e.entries))
		}
	})
}
