package rooms_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/chorus/internal/rooms"
)

type member struct {
	id   int
	hits atomic.Int64
}

type index = rooms.Index[member]

func names(x *index, sel rooms.Selection[member]) []int {
	var mu sync.Mutex
	var got []int
	n := x.Broadcast(sel, func(m *member, _ int) bool {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, m.id)
		return true
	})
	if n != len(got) {
		panic(fmt.Sprintf("Broadcast = %d, but %d calls", n, len(got)))
	}
	slices.Sort(got)
	return got
}

func TestBroadcast(t *testing.T) {
	x := rooms.New[member]()
	ms := make([]*member, 6)
	for i := range ms {
		ms[i] = &member{id: i}
		x.Join("", ms[i], nil)
	}
	for room, ids := range map[string][]int{"a": {0, 1, 2}, "b": {2, 3}, "c": {4}} {
		for _, id := range ids {
			x.Join(room, ms[id], nil)
		}
	}
	type sel = rooms.Selection[member]
	tests := []struct {
		name string
		sel  sel
		want []int
	}{
		{"all", sel{}, []int{0, 1, 2, 3, 4, 5}},
		{"one room", sel{Rooms: []string{"a"}}, []int{0, 1, 2}},
		{"the same room twice", sel{Rooms: []string{"a", "a"}}, []int{0, 1, 2}},
		{"union", sel{Rooms: []string{"b", "a"}}, []int{0, 1, 2, 3}},
		{"unknown room", sel{Rooms: []string{"x"}}, nil},
		{"the empty name is no room", sel{Rooms: []string{""}}, nil},
		{"except", sel{Except: []string{"a", "x"}}, []int{3, 4, 5}},
		{"room except room", sel{Rooms: []string{"a"}, Except: []string{"b"}}, []int{0, 1}},
		{"skip", sel{Rooms: []string{"a"}, Skip: func(m *member) bool { return m.id == 1 }}, []int{0, 2}},
		{"skip and except", sel{Except: []string{"a"}, Skip: func(m *member) bool { return m.id == 5 }}, []int{3, 4}},
		{"extra alone", sel{Rooms: []string{"x"}, Extra: []*member{ms[5]}}, []int{5}},
		{"extra that is in the room", sel{Rooms: []string{"a"}, Extra: []*member{ms[0], ms[5]}}, []int{0, 1, 2, 5}},
		{"extra that is left out", sel{Extra: []*member{ms[2]}, Except: []string{"b"}}, nil},
	}
	for _, tt := range tests {
		if got := names(x, tt.sel); !slices.Equal(got, tt.want) {
			t.Errorf("%s: Broadcast reaches %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestJoinAndLeave(t *testing.T) {
	x := rooms.New[member]()
	a, b := &member{id: 1}, &member{id: 2}
	ma, first := x.Join("r", a, nil)
	if !first || !x.Has("r") || ma.Room() != "r" {
		t.Fatalf("first Join: first = %t, Has = %t, Room = %q", first, x.Has("r"), ma.Room())
	}
	mb, first := x.Join("r", b, nil)
	if first || x.Len("r") != 2 || x.Rooms() != 1 {
		t.Fatalf("second Join: first = %t, Len = %d, Rooms = %d", first, x.Len("r"), x.Rooms())
	}
	if x.Leave(ma) {
		t.Error("Leave says last, but a member is left")
	}
	if !x.Leave(mb) || x.Has("r") || x.Rooms() != 0 {
		t.Error("Leave of the last member does not remove the room")
	}
	if _, first := x.Join("r", a, nil); !first {
		t.Error("Join after the room was removed: not first")
	}
}

// A member that stays must get every broadcast exactly once, whoever comes and goes and whatever is compacted.
func TestStayersMissNothing(t *testing.T) {
	const stayers, guests, broadcasts = 3000, 4000, 60
	x := rooms.New[member]()
	stay := make([]*member, stayers)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var places []*rooms.Membership[member]
	for i := range stayers { // guests between the stayers leave holes everywhere
		for range guests / stayers {
			m, _ := x.Join("", &member{}, nil)
			places = append(places, m)
		}
		stay[i] = &member{id: i}
		x.Join("", stay[i], nil)
	}
	for range 2 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, 2))
			for {
				select {
				case <-stop:
					return
				default:
				}
				var mine []*rooms.Membership[member]
				for range r.IntN(3000) {
					m, _ := x.Join("", &member{}, nil)
					mine = append(mine, m)
				}
				for _, m := range mine {
					x.Leave(m)
				}
			}
		})
	}
	wg.Go(func() {
		for _, m := range places {
			x.Leave(m)
		}
	})
	for range broadcasts {
		x.Broadcast(rooms.Selection[member]{}, func(m *member, _ int) bool { m.hits.Add(1); return true })
	}
	close(stop)
	wg.Wait()
	for _, m := range stay {
		if n := m.hits.Load(); n != broadcasts {
			t.Fatalf("member %d got %d broadcasts, want %d", m.id, n, broadcasts)
		}
	}
}

