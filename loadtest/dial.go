//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
)

const (
	websocketKey  = "Y2hvcnVzIGxvYWQgdGVzdA==" // 16 bytes, the same in every handshake
	websocketGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
)

// smallBuffer is what the kernel may keep for a client that will not read, in
// bytes: the rest is the server's.
const smallBuffer = 4096

// A refusal is an answer to a handshake that is not the wanted one.
type refusal struct {
	status     int
	retryAfter bool // the server said when to come back
	text       string
}

func (r *refusal) Error() string { return "handshake: " + r.text }

// dial opens a WebSocket and returns its descriptor, which does not wait, and
// what the server sent behind its answer.
func dial(ctx context.Context, t target, small bool) (fd int, read []byte, err error) {
	var d net.Dialer
	if small {
		d.Control = shrinkBuffer
	}
	conn, err := d.DialContext(ctx, "tcp", t.addr)
	if err != nil {
		return -1, nil, err
	}
	defer conn.Close() // the descriptor is a copy
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return -1, nil, err
		}
	}
	if read, err = upgrade(conn, t, ""); err != nil {
		return -1, nil, err
	}
	if fd, err = descriptor(conn); err != nil {
		return -1, nil, err
	}
	return fd, read, nil
}

// shrinkBuffer takes effect only before the connection exists.
func shrinkBuffer(_, _ string, raw syscall.RawConn) error {
	var failure error
	err := raw.Control(func(fd uintptr) {
		failure = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, smallBuffer)
	})
	return errors.Join(err, failure)
}

// upgrade makes a connection a WebSocket: that of a session, or without one of a new session.
func upgrade(conn net.Conn, t target, sid string) (read []byte, err error) {
	if sid != "" {
		sid = "&sid=" + sid
	}
	_, err = fmt.Fprintf(conn, "GET %s?EIO=4&transport=websocket%s HTTP/1.1\r\nHost: %s\r\n"+
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
		t.path, sid, t.addr, websocketKey)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(conn, 4096)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		return nil, &refusal{resp.StatusCode, resp.Header.Get("Retry-After") != "", fmt.Sprintf("%s: %s", resp.Status, body)}
	}
	sum := sha1.Sum([]byte(websocketKey + websocketGUID))
	if got, want := resp.Header.Get("Sec-WebSocket-Accept"), base64.StdEncoding.EncodeToString(sum[:]); got != want {
		return nil, fmt.Errorf("handshake: Sec-WebSocket-Accept %q, want %q", got, want)
	}
	return r.Peek(r.Buffered())
}

// descriptor copies the descriptor of a connection, out of reach of Go's own
// poller, which would be woken by every message for nothing.
func descriptor(conn net.Conn) (int, error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return -1, fmt.Errorf("descriptor of a %T", conn)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var errno syscall.Errno
	err = raw.Control(func(of uintptr) {
		n, _, e := syscall.Syscall(syscall.SYS_FCNTL, of, syscall.F_DUPFD_CLOEXEC, 0)
		fd, errno = int(n), e
	})
	if errno != 0 {
		err = errors.Join(err, errno)
	}
	return fd, err
}
