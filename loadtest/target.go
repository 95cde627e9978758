//go:build linux

package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
)

// target is one node under test.
type target struct {
	addr string // host:port
	path string // of the Engine.IO endpoint, "/socket.io/"
}

// parseTarget reads the URL of a node. Hosts that are not this machine are
// refused unless remote is true: a load test on somebody else's server is an
// attack.
func parseTarget(raw string, remote bool) (target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return target{}, fmt.Errorf("--url: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "ws" {
		return target{}, fmt.Errorf("--url %s: scheme %q, want http or ws", raw, u.Scheme)
	}
	if u.Hostname() == "" {
		return target{}, fmt.Errorf("--url %s: no host", raw)
	}
	if !remote && !loopback(u.Hostname()) {
		return target{}, fmt.Errorf("--url %s: not a loopback address; --allow-remote permits it", raw)
	}
	t := target{addr: u.Host, path: u.Path}
	if u.Port() == "" {
		t.addr = net.JoinHostPort(u.Hostname(), "80")
	}
	if t.path == "" || t.path == "/" {
		t.path = "/socket.io/"
	}
	return t, nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
