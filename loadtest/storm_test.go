//go:build linux

package main

import (
	"sync/atomic"
	"testing"
	"time"
)

func testStorm() stormPlan {
	return stormPlan{bystanders: 4, within: 50 * time.Millisecond, patience: 20 * time.Second}
}

func TestStorm(t *testing.T) {
	var refused atomic.Int64
	r := startRelay(t, &relay{every: 30 * time.Millisecond, busy: func(handshake int) bool {
		return handshake >= 14 && refused.Add(1) <= 3 // the first that come back
	}})
	got, err := runStorm(t.Context(), testSetting(t, r), testStorm())
	if err != nil {
		t.Fatal(err)
	}
	if got.faults() || got.Back != 10 || got.Latency.Count != 10 {
		t.Errorf("result = %+v, want 10 clients back, no faults", got)
	}
	if got.Retries != 3 || got.Refused[503] != 3 || got.RetryAfter != 3 || got.Failed != 0 {
		t.Errorf("retries, refused, with Retry-After, failed = %d, %v, %d, %d, want 3, 3, 3, 0", got.Retries, got.Refused, got.RetryAfter, got.Failed)
	}
	if got.Latency.Max < 400 {
		t.Errorf("latency = %+v, want a maximum that includes the wait after a refusal", got.Latency)
	}
	if got.LongestSilence < 0.03 || got.PeakRatio < 1 || got.MicrosPerConnect <= 0 {
		t.Errorf("silence, ratio, CPU = %v, %v, %v, want figures", got.LongestSilence, got.PeakRatio, got.MicrosPerConnect)
	}
}

// A server that takes nobody back is given up, and does not look good.
func TestStormAbandoned(t *testing.T) {
	r := startRelay(t, &relay{every: 30 * time.Millisecond, busy: func(handshake int) bool { return handshake >= 14 }})
	plan := testStorm()
	plan.patience = 300 * time.Millisecond
	got, err := runStorm(t.Context(), testSetting(t, r), plan)
	if err != nil || got.Back != 0 || got.Abandoned != 10 || !got.faults() {
		t.Errorf("runStorm = %+v, %v, want 10 abandoned", got, err)
	}
}

func TestBackoff(t *testing.T) {
	for _, c := range []struct {
		failed    int
		low, high time.Duration
	}{
		{1, 500 * time.Millisecond, 1500 * time.Millisecond},
		{2, time.Second, 3 * time.Second},
		{3, 2 * time.Second, 5 * time.Second},
		{4, 4 * time.Second, 5 * time.Second},
		{100, 5 * time.Second, 5 * time.Second},
	} {
		for range 100 {
			if got := backoff(c.failed); got < c.low || got > c.high {
				t.Errorf("backoff(%d) = %v, want %v to %v", c.failed, got, c.low, c.high)
			}
		}
	}
}

func TestHeartbeat(t *testing.T) {
	var h heartbeat
	if err := h.learn([]byte(`0{"sid":"x","pingInterval":300,"pingTimeout":200}`)); err != nil || h.lapse() != 500*time.Millisecond {
		t.Errorf("learn = %v, lapse = %v, want 500ms", err, h.lapse())
	}
	if err := h.learn([]byte(`0{`)); err == nil {
		t.Error("learn of a broken packet: no error")
	}
	s := silence{since: time.Second}
	s.end(3 * time.Second)
	s.end(4 * time.Second)
	if want := (silence{4 * time.Second, 2 * time.Second}); s != want {
		t.Errorf("silence = %v, want %v", s, want)
	}
}
