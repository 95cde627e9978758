//go:build linux

package main

import (
	"testing"
	"time"
)

func TestConnect(t *testing.T) {
	refuseTwo := func(handshake int) bool { return handshake == 3 || handshake == 4 }
	for _, c := range []struct {
		name   string
		relay  *relay
		rate   float64
		failed int
	}{
		{"as fast as it goes", &relay{}, 0, 0},
		{"at a rate", &relay{}, 100, 0},
		{"two refused", &relay{busy: refuseTwo}, 0, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := runConnect(t.Context(), testSetting(t, startRelay(t, c.relay)), c.rate)
			if err != nil {
				t.Fatal(err)
			}
			if got.FailedConnects != c.failed || got.Refused[503] != c.failed || got.faults() != (c.failed > 0) {
				t.Errorf("result = %+v, want %d refused with 503 and nothing else", got, c.failed)
			}
			if got.Latency.Count != uint64(10-c.failed) || got.Latency.P999 > got.Latency.Max {
				t.Errorf("latency = %+v, want of %d clients", got.Latency, 10-c.failed)
			}
			if c.rate > 0 && got.Seconds < 0.09 {
				t.Errorf("10 clients at %v a second took %v s", c.rate, got.Seconds)
			}
		})
	}
}

// A server that stalls is charged for every connection that was due meanwhile.
func TestConnectStall(t *testing.T) {
	stall := func(handshake int) bool {
		if handshake == 0 {
			time.Sleep(150 * time.Millisecond) // the server's work, not a wait of the test
		}
		return false
	}
	got, err := runConnect(t.Context(), testSetting(t, startRelay(t, &relay{busy: stall})), 100)
	if err != nil || got.Latency.Max < 150 || got.Seconds < 0.15 {
		t.Errorf("runConnect = %+v, %v, want a maximum of at least 150 ms", got, err)
	}
}
