package netloop

import (
	"sync/atomic"
	"time"
)

// watched tells whether a goroutine that waits for events still serves them: it is asked, and answers at its next turn.
type watched struct {
	asked atomic.Pointer[time.Time] // nil: it has answered
}

// ask reports since when no answer came; zero if there was nothing to answer, but now there is.
func (w *watched) ask() (waits time.Duration) {
	now := time.Now()
	if !w.asked.CompareAndSwap(nil, &now) {
		if since := w.asked.Load(); since != nil {
			return now.Sub(*since)
		}
	}
	return 0
}

// answer is called by the goroutine, at each turn.
func (w *watched) answer() {
	if w.asked.Load() != nil {
		w.asked.Store(nil)
	}
}

// Hanging asks the goroutines that serve connections for a sign of life and names those that have owed one for longer
// than limit. Who wants to know calls it again and again: the first call only asks.
func (l *Loop) Hanging(limit time.Duration) (names []string) {
	if l.shards == nil {
		return nil // each connection has goroutines of its own
	}
	return l.shards.hanging(limit)
}
