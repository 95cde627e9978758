//go:build linux

package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBucketBounds(t *testing.T) {
	for _, v := range []int64{0, 1, 63, 64, 127, 128, 129, 255, 256, 1_000_000, 29_000_001, maxLatency - 1, maxLatency} {
		u := upper(bucket(v))
		if u < v || float64(u-v) > float64(v)/64 {
			t.Errorf("upper(bucket(%d)) = %d, want at least the value and at most 1/64 more", v, u)
		}
		if v > 0 && upper(bucket(v)-1) >= v {
			t.Errorf("upper(bucket(%d)-1) = %d, want less than the value", v, upper(bucket(v)-1))
		}
	}
	if got := bucket(maxLatency); got != buckets-1 {
		t.Errorf("bucket(maxLatency) = %d, want the last, %d", got, buckets-1)
	}
}

func TestQuantileAgainstSortedValues(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var a, b histogram
	var values []int64
	for i := range 20_000 {
		v := int64(math.Exp(r.Float64()*20) * 1000) // 1 us to 8 min
		values = append(values, v)
		[]*histogram{&a, &b}[i%2].record(v)
	}
	a.merge(&b)
	slices.Sort(values)
	for _, q := range []float64{0.0001, 0.5, 0.9, 0.99, 0.999, 1} {
		want := values[int(math.Ceil(q*float64(len(values))))-1]
		got := int64(a.quantile(q))
		if got < want || float64(got-want) > float64(want)/64 {
			t.Errorf("quantile(%v) = %d, want %d or up to 1/64 more", q, got, want)
		}
	}
	if a.max != values[len(values)-1] || a.total != uint64(len(values)) {
		t.Errorf("max, total = %d, %d, want %d, %d", a.max, a.total, values[len(values)-1], len(values))
	}
}

func TestHistogramLimits(t *testing.T) {
	var h histogram
	if got := h.quantile(0.99); got != 0 {
		t.Errorf("quantile of nothing = %v, want 0", got)
	}
	h.record(-5) // a clock that went backwards
	h.record(math.MaxInt64)
	if got := h.quantile(0.5); got != 0 {
		t.Errorf("quantile(0.5) = %v, want 0", got)
	}
	if got := h.quantile(1); got != time.Duration(maxLatency) {
		t.Errorf("quantile(1) = %v, want %v", got, time.Duration(maxLatency))
	}
}
