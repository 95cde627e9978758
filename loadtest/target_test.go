//go:build linux

package main

import (
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for _, c := range []struct {
		url    string
		remote bool
		want   target
		err    string // part of the error
	}{
		{url: "http://127.0.0.1:3000", want: target{"127.0.0.1:3000", "/socket.io/"}},
		{url: "ws://localhost:3000/", want: target{"localhost:3000", "/socket.io/"}},
		{url: "http://[::1]:3000/chat/", want: target{"[::1]:3000", "/chat/"}},
		{url: "http://127.0.0.2", want: target{"127.0.0.2:80", "/socket.io/"}},
		{url: "http://example.com:3000", err: "--allow-remote"},
		{url: "http://10.0.0.1:3000", err: "--allow-remote"},
		{url: "http://0.0.0.0:3000", err: "--allow-remote"},
		{url: "http://localhost.example.com", err: "--allow-remote"},
		{url: "http://10.0.0.1:3000", remote: true, want: target{"10.0.0.1:3000", "/socket.io/"}},
		{url: "https://127.0.0.1:3000", err: `scheme "https"`},
		{url: "127.0.0.1:3000", err: "--url"},
		{url: "http://", err: "no host"},
	} {
		got, err := parseTarget(c.url, c.remote)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("parseTarget(%q, %v) = %v, want an error with %q", c.url, c.remote, err, c.err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("parseTarget(%q, %v) = %v, %v, want %v", c.url, c.remote, got, err, c.want)
		}
	}
}
