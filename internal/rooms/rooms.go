// Package rooms is the membership index of one namespace: which members are in which room, kept so that a
// broadcast walks dense arrays of pointers instead of looking up ids.
//
// The namespace itself is the room with the empty name.
package rooms

import (
	"cmp"
	"hash/maphash"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	stripeCount   = 64
	chunkSize     = 1024
	parallelAbove = 8 // chunks; below it a second goroutine costs more than it saves
)

// Index maps room names to rooms of members of type M. The zero value is not usable; see New. All methods are
// safe for concurrent use.
type Index[M any] struct {
	seed    maphash.Seed
	stripes [stripeCount]stripe[M]
	all     *room[M]
	made    atomic.Uint64
	seen    sync.Pool // *map[*M]struct{}: receivers of a broadcast to several rooms
}

type stripe[M any] struct {
	mu    sync.RWMutex
	rooms map[string]*room[M]
	_     [32]byte // keeps neighbours off one cache line
}

// room keeps its members in chunks. Slots that were left stay empty until the next member takes them or a
// compaction, which happens only between walks: a walk must not miss a member that moves.
type room[M any] struct {
	name   string
	number uint64     // one that was removed and its successor may both be locked: they need an order too
	order  sync.Mutex // one broadcast at a time, so that all members see the same order

	mu     sync.RWMutex // guards what follows; held for one chunk of a walk
	walked bool         // a broadcast is under way: who joins now takes a slot behind its end, so that nobody is met twice
	chunks []*chunk[M]
	free   []*Membership[M] // left slots; their member is nil
	live   int
	gone   bool // removed from the index; a join must look it up anew
}

type chunk[M any] struct {
	slots []slot[M]
}

type slot[M any] struct {
	member     *M
	membership *Membership[M]
}

// Membership is one member in one room: the key to Leave.
type Membership[M any] struct {
	room  *room[M]
	chunk *chunk[M]
	index int
}

// Room returns the name of the room.
func (m *Membership[M]) Room() string { return m.room.name }

// New returns an empty index.
func New[M any]() *Index[M] {
	x := &Index[M]{seed: maphash.MakeSeed(), all: &room[M]{}}
	for i := range x.stripes {
		x.stripes[i].rooms = make(map[string]*room[M])
	}
	x.seen.New = func() any { m := make(map[*M]struct{}); return &m }
	return x
}

func (x *Index[M]) stripe(name string) *stripe[M] {
	return &x.stripes[maphash.String(x.seed, name)%stripeCount]
}

func (x *Index[M]) lookup(name string) *room[M] {
	if name == "" {
		return x.all
	}
	s := x.stripe(name)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.rooms[name]
}

// Join puts a member into a room. first tells that the room was empty. entered, which may be nil, runs in one
// step with the entry: a walk sees the member only after it ran. It must not block nor use the index.
func (x *Index[M]) Join(name string, member *M, entered func()) (m *Membership[M], first bool) {
	for {
		r := x.lookup(name)
		if r == nil {
			s := x.stripe(name)
			s.mu.Lock()
			if r = s.rooms[name]; r == nil {
				r = &room[M]{name: name, number: x.made.Add(1)}
				s.rooms[name] = r
			}
			s.mu.Unlock()
		}
		if m, first, ok := r.join(member, entered); ok {
			return m, first
		}
	}
}

func (r *room[M]) join(member *M, entered func()) (m *Membership[M], first, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return nil, false, false
	}
	if n := len(r.free); n > 0 && !r.walked {
		m, r.free = r.free[n-1], r.free[:n-1]
	} else {
		m = r.appendSlot()
	}
	if entered != nil {
		entered()
	}
	m.chunk.slots[m.index] = slot[M]{member, m}
	r.live++
	return m, r.live == 1, true
}

