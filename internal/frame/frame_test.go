package frame_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"

	"example.com/chorus/internal/frame"
)

// gorillaBytes returns what gorilla's server writes for the messages.
func gorillaBytes(t *testing.T, messages ...[]byte) []byte {
	t.Helper()
	done := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		u := websocket.Upgrader{WriteBufferSize: 1 << 20}
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		for i, m := range messages {
			kind := websocket.BinaryMessage
			if i == 0 {
				kind = websocket.TextMessage
			}
			if err := c.WriteMessage(kind, m); err != nil {
				t.Error(err)
			}
		}
	}))
	defer s.Close()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	<-done
	_, b, _ = bytes.Cut(b, []byte("\r\n\r\n"))
	return b
}

func TestWebSocketBytesAreGorillas(t *testing.T) {
	for _, size := range []int{1, 125, 126, 65535, 65536, 200_000} {
		packet := strings.Repeat("x", size)
		for _, attachments := range [][][]byte{nil, {{}}, {{1, 2, 3}, bytes.Repeat([]byte{7}, size)}} {
			f := frame.Text(append(frame.Begin(0), packet...), attachments...)
			want := gorillaBytes(t, append([][]byte{[]byte(packet)}, attachments...)...)
			if !bytes.Equal(f.WebSocket(), want) {
				t.Errorf("size %d, %d attachments: %d bytes differ from gorilla's %d", size, len(attachments), f.Size(), len(want))
			}
		}
	}
}

func TestPolling(t *testing.T) {
	for name, tc := range map[string]struct {
		f        *frame.Frame
		want     string
		messages int
	}{
		"text":        {frame.Packet("4hello"), "4hello", 1},
		"ping":        {frame.Packet("2"), "2", 0},
		"attachments": {frame.Text(append(frame.Begin(0), "4hello"...), []byte{1, 2, 3, 4}, nil), "4hello\x1ebAQIDBA==\x1eb", 3},
		"raw":         {frame.Raw([]byte{0x88, 0}), "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					if got := string(tc.f.Polling()); got != tc.want || tc.f.PollingSize() != len(tc.want) {
						t.Errorf("Polling = %q, size %d, want %q", got, tc.f.PollingSize(), tc.want)
					}
				})
			}
			wg.Wait()
			if got := tc.f.Messages(); got != tc.messages {
				t.Errorf("Messages = %d, want %d", got, tc.messages)
			}
		})
	}
}

func TestTextKeepsTheBuffer(t *testing.T) {
	b := append(frame.Begin(100), "4hello"...)
	f := frame.Text(b)
	if &f.WebSocket()[2] != &b[frame.Headroom] {
		t.Error("the text was copied")
	}
	if n := binary.BigEndian.Uint16(f.WebSocket()); n != 0x8106 {
		t.Errorf("header = %x, want 8106", n)
	}
}

func TestWritten(t *testing.T) {
	calls := 0
	f := frame.Packet("4hello")
	g := f.WithWritten(func() { calls++ })
	f.Written()
	g.Written()
	if calls != 1 {
		t.Errorf("%d calls, want 1", calls)
	}
	if &f.WebSocket()[0] != &g.WebSocket()[0] {
		t.Error("the bytes were copied")
	}
}

func BenchmarkText(b *testing.B) {
	packet := "42" + strings.Repeat("x", 100)
	b.ReportAllocs()
	for b.Loop() {
		frame.Text(append(frame.Begin(len(packet)), packet...))
	}
}
