package siotest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// HandshakeError is the answer to a handshake that was refused before any packet.
type HandshakeError struct {
	Status int    // of HTTP
	Body   string // for a refusal of the server itself, its message
}

// Error tells the answer.
func (e *HandshakeError) Error() string {
	return fmt.Sprintf("handshake answered %d %s: %s", e.Status, http.StatusText(e.Status), e.Body)
}

// Opcodes of WebSocket frames (RFC 6455 section 5.2).
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
)

// maxFrame is more than a server sends.
const maxFrame = 1 << 30

var errFrame = errors.New("WebSocket frame that no Socket.IO server sends")

// webSocket is the client's end of a WebSocket with no network below.
type webSocket struct {
	conn   net.Conn
	reader *bufio.Reader
}

// dial lets net/http serve one connection in memory and asks it for a WebSocket.
func dial(ctx context.Context, h http.Handler, r *http.Request) (*webSocket, error) {
	near, far := net.Pipe()
	listener := &oneConn{conn: addressed{far}}
	server := http.Server{Handler: h}
	_ = server.Serve(listener) // returns at once: the connection has a goroutine of its own

	ws := &webSocket{conn: near, reader: bufio.NewReader(near)}
	stop := context.AfterFunc(ctx, func() { _ = near.SetDeadline(time.Now()) })
	err := ws.shakeHands(r)
	if !stop() && err == nil {
		err = errors.New("interrupted")
	}
	if err != nil {
		_ = near.Close()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, err
	}
	return ws, nil
}

func (ws *webSocket) shakeHands(r *http.Request) error {
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==") // any 16 bytes: nobody in between could mix up answers
	if err := r.Write(ws.conn); err != nil {
		return err
	}
	resp, err := http.ReadResponse(ws.reader, r)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		return &HandshakeError{Status: resp.StatusCode, Body: strings.TrimSpace(string(body))}
	}
	return nil
}

// read returns the next message, or io.EOF when the server said goodbye.
func (ws *webSocket) read() (binary bool, data []byte, err error) {
	opcode, data, err := ws.readFrame()
	switch {
	case err != nil:
		return false, nil, err
	case opcode == opText, opcode == opBinary:
		return opcode == opBinary, data, nil
	case opcode == opClose:
		return false, nil, io.EOF
	}
	return false, nil, errFrame
}

func (ws *webSocket) readFrame() (opcode byte, data []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(ws.reader, head[:]); err != nil {
		return 0, nil, err
	}
	if head[0]&0x80 == 0 { // the server sends every message in one frame
		return 0, nil, errFrame
	}
	size := uint64(head[1])
	switch head[1] {
	case 126:
		var n uint16
		err = binary.Read(ws.reader, binary.BigEndian, &n)
		size = uint64(n)
	case 127:
		err = binary.Read(ws.reader, binary.BigEndian, &size)
	}
	if err == nil && size > maxFrame {
		err = errFrame
	}
	if err != nil {
		return 0, nil, err
	}
	data = make([]byte, size)
	_, err = io.ReadFull(ws.reader, data)
	return head[0] & 0x0f, data, err
}

// write sends a frame. A client must mask it; the key is zero, which changes no byte.
func (ws *webSocket) write(opcode byte, data []byte) error {
	const masked = 0x80
	b := []byte{0x80 | opcode}
	switch n := len(data); {
	case n < 126:
		b = append(b, masked|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, masked|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|127), uint64(n))
	}
	b = append(b, 0, 0, 0, 0)
	_, err := ws.conn.Write(append(b, data...))
	return err
}

// oneConn is a listener with a single connection.
type oneConn struct{ conn net.Conn }

func (l *oneConn) Accept() (net.Conn, error) {
	if l.conn == nil {
		return nil, net.ErrClosed
	}
	c := l.conn
	l.conn = nil
	return c, nil
}

func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return addressed{}.LocalAddr() }

// addressed gives the server's end of a pipe addresses that can be parsed: of the block for documentation, as
// httptest does.
type addressed struct{ net.Conn }

func (addressed) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 80} }
func (addressed) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1234} }
