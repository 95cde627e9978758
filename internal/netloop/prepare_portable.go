//go:build !unix

package netloop

import "net"

// prepare knows no writes that do not wait: every connection is served by a goroutine while it has a queue.
func prepare(net.Conn) int { return -1 }

type oneByOne struct{}

func (oneByOne) submit([]write) {}
func (oneByOne) close()         {}
