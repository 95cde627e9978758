package cluster

import "sync"

// Patience remembers how many subscribers never answer, such as a program that only listens. Those that were silent
// twice are not waited for again until the number of subscribers changes. The zero value is ready.
type Patience struct {
	mu    sync.Mutex
	known map[string]habit // by namespace
}

// habit is what was seen of the unnamed subscribers of one namespace.
type habit struct {
	subscribers int
	silent      int // of them, that are not waited for
	suspected   int // of them, that were silent in the last request
	times       int // how often in a row as many were
}

// Expect returns how many of the unnamed subscribers of a namespace are worth waiting for.
func (p *Patience) Expect(namespace string, subscribers int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, ok := p.known[namespace]
	if ok && h.subscribers != subscribers {
		delete(p.known, namespace)
		return subscribers
	}
	return subscribers - h.silent
}

// Note tells how a request ended: how many of the subscribers it expected to answer, and how many of those stayed
// silent.
func (p *Patience) Note(namespace string, subscribers, expected, silent int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.known[namespace]
	if h.subscribers != subscribers {
		h = habit{subscribers: subscribers}
	}
	all := min(max(subscribers-expected+silent, 0), subscribers) // requests at the same time may have expected different numbers
	switch {
	case all == 0:
		delete(p.known, namespace)
		return
	case silent == 0: // as expected
		h.suspected, h.times = 0, 0
	case all == h.suspected:
		h.times++
	default:
		h.suspected, h.times = all, 1
	}
	if h.times >= 2 {
		h.silent = all
	}
	if p.known == nil {
		p.known = make(map[string]habit)
	}
	p.known[namespace] = h
}

// Forget drops what is known of a namespace.
func (p *Patience) Forget(namespace string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, namespace)
}
