package engineio

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// recorded is a connection whose peer has said everything already.
type recorded struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func (c *recorded) Read(b []byte) (int, error)       { return c.in.Read(b) }
func (c *recorded) Write(b []byte) (int, error)      { return c.out.Write(b) }
func (c *recorded) Close() error                     { return nil }
func (c *recorded) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *recorded) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *recorded) SetDeadline(time.Time) error      { return nil }
func (c *recorded) SetReadDeadline(time.Time) error  { return nil }
func (c *recorded) SetWriteDeadline(time.Time) error { return nil }

// hijackable answers a request for a WebSocket with a recorded connection.
type hijackable struct {
	*httptest.ResponseRecorder
	conn *recorded
}

func (h *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(strings.NewReader("")), bufio.NewWriter(io.Discard)), nil
}

func webSocketRequest() *http.Request {
	r := httptest.NewRequest("GET", "/engine.io/?EIO=4&transport=websocket", nil)
	for _, h := range upgradeHeaders {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Set(k, v)
	}
	r.Header.Set("Sec-WebSocket-Extensions", "permessage-deflate")
	return r
}

// FuzzWebSocket compares what a session reads with what plain gorilla reads from the same bytes: the same
// messages, and an end no later. Only the bound on inflated size and UTF-8 are ours.
func FuzzWebSocket(f *testing.F) {
	const limit = 2000
	e := New(Options{Path: "/engine.io/", MaxPayload: limit, WriteTimeout: time.Second, WebSocket: true, PerMessageDeflate: &Deflate{}})
	f.Cleanup(func() { _ = e.Close(f.Context(), ServerShutdown) })
	frame := func(head byte, payload string) string {
		return string([]byte{head, 0x80 | byte(len(payload)), 0, 0, 0, 0}) + payload
	}
	f.Add([]byte(frame(0x81, "4hello") + frame(0x82, "\x01\x02") + frame(0x88, "\x03\xe8bye")))
	f.Add([]byte(frame(0x01, "4hel") + frame(0x89, "ping") + frame(0x80, "lo") + frame(0x81, "4\xff")))
	f.Add([]byte(frame(0xc1, string(deflated([]byte("4hello")))) + frame(0xc2, string(deflated(make([]byte, 1<<20)))[:100])))
	f.Add(masked(0xc2, deflated(make([]byte, limit+1))))
	f.Add(masked(0x81, make([]byte, limit+1)))
	f.Add([]byte(frame(0xc1, "\xff\xff\xff") + frame(0x83, "")))
	f.Fuzz(func(t *testing.T, wire []byte) {
		ours := &recorded{in: bytes.NewReader(wire)}
		answer := httptest.NewRecorder()
		ws, _ := e.upgrade(&hijackable{answer, ours}, webSocketRequest(), &query{upgrade: true, protocol: 4})
		if ws == nil {
			t.Fatalf("no 101 but %d %q", answer.Code, answer.Body)
		}
		theirs := &recorded{in: bytes.NewReader(wire)}
		u := websocket.Upgrader{EnableCompression: true, ReadBufferSize: readBuffer, CheckOrigin: func(*http.Request) bool { return true }}
		g, err := u.Upgrade(&hijackable{httptest.NewRecorder(), theirs}, webSocketRequest(), nil)
		if err != nil {
			t.Fatal(err)
		}
		g.SetReadLimit(limit)
		for {
			binary, data, err := ws.next()
			kind, r, want := g.NextReader()
			var message []byte
			if want == nil {
				message, want = io.ReadAll(io.LimitReader(r, limit+1))
			}
			switch {
			case want == nil && len(message) > limit:
				want = websocket.ErrReadLimit
			case want == nil && kind == websocket.TextMessage && !utf8.Valid(message):
				want = errNotUTF8
			}
			if err == nil && want == nil {
				if binary != (kind == websocket.BinaryMessage) || !bytes.Equal(data, message) {
					t.Fatalf("message %q, binary %v, want %q", data, binary, message)
				}
				continue
			}
			if err == nil || want == nil || err.Error() != want.Error() {
				t.Fatalf("error %v, want %v", err, want)
			}
			var closed *websocket.CloseError
			broken := errors.As(err, &closed) && closed.Code == websocket.CloseAbnormalClosure || err == io.EOF
			if broken != (ws.lastWords == nil) {
				t.Fatalf("%v: last words %v", err, ws.lastWords)
			}
			return
		}
	})
}
