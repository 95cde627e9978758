//go:build linux

package main

import (
	"os"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	stat := "42 (a b) (c)) S 1 1 1 0 -1 4194560 5 0 0 0 123 45 0 0 20 0 7 0 100 9999 31 18446744073709551615 1 1"
	got, err := parseStat([]byte(stat))
	want := usage{cpu: 1680 * time.Millisecond, rss: 31 * int64(os.Getpagesize())}
	if err != nil || got != want {
		t.Errorf("parseStat = %v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"", "42 (x) S 1", "42 (x) S 1 1 1 0 -1 4194560 5 0 0 0 ab 45 0 0 20 0 7 0 100 9999 31 1"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("parseStat(%q): no error", bad)
		}
	}
}

func TestParseMachine(t *testing.T) {
	got, err := parseMachine([]byte("cpu  100 2 30 4000 50 6 7 8 0 0\ncpu0 1 1 1 1 1 1 1\n"))
	if want := 1450 * time.Millisecond; err != nil || got != want {
		t.Errorf("parseMachine = %v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"", "cpu 1 2", "intr 1 2 3 4 5 6 7 8", "cpu a 2 3 4 5 6 7 8"} {
		if _, err := parseMachine([]byte(bad)); err == nil {
			t.Errorf("parseMachine(%q): no error", bad)
		}
	}
}

func TestReadUsage(t *testing.T) {
	before, err := readUsage(os.Getpid())
	if err != nil || before.rss < 1<<20 {
		t.Fatalf("readUsage(self) = %v, %v, want at least 1 MiB resident", before, err)
	}
	machine, err := machineBusy()
	if err != nil || machine < before.cpu {
		t.Errorf("machineBusy() = %v, %v, want at least what this process used, %v", machine, err, before.cpu)
	}
	deadline := time.Now().Add(20 * time.Second)
	for after := before; after.cpu == before.cpu; after, err = readUsage(os.Getpid()) {
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("readUsage(self) = %v, %v after busy work, want more CPU than %v", after, err, before)
		}
	}
	if _, err := sumUsage([]int{os.Getpid(), -1}); err == nil {
		t.Error("sumUsage with a process that does not exist: no error")
	}
}
