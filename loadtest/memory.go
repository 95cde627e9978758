//go:build linux

package main

import (
	"sync"
	"sync/atomic"
	"time"
)

// memoryInterval is how often memory is looked at.
const memoryInterval = 50 * time.Millisecond

// memory follows how much of it the servers have resident, to find the peak.
type memory struct {
	pids []int
	peak atomic.Int64
	done chan struct{}
	wg   sync.WaitGroup
}

// watchMemory begins to look; stop ends it.
func (s *setting) watchMemory() *memory {
	m := &memory{pids: s.pids, done: make(chan struct{})}
	m.wg.Go(func() {
		tick := time.NewTicker(memoryInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				m.look()
			case <-m.done:
				return
			}
		}
	})
	return m
}

// look returns what is resident now. A process that has ended is reported
// by those who need its figures.
func (m *memory) look() int64 {
	u, err := sumUsage(m.pids)
	if err != nil {
		return 0
	}
	for {
		old := m.peak.Load()
		if u.rss <= old || m.peak.CompareAndSwap(old, u.rss) {
			return u.rss
		}
	}
}

// restart forgets the peak and returns what is resident now.
func (m *memory) restart() int64 {
	m.peak.Store(0)
	return m.look()
}

// stop returns the peak since the start or the last restart.
func (m *memory) stop() int64 {
	m.look()
	close(m.done)
	m.wg.Wait()
	return m.peak.Load()
}
