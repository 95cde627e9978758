//go:build linux

package main

import (
	"os"
	"syscall"
	"testing"
)

// A peak is found though the memory is gone when the run ends; a restart forgets it.
func TestMemoryPeak(t *testing.T) {
	const size = 128 << 20
	m := (&setting{pids: []int{os.Getpid()}}).watchMemory()
	before := m.restart()
	b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] = 1
	}
	m.look()
	if err := syscall.Munmap(b); err != nil {
		t.Fatal(err)
	}
	peak := m.peak.Load()
	if peak < before+size/2 {
		t.Errorf("peak = %d after %d more than %d were used", peak, size, before)
	}
	m.restart()
	if after := m.stop(); after > peak-size/2 {
		t.Errorf("peak after a restart = %d, want less than the %d before", after, peak)
	}
}
