package forward

import (
	"sync"
	"time"
)

// maxNonces bounds a generation of nonces: 2 MiB.
const maxNonces = 1 << 15

// nonces remembers which tickets came, in two generations. A generation lasts as long as a ticket can be fresh by any
// two clocks, so what is forgotten is stale by then. When one is full before, what is as old as the tickets that are
// forgotten counts as stale: nothing is ever taken twice, however many come.
type nonces struct {
	mu       sync.Mutex
	since    time.Time // of current
	current  map[nonce]struct{}
	previous map[nonce]struct{}
	newest   [2]time.Time // of the tickets in current and previous
	floor    time.Time    // tickets must be newer
}

// add notes a ticket that is fresh by its time. It returns why the ticket is none that may be taken, or "".
func (s *nonces) add(t *ticket) (reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case now.Sub(s.since) > 2*freshness:
		s.turnLocked(now)
	case len(s.current) >= maxNonces:
		if s.newest[1].After(s.floor) {
			s.floor = s.newest[1]
		}
		s.turnLocked(now)
	}
	if !t.time.After(s.floor) {
		return refusedStale
	}
	_, now1 := s.current[t.nonce]
	_, before := s.previous[t.nonce]
	if now1 || before {
		return refusedReplayed
	}
	if s.current == nil {
		s.current = make(map[nonce]struct{})
	}
	s.current[t.nonce] = struct{}{}
	if t.time.After(s.newest[0]) {
		s.newest[0] = t.time
	}
	return ""
}

func (s *nonces) turnLocked(now time.Time) {
	s.previous, s.current = s.current, nil
	s.newest[1], s.newest[0] = s.newest[0], time.Time{}
	s.since = now
}
