package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/chorus/pkg/adapter"
)

const lapse = 3 * time.Second

func TestMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMembers(lapse)
		a, b := adapter.Node{ID: "1", Name: "b"}, adapter.Node{ID: "2", Name: "a"}
		expect := func(what string, got []adapter.Node, want ...adapter.Node) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Errorf("%s = %v, want %v", what, got, want)
			}
		}
		if !m.Heard(a) || !m.Heard(b) || m.Heard(a) {
			t.Error("Heard reports a change that is none, or none that is")
		}
		expect("Alive", m.Alive(), b, a)
		moved := a
		moved.Address = "elsewhere:1"
		if !m.Heard(moved) {
			t.Error("Heard of a new address is no change")
		}
		time.Sleep(lapse)
		m.Touch("1")
		m.Touch("unknown")
		time.Sleep(time.Nanosecond)
		expect("Expire", m.Expire(), b)
		expect("Alive", m.Alive(), moved)
		expect("Lapsed", m.Lapsed(), b)
		if !m.Heard(b) {
			t.Error("a node that comes back is no change")
		}
		expect("Lapsed", m.Lapsed())
		time.Sleep(2 * lapse)
		m.Pardon()
		expect("Expire after Pardon", m.Expire())
		time.Sleep(lapse + 1)
		expect("Expire", m.Expire(), b, moved)
		if m.Goodbye("1") {
			t.Error("Goodbye of a lost node was known")
		}
		expect("Lapsed after a late Goodbye", m.Lapsed(), b)
		m.Gone("2")
		expect("Lapsed", m.Lapsed())
		m.Heard(a)
		if !m.Goodbye("1") {
			t.Error("Goodbye of a living node was unknown")
		}
		expect("Alive", m.Alive())
		expect("Lapsed", m.Lapsed())
	})
}

// Any order of signs of life and goodbyes leaves alive exactly the nodes that were heard within the lapse, each once.
func TestMembersProperties(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			m := NewMembers(lapse)
			heard := map[string]time.Time{}
			for range 200 {
				id := fmt.Sprint(r.IntN(6))
				switch r.IntN(8) {
				case 0:
					if _, known := heard[id]; m.Goodbye(id) != known {
						t.Fatalf("seed %d: Goodbye(%s), known %t", seed, id, known)
					}
					delete(heard, id)
				case 1:
					m.Touch(id)
					if _, known := heard[id]; known {
						heard[id] = time.Now()
					}
				case 2, 3:
					for _, n := range m.Expire() {
						if time.Since(heard[n.ID]) <= lapse {
							t.Fatalf("seed %d: %s is lost after %v", seed, n.ID, time.Since(heard[n.ID]))
						}
						delete(heard, n.ID)
					}
					for id, at := range heard {
						if time.Since(at) > lapse {
							t.Fatalf("seed %d: %s is alive after %v", seed, id, time.Since(at))
						}
					}
				default:
					m.Heard(node(id))
					heard[id] = time.Now()
				}
				if alive := m.Alive(); len(alive) != len(heard) {
					t.Fatalf("seed %d: %d are alive, want %d", seed, len(alive), len(heard))
				}
				for _, n := range m.Lapsed() {
					if _, alive := heard[n.ID]; alive {
						t.Fatalf("seed %d: %s is alive and lost", seed, n.ID)
					}
				}
				time.Sleep(time.Duration(r.Int64N(int64(lapse))))
			}
		})
	}
}

func TestMembersForgetTheOldestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMembers(lapse)
		for i := range lapsedKept + 10 {
			m.Heard(node(fmt.Sprint(i)))
		}
		time.Sleep(lapse + 1)
		m.Expire()
		if n := len(m.Lapsed()); n != lapsedKept {
			t.Errorf("%d lost nodes are kept, want %d", n, lapsedKept)
		}
	})
}
