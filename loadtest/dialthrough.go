//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// handshakes are requests of many clients, which share no connections.
var handshakes = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// dialThrough opens a session at its owner by polling, and upgrades it to a
// WebSocket through another node, as happens behind a balancer without
// affinity. It returns what dial does.
func dialThrough(ctx context.Context, owner, via target) (fd int, read []byte, err error) {
	opened, sid, err := handshake(ctx, owner)
	if err != nil {
		return -1, nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", via.addr)
	if err != nil {
		return -1, nil, err
	}
	defer conn.Close() // the descriptor is a copy
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return -1, nil, err
		}
	}
	rest, err := upgrade(conn, via, sid)
	if err != nil {
		return -1, nil, err
	}
	if rest, err = probe(conn, append([]byte(nil), rest...)); err != nil {
		return -1, nil, err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return -1, nil, err
	}
	if fd, err = descriptor(conn); err != nil {
		return -1, nil, err
	}
	return fd, append(shortFrame(opened), rest...), nil
}

// handshake returns the packet that opens a session, and the session's id.
func handshake(ctx context.Context, owner target) (opened []byte, sid string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+owner.addr+owner.path+"?EIO=4&transport=polling", nil)
	if err != nil {
		return nil, "", err
	}
	resp, err := handshakes.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	opened, err = io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return nil, "", fmt.Errorf("handshake: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, "", &refusal{resp.StatusCode, resp.Header.Get("Retry-After") != "", fmt.Sprintf("%s: %.200s", resp.Status, opened)}
	}
	var v struct{ SID string }
	if len(opened) == 0 || json.Unmarshal(opened[1:], &v) != nil || v.SID == "" {
		return nil, "", fmt.Errorf("handshake: %.200q", opened)
	}
	return opened, v.SID, nil
}

// probe makes a WebSocket the transport of its session. read has come already;
// what comes behind the answer is returned.
func probe(conn net.Conn, read []byte) (rest []byte, err error) {
	if _, err := conn.Write(appendFrame(nil, opText, []byte("2probe"))); err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	buf := make([]byte, 4096)
	for {
		_, payload, rest, ok, err := cutFrame(read)
		if err != nil {
			return nil, fmt.Errorf("probe: %w", err)
		}
		if ok {
			if string(payload) != "3probe" {
				return nil, fmt.Errorf("probe: answered %.100q", payload)
			}
			_, err = conn.Write(appendFrame(nil, opText, []byte("5")))
			return rest, err
		}
		n, err := conn.Read(buf)
		if err != nil {
			return nil, fmt.Errorf("probe: %w", err)
		}
		read = append(read, buf[:n]...)
	}
}

// shortFrame is a short text as a server sends it.
func shortFrame(text []byte) []byte {
	if len(text) < 126 {
		return append([]byte{0x80 | opText, byte(len(text))}, text...)
	}
	return append([]byte{0x80 | opText, 126, byte(len(text) >> 8), byte(len(text))}, text...)
}
