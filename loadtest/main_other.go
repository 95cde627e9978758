//go:build !linux

// Command loadtest needs Linux: its clients are driven by epoll, and the cost
// of local servers is read from /proc.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "loadtest: needs Linux (epoll and /proc)")
	os.Exit(1)
}