func (r *room[M]) appendSlot() *Membership[M] {
	n := len(r.chunks)
	if n == 0 || len(r.chunks[n-1].slots) == chunkSize {
		r.chunks = append(r.chunks, &chunk[M]{})
		n++
	}
	c := r.chunks[n-1]
	c.slots = append(c.slots, slot[M]{})
	return &Membership[M]{room: r, chunk: c, index: len(c.slots) - 1}
}

// Leave ends a membership. It must be called once. last tells that the room is empty and was removed.
func (x *Index[M]) Leave(m *Membership[M]) (last bool) {
	r := m.room
	if r == x.all {
		last = r.leave(m)
	} else {
		s := x.stripe(r.name)
		s.mu.Lock() // before r.mu: nobody finds the room while it goes
		if last = r.leave(m); last {
			delete(s.rooms, r.name)
		}
		s.mu.Unlock()
	}
	r.mu.RLock()
	sparse := r.sparseLocked()
	r.mu.RUnlock()
	if sparse && r.order.TryLock() { // else the walk that holds it compacts
		r.compact()
		r.order.Unlock()
	}
	return last
}

func (r *room[M]) leave(m *Membership[M]) (last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.chunk.slots[m.index] = slot[M]{}
	r.free = append(r.free, m)
	r.live--
	last = r.live == 0
	r.gone = last && r.name != ""
	return last
}

func (r *room[M]) sparseLocked() bool { return len(r.free) > 32 && len(r.free) > r.live }

// compact moves all members to the front. The caller holds order.
func (r *room[M]) compact() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.sparseLocked() {
		return
	}
	old := r.chunks
	r.chunks, r.free = nil, nil
	for _, c := range old {
		for _, s := range c.slots {
			if s.member == nil {
				continue
			}
			place := r.appendSlot()
			s.membership.chunk, s.membership.index = place.chunk, place.index
			place.chunk.slots[place.index] = s
		}
	}
}

// Has reports whether the room has a member.
func (x *Index[M]) Has(name string) bool { return x.Len(name) > 0 }

// Len returns the number of members of the room.
func (x *Index[M]) Len(name string) int {
	r := x.lookup(name)
	if r == nil {
		return 0
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.live
}

// Rooms returns the number of rooms that have members, without that of all.
func (x *Index[M]) Rooms() int {
	n := 0
	for i := range x.stripes {
		s := &x.stripes[i]
		s.mu.RLock()
		n += len(s.rooms)
		s.mu.RUnlock()
	}
	return n
}

// Selection says whom a broadcast reaches.
type Selection[M any] struct {
	Rooms  []string      // members of any of these; with Extra empty too: all
	Extra  []*M          // further receivers, as if they were in one of the rooms
	Except []string      // members of these are left out
	Skip   func(*M) bool // further members to leave out; may be nil
}

// Broadcast calls fn once for each selected member, with a number that is different for each, and returns how
// often fn returned true. Two broadcasts to one room never overlap. fn and Skip must not block; for large rooms
// they are called from several goroutines.
func (x *Index[M]) Broadcast(sel Selection[M], fn func(m *M, i int) bool) int {
	targets := x.targets(sel)
	excepted := x.named(sel.Except)
	locked := targets
	if len(excepted) > 0 { // these must hold still too: a member that a compaction moves could be missed
		locked = inOrder(slices.Concat(excepted, targets))
	}
	for _, r := range locked {
		r.begin()
	}
	defer func() {
		for _, r := range locked {
			r.end()
		}
	}()
	if len(excepted) > 0 {
		left := x.take()
		defer x.put(left)
		for _, r := range excepted {
			r.walkAlone(func(m *M, _ int) bool {
				left[m] = struct{}{}
				return true
			})
		}
		skip := sel.Skip
		sel.Skip = func(m *M) bool {
			_, out := left[m]
			return out || skip != nil && skip(m)
		}
	}
	visit := fn
	if sel.Skip != nil {
		visit = func(m *M, i int) bool { return !sel.Skip(m) && fn(m, i) }
	}
	if len(targets) == 1 && len(sel.Extra) == 0 {
		return targets[0].walk(visit)
	}
	if len(targets) == 0 && len(sel.Extra) == 1 {
		if visit(sel.Extra[0], 0) {
			return 1
		}
		return 0
	}
	return x.union(targets, sel.Extra, visit)
}

// union visits each member of several rooms once.
func (x *Index[M]) union(targets []*room[M], extra []*M, visit func(*M, int) bool) int {
	seen := x.take()
	defer x.put(seen)
	n := 0
	once := func(m *M, _ int) bool {
		if _, dup := seen[m]; dup {
			return false
		}
		seen[m] = struct{}{}
		return visit(m, len(seen)-1)
	}
	for _, m := range extra {
		if once(m, 0) {
			n++
		}
	}
	for _, r := range targets {
		n += r.walkAlone(once)
	}
	return n
}

// targets returns the rooms in the one order in which all broadcasts lock them.
func (x *Index[M]) targets(sel Selection[M]) []*room[M] {
	if len(sel.Rooms) == 0 && len(sel.Extra) == 0 {
		return []*room[M]{x.all}
	}
	return inOrder(x.named(sel.Rooms))
}

// named returns the rooms that exist.
func (x *Index[M]) named(names []string) (list []*room[M]) {
	for _, name := range names {
		if r := x.lookup(name); r != nil && name != "" {
			list = append(list, r)
		}
	}
	return list
}

// inOrder sorts rooms by name and age, and takes out those that are there twice.
func inOrder[M any](list []*room[M]) []*room[M] {
	if len(list) > 1 {
		slices.SortFunc(list, func(a, b *room[M]) int {
			return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(a.number, b.number))
		})
		list = slices.Compact(list)
	}
	return list
}

