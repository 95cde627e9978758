package engineio

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"example.com/chorus/internal/frame"
)

// openWS opens a session over WebSocket.
func openWS(t *testing.T, e *engine, url string) (*websocket.Conn, *client) {
	t.Helper()
	ws := dial(t, url+"/engine.io/?EIO=4&transport=websocket")
	open := parseOpen(t, read(t, ws))
	c := <-e.clients
	if c.session.ID() != open.SID {
		t.Fatalf("sid = %q, want %q", open.SID, c.session.ID())
	}
	return ws, c
}

func TestWebSocketPackets(t *testing.T) {
	text := func(s string) (int, []byte) { return websocket.TextMessage, []byte(s) }
	e := newEngine(t, func(o *Options) { o.MaxPayload = 1000 })
	url := e.server(t).URL
	for name, tc := range map[string]struct {
		kind   int
		data   string
		got    string // the message that the handler gets; "-": none and the session lives
		reason Reason
		code   int
	}{
		"message":           {1, "4hello", "hello", "", 0},
		"empty message":     {1, "4", "", "", 0},
		"unicode":           {1, "4é€😀", "é€😀", "", 0},
		"binary":            {2, "\x01\xff", "\x01\xff", "", 0},
		"empty binary":      {2, "", "", "", 0},
		"base64":            {1, "bAQIDBA==", "\x01\x02\x03\x04", "", 0},
		"largest":           {1, "4" + strings.Repeat("x", 999), strings.Repeat("x", 999), "", 0},
		"open":              {1, "0", "-", "", 0},
		"close":             {1, "1", "-", "", 0},
		"pong":              {1, "3", "-", "", 0},
		"upgrade":           {1, "5", "-", "", 0},
		"noop":              {1, "6", "-", "", 0},
		"empty packet":      {1, "", "", ParseError, 1005},
		"unknown packet":    {1, "7", "", ParseError, 1005},
		"bad base64":        {1, "b*", "", ParseError, 1005},
		"ping":              {1, "2", "", TransportError, 1005},
		"too large":         {1, "4" + strings.Repeat("x", 1000), "", TransportError, 1009},
		"much too large":    {2, strings.Repeat("x", 300_000), "", TransportError, 1009},
		"text is not UTF-8": {1, "4\xff", "", TransportError, 1007},
	} {
		t.Run(name, func(t *testing.T) {
			ws, c := openWS(t, e, url)
			_ = c.session.Send(frame.Packet("4first"), false)
			if got := read(t, ws); got != "4first" {
				t.Fatalf("read %q", got)
			}
			if err := ws.WriteMessage(tc.kind, []byte(tc.data)); err != nil {
				t.Fatal(err)
			}
			if tc.reason == "" {
				want := []string{tc.got, "after"}
				if tc.got == "-" {
					want = want[1:]
				}
				kind, data := text("4after")
				if err := ws.WriteMessage(kind, data); err != nil {
					t.Fatal(err)
				}
				for range want {
					<-c.came
				}
				if got := c.messages(); !slices.Equal(got, want) {
					t.Errorf("messages = %q, want %q", got, want)
				}
				return
			}
			_ = ws.SetReadDeadline(time.Now().Add(10 * time.Second))
			_, b, err := ws.ReadMessage()
			if !websocket.IsCloseError(err, tc.code) {
				t.Errorf("read %q, %v, want close code %d", b, err, tc.code)
			}
			if got := <-c.closed; got.reason != tc.reason {
				t.Errorf("reason = %q (%v), want %q", got.reason, got.detail, tc.reason)
			}
		})
	}
}

