// Command chorus is one node of a Socket.IO broadcast cluster, or a whole small cluster for trying it.
package main

import (
	"os"
	"os/signal"
	"syscall"

	"example.com/chorus/internal/node"
)

func main() {
	signals := make(chan os.Signal, 2) // one to end, one to end at once
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(node.Main(os.Args[1:], signals, os.Stdout, os.Stderr))
}
