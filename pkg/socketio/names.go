package socketio

import (
	"maps"
	"sync"
	"sync/atomic"
)

// maxNames bounds the names of events that are remembered.
const maxNames = 256

// names remembers the names of events that have handlers, so that telling a Trace of them costs no allocation.
type names struct {
	mu    sync.Mutex                        // of remember
	known atomic.Pointer[map[string]string] // by JSON text; replaced, never changed
}

// of returns the name whose JSON text is given.
func (n *names) of(text []byte) string {
	if known := n.known.Load(); known != nil {
		if name, ok := (*known)[string(text)]; ok {
			return name
		}
	}
	return eventName(text)
}

// remember is of for a name that the application knows: others are the choice of clients.
func (n *names) remember(text []byte) string {
	if known := n.known.Load(); known != nil {
		if name, ok := (*known)[string(text)]; ok {
			return name
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	name, known := eventName(text), make(map[string]string)
	if p := n.known.Load(); p != nil {
		maps.Copy(known, *p)
	}
	if len(known) < maxNames {
		known[string(text)] = name
		n.known.Store(&known)
	}
	return name
}
