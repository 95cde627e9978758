//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"
)

// A heartbeat is what the servers say of theirs when a connection opens.
type heartbeat struct{ interval, timeout atomic.Int64 }

// learn reads the packet that opens a connection.
func (h *heartbeat) learn(open []byte) error {
	var v struct {
		PingInterval int64 `json:"pingInterval"`
		PingTimeout  int64 `json:"pingTimeout"`
	}
	if err := json.Unmarshal(open[1:], &v); err != nil {
		return fmt.Errorf("opening packet %.100q: %w", open, err)
	}
	h.interval.Store(v.PingInterval)
	h.timeout.Store(v.PingTimeout)
	return nil
}

// lapse is how long an official client waits for a ping before it gives the
// connection up.
func (h *heartbeat) lapse() time.Duration {
	return time.Duration(h.interval.Load()+h.timeout.Load()) * time.Millisecond
}

// A silence is the time in which a client was not pinged.
type silence struct {
	since   time.Duration // since the epoch
	longest time.Duration
}

func (s *silence) end(now time.Duration) {
	s.longest = max(s.longest, now-s.since)
	s.since = now
}