func (x *Index[M]) take() map[*M]struct{} { return *x.seen.Get().(*map[*M]struct{}) }

func (x *Index[M]) put(m map[*M]struct{}) {
	if len(m) <= 1<<16 { // a map never shrinks: do not keep a huge one
		clear(m)
		x.seen.Put(&m)
	}
}

// begin takes the room's turn for a broadcast, end gives it back.
func (r *room[M]) begin() {
	r.order.Lock()
	r.mu.Lock()
	r.walked = true
	r.mu.Unlock()
}

func (r *room[M]) end() {
	r.mu.Lock()
	r.walked = false
	r.mu.Unlock()
	r.compact()
	r.order.Unlock()
}

// extent is where the room ends when a walk begins.
func (r *room[M]) extent() (chunks, last int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if chunks = len(r.chunks); chunks > 0 {
		last = len(r.chunks[chunks-1].slots)
	}
	return chunks, last
}

// walk calls fn for every member, from several goroutines if there are many.
func (r *room[M]) walk(fn func(*M, int) bool) int {
	chunks, last := r.extent()
	helpers := min(runtime.GOMAXPROCS(0), chunks/parallelAbove+1)
	if helpers <= 1 {
		return r.walkEvery(0, 1, chunks, last, fn)
	}
	var total atomic.Int64
	var wg sync.WaitGroup
	for h := range helpers {
		wg.Go(func() { total.Add(int64(r.walkEvery(h, helpers, chunks, last, fn))) })
	}
	wg.Wait()
	return int(total.Load())
}

func (r *room[M]) walkAlone(fn func(*M, int) bool) int {
	chunks, last := r.extent()
	return r.walkEvery(0, 1, chunks, last, fn)
}

// walkEvery visits every step-th of the chunks from first on; the last one has last slots. The lock is let go between
// chunks, so that joins and leaves wait for a chunk at most.
func (r *room[M]) walkEvery(first, step, chunks, last int, fn func(*M, int) bool) (n int) {
	for i := first; i < chunks; i += step {
		r.mu.RLock()
		slots := r.chunks[i].slots
		if i == chunks-1 {
			slots = slots[:last]
		}
		for j := range slots {
			if m := slots[j].member; m != nil && fn(m, i*chunkSize+j) {
				n++
			}
		}
		r.mu.RUnlock()
	}
	return n
}