// A member that leaves and comes back while a broadcast is under way does not meet it twice.
func TestComingBackIsNotMetTwice(t *testing.T) {
	x := rooms.New[member]()
	for range 4000 {
		x.Join("r", &member{}, nil)
	}
	m := &member{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			p, _ := x.Join("r", m, nil)
			x.Leave(p)
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for range 1500 {
		m.hits.Store(0)
		x.Broadcast(rooms.Selection[member]{Rooms: []string{"r"}}, func(o *member, _ int) bool { o.hits.Add(1); return true })
		if n := m.hits.Load(); n > 1 {
			t.Errorf("one broadcast met a member %d times", n)
			break
		}
	}
	close(stop)
	wg.Wait()
}

// Members of an excluded room never get the broadcast, whatever moves in that room meanwhile.
func TestExceptHoldsDuringCompaction(t *testing.T) {
	const members, guests = 6000, 20_000
	x := rooms.New[member]()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range members {
		m := &member{id: i}
		x.Join("", m, nil)
		for range 2 { // holes between the members
			g, _ := x.Join("out", &member{}, nil)
			defer x.Leave(g)
		}
		x.Join("out", m, nil)
	}
	wg.Go(func() {
		for {
			var places []*rooms.Membership[member]
			for range guests {
				p, _ := x.Join("out", &member{}, nil)
				places = append(places, p)
			}
			for _, p := range places {
				x.Leave(p)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for range 100 {
		if n := x.Broadcast(rooms.Selection[member]{Except: []string{"out"}}, func(*member, int) bool { return true }); n != 0 {
			t.Errorf("a broadcast reached %d members of the excluded room", n)
			break
		}
	}
	close(stop)
	wg.Wait()
}

// All members of two rooms must see broadcasts to both in one order.
func TestOrderAcrossRooms(t *testing.T) {
	x := rooms.New[member]()
	logs := make(map[*member]*[]int)
	for i := range 4 {
		m := &member{id: i}
		logs[m] = new([]int)
		x.Join("a", m, nil)
		x.Join("b", m, nil)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				rs := [][]string{{"a", "b"}, {"b", "a"}, {"a"}, {"b", "a"}}[g]
				if g == 2 {
					rs = []string{"b", "a"}
				}
				x.Broadcast(rooms.Selection[member]{Rooms: rs}, func(m *member, _ int) bool {
					*logs[m] = append(*logs[m], g*1000+i) // the order locks are what makes this safe
					return true
				})
			}
		})
	}
	wg.Wait()
	var first []int
	for _, l := range logs {
		if len(*l) != 800 {
			t.Fatalf("a member got %d broadcasts, want 800", len(*l))
		}
		if first == nil {
			first = *l
		} else if !slices.Equal(first, *l) {
			t.Fatal("two members saw different orders")
		}
	}
}

func TestEnteredRunsBeforeTheFirstBroadcast(t *testing.T) {
	x := rooms.New[member]()
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				x.Broadcast(rooms.Selection[member]{}, func(m *member, _ int) bool {
					if m.hits.Load() == 0 {
						t.Error("a broadcast reached a member before entered ran")
					}
					return true
				})
			}
		}
	})
	for range 1500 {
		m := &member{}
		x.Join("", m, func() { m.hits.Store(1) })
	}
	close(stop)
	wg.Wait()
}

func TestWalkAllocatesNothing(t *testing.T) {
	x := rooms.New[member]()
	for range 5000 {
		x.Join("", &member{}, nil)
	}
	n := 0
	visit := func(*member, int) bool { n++; return true }
	if a := testing.AllocsPerRun(20, func() { x.Broadcast(rooms.Selection[member]{}, visit) }); a > 1 {
		t.Errorf("Broadcast to 5000 members allocates %v times, want at most 1", a)
	}
}

func BenchmarkWalk(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x := rooms.New[member]()
			for i := range n {
				x.Join("", &member{id: i}, nil)
			}
			b.ReportAllocs()
			for b.Loop() {
				x.Broadcast(rooms.Selection[member]{}, func(m *member, _ int) bool { return m.id >= 0 })
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/member")
		})
	}
}

func BenchmarkJoinLeave(b *testing.B) {
	x := rooms.New[member]()
	m := &member{}
	b.ReportAllocs()
	for b.Loop() {
		p, _ := x.Join("room", m, nil)
		x.Leave(p)
	}
}
