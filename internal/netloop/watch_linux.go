//go:build amd64 || arm64

package netloop

import (
	"fmt"
	"time"
)

func (all *shards) hanging(limit time.Duration) (names []string) {
	select {
	case <-all.stop: // nobody is left to answer
		return nil
	default:
	}
	for i, s := range all.all {
		if s.writes.ask() > limit {
			names = append(names, fmt.Sprintf("writing loop %d", i))
		}
		signal(s.wake)
		s.mu.Lock()
		if s.started && !s.stopping {
			if s.reads.ask() > limit {
				names = append(names, fmt.Sprintf("reading loop %d", i))
			}
			s.poller.Wake() // under the lock: it may be closed when reading has stopped
		}
		s.mu.Unlock()
	}
	return names
}
