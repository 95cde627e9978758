//go:build linux

package main

import (
	"bytes"
	"testing"
	"time"
)

func testFlood() floodPlan {
	return floodPlan{
		sending: sending{Duration: 200 * time.Millisecond, Warmup: 50 * time.Millisecond, Drain: 500 * time.Millisecond, Size: 100},
		event:   defaultEvent, inflight: 4, senders: 2,
	}
}

// The server sets the pace: there are never more messages under way than allowed, and every one comes back.
func TestFlood(t *testing.T) {
	r := startRelay(t, &relay{})
	got, err := runFlood(t.Context(), testSetting(t, r), testFlood())
	if err != nil {
		t.Fatal(err)
	}
	if got.faults() || got.Sent < 8 || got.Delivered != int64(got.Sent)*10 {
		t.Errorf("result = %+v, want several messages, each to 10 clients, and no faults", got)
	}
	if got.Measured == 0 || got.PerSecond <= 0 || got.Own == nil || got.Own.P999 > got.Own.Max {
		t.Errorf("measured %d, %v a second, latency %+v, want figures", got.Measured, got.PerSecond, got.Own)
	}
}

// A message that its sender does not get back is not followed by another one.
func TestFloodFollowsTheEcho(t *testing.T) {
	r := startRelay(t, &relay{fault: func(client, n int, p []byte) [][]byte {
		if client < 2 {
			return nil // the senders hear nothing
		}
		return [][]byte{p}
	}})
	got, err := runFlood(t.Context(), testSetting(t, r), testFlood())
	if err != nil {
		t.Fatal(err)
	}
	if got.Sent != 4 || got.Lost != 8 || got.Delivered != 32 {
		t.Errorf("sent, lost, delivered = %d, %d, %d, want 4, 8, 32", got.Sent, got.Lost, got.Delivered)
	}
}

func TestFloodFaults(t *testing.T) {
	r := startRelay(t, &relay{fault: func(client, n int, p []byte) [][]byte {
		switch {
		case client == 3 && n == 2:
			return [][]byte{p, p}
		case client == 4 && n == 3:
			return [][]byte{bytes.Replace(p, []byte("xx"), []byte("x"), 1)}
		}
		return [][]byte{p}
	}})
	got, err := runFlood(t.Context(), testSetting(t, r), testFlood())
	if err != nil {
		t.Fatal(err)
	}
	if got.Duplicated != 1 || got.Damaged != 1 || got.Lost != 1 {
		t.Errorf("duplicated, damaged, lost = %d, %d, %d, want 1 each", got.Duplicated, got.Damaged, got.Lost)
	}
}
