//go:build linux

package main

import (
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"example.com/chorus/internal/node"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "adapter-peer" || os.Args[1] == "room-server") { // a test started this program again
		os.Exit(run(os.Args[1:]))
	}
	if len(os.Args) > 1 && os.Args[1] == "serve" { // as a node of Chorus
		signals := make(chan os.Signal, 2)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		os.Exit(node.Main(os.Args[1:], signals, os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}
