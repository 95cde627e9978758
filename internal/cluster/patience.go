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
	silent      int
	times       int
}

// Expect returns how many of the unnamed subscribers of a namespace are worth waiting for.
func (p *Patience) Expect(namespace string, subscribers int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, ok := p.known[namespace]
	switch {
	case !ok:
		return subscribers
	case h.subscribers != subscribers:
		delete(p.known, namespace)
		return subscribers
	case h.times < 2:
		return subscribers
	}
	return subscribers - h.silent
}

// Note tells how many of those that were expected stayed silent.
func (p *Patience) Note(namespace string, subscribers, silent int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.known[namespace]
	switch {
	case h.times >= 2 && h.subscribers == subscribers:
		h.silent += silent // fewer were expected, and some of these are missing too
	case silent == 0:
		delete(p.known, namespace)
		return
	case h.subscribers == subscribers && h.silent == silent:
		h.times++
	default:
		h = habit{subscribers: subscribers, silent: silent, times: 1}
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
