package cluster

import (
	"slices"
	"sync"
	"time"

	"example.com/chorus/pkg/adapter"
)

// lapsedKept bounds the nodes that are remembered after they were lost.
const lapsedKept = 1024

// Members are the other nodes that say who they are, by their heartbeats. All methods are safe for concurrent use.
type Members struct {
	lapse time.Duration

	mu     sync.Mutex
	alive  map[string]*member
	lapsed []adapter.Node // lost without goodbye: their subscriptions may still be there
}

type member struct {
	node  adapter.Node
	heard time.Time
}

// NewMembers returns an empty list. A node that is not heard of for lapse is lost.
func NewMembers(lapse time.Duration) *Members {
	return &Members{lapse: lapse, alive: make(map[string]*member)}
}

// Heard notes a sign of life and reports whether the list changed.
func (m *Members) Heard(n adapter.Node) (changed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.alive[n.ID]
	if known == nil {
		m.forgetLocked(n.ID)
		m.alive[n.ID] = &member{node: n, heard: time.Now()}
		return true
	}
	known.heard = time.Now()
	changed = known.node != n
	known.node = n
	return changed
}

// Touch notes a sign of life of a node that is known already.
func (m *Members) Touch(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.alive[id]; known != nil {
		known.heard = time.Now()
	}
}

// Goodbye removes a node that leaves in order and reports whether it was known.
func (m *Members) Goodbye(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, known := m.alive[id]
	delete(m.alive, id)
	m.forgetLocked(id) // one that was taken for lost ends its subscriptions too
	return known
}

// Expire removes and returns the nodes that are lost. Since nobody can be heard while the own line is down, the caller
// does not call it then, and calls Pardon when the line is back.
func (m *Members) Expire() []adapter.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	var lost []adapter.Node
	limit := time.Now().Add(-m.lapse)
	for id, known := range m.alive {
		if known.heard.Before(limit) {
			delete(m.alive, id)
			lost = append(lost, known.node)
		}
	}
	slices.SortFunc(lost, byName)
	m.lapsed = append(m.lapsed, lost...)
	m.lapsed = m.lapsed[max(0, len(m.lapsed)-lapsedKept):]
	return lost
}

// Pardon gives every node the whole time again.
func (m *Members) Pardon() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, known := range m.alive {
		known.heard = time.Now()
	}
}

// Has reports whether a node is alive.
func (m *Members) Has(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.alive[id] != nil
}

// Len returns the number of nodes that are alive.
func (m *Members) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.alive)
}

// Alive returns the nodes in the order of their names.
func (m *Members) Alive() []adapter.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	nodes := make([]adapter.Node, 0, len(m.alive))
	for _, known := range m.alive {
		nodes = append(nodes, known.node)
	}
	slices.SortFunc(nodes, byName)
	return nodes
}

// Lapsed returns the nodes that were lost and may still be counted as subscribers, for as long as Redis has not noticed.
func (m *Members) Lapsed() []adapter.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.lapsed)
}

// Gone forgets a lost node whose subscriptions are gone too.
func (m *Members) Gone(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgetLocked(id)
}

func (m *Members) forgetLocked(id string) {
	m.lapsed = slices.DeleteFunc(m.lapsed, func(o adapter.Node) bool { return o.ID == id })
}
