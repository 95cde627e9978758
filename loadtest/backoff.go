//go:build linux

package main

import (
	"math/rand/v2"
	"time"
)

// Waits of the official client (socket.io-client, Manager): reconnectionDelay,
// reconnectionDelayMax, randomizationFactor.
const (
	backoffFirst  = time.Second
	backoffMost   = 5 * time.Second
	backoffJitter = 0.5
)

// backoff returns how long an official client waits before it tries again, for
// the attempts that have failed, from 1. It does not look at Retry-After.
func backoff(failed int) time.Duration {
	d := float64(backoffFirst) * float64(uint64(1)<<min(failed-1, 10))
	d *= 1 + backoffJitter*(2*rand.Float64()-1)
	return min(time.Duration(d), backoffMost)
}
