//go:build !linux

// Package epoll is for Linux.
package epoll

import "net"

// Conn returns c.
func Conn(c net.Conn) net.Conn { return c }
