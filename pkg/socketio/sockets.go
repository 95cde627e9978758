package socketio

import (
	"hash/maphash"
	"sync"
)

const tableStripes = 64

// socketTable finds the sockets of a namespace on this node by id. The zero value is ready.
type socketTable struct {
	once    sync.Once
	seed    maphash.Seed
	stripes [tableStripes]struct {
		mu sync.RWMutex
		m  map[string]*Socket
	}
}

func (t *socketTable) stripe(id string) int {
	t.once.Do(func() { t.seed = maphash.MakeSeed() })
	return int(maphash.String(t.seed, id) % tableStripes)
}

func (t *socketTable) add(s *Socket) {
	stripe := &t.stripes[t.stripe(s.id)]
	stripe.mu.Lock()
	defer stripe.mu.Unlock()
	if stripe.m == nil {
		stripe.m = make(map[string]*Socket)
	}
	stripe.m[s.id] = s
}

func (t *socketTable) remove(s *Socket) {
	stripe := &t.stripes[t.stripe(s.id)]
	stripe.mu.Lock()
	defer stripe.mu.Unlock()
	if stripe.m[s.id] == s { // else a recovered one took its place
		delete(stripe.m, s.id)
	}
}

func (t *socketTable) get(id string) *Socket {
	stripe := &t.stripes[t.stripe(id)]
	stripe.mu.RLock()
	defer stripe.mu.RUnlock()
	return stripe.m[id]
}
