//go:build linux

package main

import (
	"os"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// A small drain of real nodes: everyone is back, nobody else noticed.
func TestDrain(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plan := drainPlan{
		Rate: 20, Size: 100, Before: 200 * time.Millisecond, Relayed: 0.5, LameDuck: 300 * time.Millisecond, Spread: time.Second,
		Limit: 1000, Patience: 20 * time.Second,
	}
	spec := plan.spec(3)
	spec.redis, spec.redisURL = false, "redis://"+miniredis.RunT(t).Addr()
	set, stop, err := start(t.Context(), chorus{self}, spec, 120)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	r, err := runDrain(t.Context(), set, plan)
	if err != nil {
		t.Fatal(err)
	}
	if r.faults() || len(r.Errors) > 0 {
		t.Errorf("result = %+v, want no faults", r)
	}
	// A third has its session there, and of the relayed half another third its relay.
	if r.Moving < 40 || r.Moving > 80 || r.Back != r.Moving || r.Left != int64(r.Moving) || r.Closed != r.Moving {
		t.Errorf("moving, back, left, closed = %d, %d, %d, %d, want the same", r.Moving, r.Back, r.Left, r.Closed)
	}
	if r.Before == nil || r.During == nil || r.Ratio <= 0 || r.Outage == nil || r.Outage.P50 < 400 || r.Missed == 0 {
		t.Errorf("result = %+v, want figures", r)
	}
}
