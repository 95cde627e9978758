//go:build linux

package main

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "adapter-peer" || os.Args[1] == "room-server") { // a test started this program again
		os.Exit(run(os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}
