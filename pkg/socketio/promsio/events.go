package promsio

import (
	"sync"
	"sync/atomic"

	"example.com/chorus/pkg/socketio"
)

// events counts by the names that Options.Events allows.
type events struct {
	names   []string       // sorted
	index   map[string]int // of names
	byName  sync.Map       // namespace -> []atomic.Uint64 by index: events received
	panicBy []atomic.Uint64
}

func newEvents(names []string) *events {
	e := &events{names: names, index: make(map[string]int, len(names)), panicBy: make([]atomic.Uint64, len(names))}
	for i, name := range names {
		e.index[name] = i
	}
	return e
}

// came counts an event. There are few namespaces: the server names no more than it exports.
func (e *events) came(namespace, event string) {
	i, ok := e.index[event]
	if !ok {
		return
	}
	counts, ok := e.byName.Load(namespace)
	if !ok {
		counts, _ = e.byName.LoadOrStore(namespace, make([]atomic.Uint64, len(e.names)))
	}
	counts.([]atomic.Uint64)[i].Add(1)
}

// handled counts a handler that panicked.
func (e *events) handled(event string, err error) {
	if _, panicked := err.(*socketio.PanicError); !panicked {
		return
	}
	if i, ok := e.index[event]; ok {
		e.panicBy[i].Add(1)
	}
}

// received divides the events of a namespace by name.
func (e *events) received(namespace string, all uint64) map[string]uint64 {
	counts, _ := e.byName.Load(namespace)
	named, _ := counts.([]atomic.Uint64)
	return e.divide(named, all)
}

func (e *events) panics(all uint64) map[string]uint64 { return e.divide(e.panicBy, all) }

// divide gives names their own, and the rest to others. What happens meanwhile may be in one and not yet in all.
func (e *events) divide(named []atomic.Uint64, all uint64) map[string]uint64 {
	by := make(map[string]uint64, len(e.names)+1)
	for i, name := range e.names {
		by[name] = 0
		if named != nil {
			by[name] = named[i].Load()
		}
		all -= min(all, by[name])
	}
	by[other] = all
	return by
}
