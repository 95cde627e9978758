//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// clockTick is the unit of times in /proc; the kernel shows 100 a second on
// every architecture that Go supports.
const clockTick = 10 * time.Millisecond

// usage is what a process has used so far.
type usage struct {
	cpu time.Duration // user and system, of all threads
	rss int64         // resident memory, bytes
}

func readUsage(pid int) (usage, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return usage{}, fmt.Errorf("process %d: %w", pid, err)
	}
	u, err := parseStat(b)
	if err != nil {
		return usage{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return u, nil
}

// parseStat reads /proc/PID/stat, proc(5). The name in brackets, field 2, may
// hold anything, brackets and spaces too.
func parseStat(b []byte) (usage, error) {
	const utime, stime, rss = 14 - 3, 15 - 3, 24 - 3
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) <= rss {
		return usage{}, fmt.Errorf("stat: %d fields behind the name, want more than %d", len(fields), rss)
	}
	var values [3]int64
	for i, field := range [...]int{utime, stime, rss} {
		n, err := strconv.ParseInt(string(fields[field]), 10, 64)
		if err != nil {
			return usage{}, fmt.Errorf("stat: %w", err)
		}
		values[i] = n
	}
	return usage{
		cpu: time.Duration(values[0]+values[1]) * clockTick,
		rss: values[2] * int64(os.Getpagesize()),
	}, nil
}

// machineBusy returns the CPU time that all processes together have used.
func machineBusy() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseMachine(b)
}

// parseMachine reads the first line of /proc/stat: user, nice, system, idle,
// iowait, irq, softirq.
func parseMachine(b []byte) (time.Duration, error) {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 8 || string(fields[0]) != "cpu" {
		return 0, fmt.Errorf("/proc/stat: first line %.80q", line)
	}
	var busy time.Duration
	for _, i := range [...]int{1, 2, 3, 6, 7} {
		n, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		busy += time.Duration(n) * clockTick
	}
	return busy, nil
}

// sumUsage adds up processes.
func sumUsage(pids []int) (usage, error) {
	var sum usage
	for _, pid := range pids {
		u, err := readUsage(pid)
		if err != nil {
			return usage{}, err
		}
		sum.cpu += u.cpu
		sum.rss += u.rss
	}
	return sum, nil
}
