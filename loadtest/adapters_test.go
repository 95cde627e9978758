//go:build linux

package main

import "testing"

// Both ends in processes of their own, a Redis between them: every message arrives, with every adapter.
func TestAdapterPeers(t *testing.T) {
	c := adaptersCmd{Messages: 200, Rate: 2000, Size: 100}
	for _, mode := range adapterModes {
		o, err := c.measure(t.Context(), mode, 1)
		if err != nil {
			t.Errorf("%s: %v", mode, err)
			continue
		}
		if o.figures[0] <= 0 || o.figures[1] <= 0 {
			t.Errorf("%s: CPU per message %v", mode, o.figures)
		}
	}
}
