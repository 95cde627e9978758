//go:build linux

package main

import (
	"math"
	"math/bits"
	"time"
)

const (
	subBits    = 6             // 64 steps per power of two: at most 1.6 % wide
	maxLatency = 1<<40 - 1     // nanoseconds, 18 minutes; longer counts as this
	buckets    = 35 << subBits // indexes of 0 to maxLatency
)

// A histogram counts latencies in buckets whose width grows with the value.
// It is not safe for concurrent use.
type histogram struct {
	counts [buckets]uint64
	total  uint64
	max    int64
}

// bucket returns the index of a latency in nanoseconds, 0 to maxLatency.
func bucket(v int64) int {
	shift := max(bits.Len64(uint64(v))-subBits-1, 0)
	return shift<<subBits + int(v>>shift)
}

// upper returns the largest latency of a bucket.
func upper(i int) int64 {
	shift := max(i>>subBits-1, 0)
	step := int64(i - shift<<subBits)
	return (step+1)<<shift - 1
}

func (h *histogram) record(nanos int64) {
	nanos = min(max(nanos, 0), maxLatency)
	h.counts[bucket(nanos)]++
	h.total++
	h.max = max(h.max, nanos)
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// quantile returns the latency that the share q of all values does not
// exceed, 0 if there are none.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(h.total)))
	var seen uint64
	for i, n := range h.counts {
		seen += n
		if n > 0 && seen >= rank {
			return time.Duration(min(upper(i), h.max))
		}
	}
	return 0
}