// Protocol errors that gorilla finds are answered through the queue: what waited comes first.
func TestProtocolErrorComesAfterTheQueue(t *testing.T) {
	e := newEngine(t, nil)
	ws, c := openWS(t, e, e.server(t).URL)
	for range 100 {
		_ = c.session.Send(text("queued"), false)
	}
	if _, err := ws.NetConn().Write([]byte{0xc1, 0x80, 0, 0, 0, 0}); err != nil { // RSV1
		t.Fatal(err)
	}
	for range 100 {
		if got := read(t, ws); got != "4queued" {
			t.Fatalf("read %q", got)
		}
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseProtocolError) {
		t.Errorf("close = %v, want 1002", err)
	}
	if got := <-c.closed; got.reason != TransportError {
		t.Errorf("reason = %q", got.reason)
	}
}

func TestWebSocketPing(t *testing.T) {
	e := newEngine(t, nil)
	ws, c := openWS(t, e, e.server(t).URL)
	pong := make(chan string, 1)
	ws.SetPongHandler(func(s string) error { pong <- s; return nil })
	if err := ws.WriteControl(websocket.PingMessage, []byte("hi"), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _, _ = ws.ReadMessage() }()
	if got := <-pong; got != "hi" {
		t.Errorf("pong = %q", got)
	}
	waitUntil(t, func() bool { return c.session.pongs.Load() == 0 })
}

func TestPeerClosesWebSocket(t *testing.T) {
	e := newEngine(t, nil)
	url := e.server(t).URL

	ws, c := openWS(t, e, url)
	if err := ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "bye"), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 1000) {
		t.Errorf("answer = %v, want the code echoed", err)
	}
	if got := <-c.closed; got.reason != TransportClose {
		t.Errorf("close frame: reason = %q", got.reason)
	}

	ws, c = openWS(t, e, url)
	_ = ws.NetConn().(*net.TCPConn).SetLinger(0)
	_ = ws.NetConn().Close()
	if got := <-c.closed; got.reason != TransportClose {
		t.Errorf("reset: reason = %q (%v)", got.reason, got.detail)
	}
}

func TestCloseSendsTheQueueFirst(t *testing.T) {
	e := newEngine(t, nil)
	ws, c := openWS(t, e, e.server(t).URL)
	big := frame.Packet("4" + strings.Repeat("x", 500_000))
	if err := c.session.Send(big, false); err != nil {
		t.Fatal(err)
	}
	if err := c.session.Send(text("last"), false); err != nil {
		t.Fatal(err)
	}
	c.session.Close(ForcedClose, nil)
	if got := <-c.closed; got.reason != ForcedClose {
		t.Errorf("reason = %q", got.reason)
	}
	if err := c.session.Send(text("late"), false); err != ErrClosed {
		t.Errorf("Send = %v, want ErrClosed", err)
	}
	if got := read(t, ws); len(got) != 500_001 {
		t.Fatalf("read %d bytes", len(got))
	}
	if got := read(t, ws); got != "4last" {
		t.Fatalf("read %q", got)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNoStatusReceived) {
		t.Errorf("close = %v", err)
	}
}

func TestAttachmentsAreContiguous(t *testing.T) {
	e := newEngine(t, nil)
	ws, c := openWS(t, e, e.server(t).URL)
	packet := frame.Text(append(frame.Begin(0), `451-["x"]`...), []byte{1}, bytes.Repeat([]byte{2}, 70_000))
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		for range 50 {
			_ = c.session.SendWait(t.Context(), text("between"))
			_ = c.session.SendWait(t.Context(), packet)
		}
	})
	for range 50 {
		if got := read(t, ws); got != "4between" {
			t.Fatalf("read %q", got)
		}
		if got := read(t, ws); got != `451-["x"]` {
			t.Fatalf("read %q", got)
		}
		if a, b := read(t, ws), read(t, ws); a != "\x01" || len(b) != 70_000 {
			t.Fatalf("attachments of %d and %d bytes", len(a), len(b))
		}
	}
}

// A reader that never drains is closed by name; what it pins is bounded.
func TestSlowConsumer(t *testing.T) {
	e := newEngine(t, func(o *Options) { o.Outbox.Bytes = 256 << 10 })
	_, c := openWS(t, e, e.server(t).URL)
	_, other := openWS(t, e, e.server(t).URL)
	f := frame.Packet("4" + strings.Repeat("x", 10_000))
	sent := 0
	var err error
	for ; sent < 5000; sent++ {
		if err = c.session.Send(f, false); err != nil {
			break
		}
		if bytes, _ := c.session.outbox.Len(); bytes > 256<<10 {
			t.Fatalf("%d bytes queued", bytes)
		}
		if sent%20 == 0 { // the loop may have its turn
			time.Sleep(time.Millisecond)
		}
	}
	if !errors.Is(err, ErrSlow) {
		t.Fatalf("after %d frames: %v, want ErrSlow", sent, err)
	}
	if got := <-c.closed; got.reason != SlowConsumer {
		t.Errorf("reason = %q", got.reason)
	}
	if err := other.session.Send(f, false); err != nil {
		t.Errorf("other: %v", err)
	}
	if st := e.Stats(); st.Dropped["queue_full"] == 0 || st.Closed[webSocket][SlowConsumer] != 1 {
		t.Errorf("Stats = %+v", st)
	}
	if sent > 1000 {
		t.Errorf("the kernel took %d frames of 10 kB", sent)
	}
}

func TestCloseInConnect(t *testing.T) {
	e := newEngine(t, nil)
	connect := e.options.Connect
	e.options.Connect = func(s *Session) Handler {
		h := connect(s)
		_ = s.Send(text("sorry"), false)
		s.Close(ForcedClose, nil)
		return h
	}
	url := e.server(t).URL + "/engine.io/?EIO=4&transport="
	ws := dial(t, url+"websocket")
	parseOpen(t, read(t, ws))
	if got := read(t, ws); got != "4sorry" {
		t.Errorf("read %q", got)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 1005) {
		t.Errorf("close = %v", err)
	}
	if got := <-(<-e.clients).closed; got.reason != ForcedClose {
		t.Errorf("reason = %q", got.reason)
	}
	_, body, _ := do(t, "GET", url+"polling", "")
	if !strings.HasSuffix(body, "\x1e4sorry") {
		t.Errorf("poll = %q", body)
	}
	if _, body, _ = do(t, "GET", url+"polling&sid="+strings.Split(body, `"`)[3], ""); body != "6\x1e1" {
		t.Errorf("second poll = %q", body)
	}
	if got := <-(<-e.clients).closed; got.reason != ForcedClose {
		t.Errorf("reason = %q", got.reason)
	}
}

// TLS has no descriptor to write to without waiting: order and the close frame are the same.
func TestWebSocketOverTLS(t *testing.T) {
	e := newEngine(t, nil)
	s := httptest.NewTLSServer(e)
	t.Cleanup(s.Close)
	d := websocket.Dialer{TLSClientConfig: s.Client().Transport.(*http.Transport).TLSClientConfig}
	ws, _, err := d.Dial("wss"+strings.TrimPrefix(s.URL, "https")+"/engine.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	parseOpen(t, read(t, ws))
	c := <-e.clients
	const messages = 2000
	for n := range messages {
		if err := c.session.SendWait(t.Context(), text(strconv.Itoa(n))); err != nil {
			t.Fatal(err)
		}
	}
	c.session.Close(ForcedClose, nil)
	for n := range messages {
		if got := read(t, ws); got != "4"+strconv.Itoa(n) {
			t.Fatalf("read %q, want %d", got, n)
		}
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNoStatusReceived) {
		t.Errorf("close = %v", err)
	}
}

func TestSendAllocatesNothing(t *testing.T) {
	e := newEngine(t, nil)
	_, c := openPolling(t, e, e.server(t).URL)
	f := text("x")
	buf := make([]*frame.Frame, 0, 8)
	if n := testing.AllocsPerRun(1000, func() {
		_ = c.session.Send(f, false)
		c.session.outbox.Take(buf, 1000, (*frame.Frame).Size)
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
