package engineio

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/outbox"
)

// end is what Handler.Closed was told.
type closedAs struct {
	reason Reason
	detail error
}

// client is a Handler that remembers what it got.
type client struct {
	session *Session
	closed  chan closedAs
	onMsg   func(binary bool, data []byte) bool // nil: remember and go on

	mu   sync.Mutex
	got  []string
	came chan struct{} // one item per message
}

func (c *client) Message(binary bool, data []byte) bool {
	if c.onMsg != nil {
		return c.onMsg(binary, data)
	}
	c.mu.Lock()
	c.got = append(c.got, string(data))
	c.mu.Unlock()
	c.came <- struct{}{}
	return true
}

func (c *client) Closed(reason Reason, detail error) { c.closed <- closedAs{reason, detail} }

func (c *client) messages() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.got...)
}

// engine under test with what connected to it.
type engine struct {
	*Engine
	clients chan *client
	onMsg   func(c *client, binary bool, data []byte) bool
}

func newEngine(t *testing.T, change func(*Options)) *engine {
	t.Helper()
	e := &engine{clients: make(chan *client, 2000)}
	o := Options{
		Path:           "/engine.io/",
		PingInterval:   25 * time.Second,
		PingTimeout:    20 * time.Second,
		UpgradeTimeout: 10 * time.Second,
		WriteTimeout:   10 * time.Second,
		InboxTimeout:   10 * time.Second,
		MaxPayload:     1_000_000,
		Polling:        true,
		WebSocket:      true,
		AllowUpgrades:  true,
		Outbox:         outbox.Limits{Bytes: 1 << 20, Frames: 4096},
		NetLoop:        netLoop,
		CheckOrigin:    func(*http.Request) bool { return true },
		Connect: func(s *Session) Handler {
			c := &client{session: s, closed: make(chan closedAs, 2), came: make(chan struct{}, 10_000)}
			if e.onMsg != nil {
				c.onMsg = func(binary bool, data []byte) bool { return e.onMsg(c, binary, data) }
			}
			e.clients <- c
			return c
		},
	}
	if change != nil {
		change(&o)
	}
	var err error
	if e.Engine, err = New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := e.Close(ctx, ServerShutdown); err != nil && !strings.Contains(err.Error(), "engine is closed") {
			t.Errorf("Close: %v", err)
		}
	})
	return e
}

// server serves the engine on loopback.
func (e *engine) server(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(e)
	t.Cleanup(s.Close)
	return s
}

type openData struct {
	SID                       string
	Upgrades                  []string
	PingInterval, PingTimeout int
	MaxPayload                int
}

func parseOpen(t *testing.T, packet string) openData {
	t.Helper()
	var d openData
	if !strings.HasPrefix(packet, "0") || json.Unmarshal([]byte(packet[1:]), &d) != nil {
		t.Fatalf("open packet = %q", packet)
	}
	return d
}

func do(t *testing.T, method, url, body string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}

func dial(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	ws, res, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(url, "http"), nil)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	_ = res.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	return ws
}

func read(t *testing.T, ws *websocket.Conn) string {
	t.Helper()
	_ = ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, b, err := ws.ReadMessage()
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return string(b)
}

func write(t *testing.T, ws *websocket.Conn, text string) {
	t.Helper()
	if err := ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatalf("write: %v", err)
	}
}

func text(s string) *frame.Frame { return frame.Packet("4" + s) }

func TestUpgradeCarriesEverything(t *testing.T) {
	e := newEngine(t, nil)
	base := e.server(t).URL + "/engine.io/?EIO=4&transport="
	status, body, _ := do(t, "GET", base+"polling", "")
	if status != 200 {
		t.Fatalf("handshake: %d %q", status, body)
	}
	open := parseOpen(t, body)
	c := <-e.clients
	if err := c.session.Send(text("by polling"), false); err != nil {
		t.Fatal(err)
	}
	if _, body, _ = do(t, "GET", base+"polling&sid="+open.SID, ""); body != "4by polling" {
		t.Fatalf("poll = %q", body)
	}
	if _, body, _ = do(t, "POST", base+"polling&sid="+open.SID, "4one\x1e4two"); body != "ok" {
		t.Fatalf("post = %q", body)
	}
	ws := dial(t, base+"websocket&sid="+open.SID)
	write(t, ws, "2probe")
	if got := read(t, ws); got != "3probe" {
		t.Fatalf("probe answer = %q", got)
	}
	if err := c.session.Send(text("queued"), false); err != nil {
		t.Fatal(err)
	}
	write(t, ws, "5")
	if got := read(t, ws); got != "4queued" {
		t.Fatalf("after the upgrade = %q", got)
	}
	write(t, ws, "4three")
	for range 3 {
		<-c.came
	}
	if got := strings.Join(c.messages(), " "); got != "one two three" {
		t.Fatalf("messages = %q", got)
	}
	if got := c.session.Transport(); got != "websocket" {
		t.Fatalf("transport = %q", got)
	}
	c.session.Close(ForcedClose, nil)
	_, _, err := ws.ReadMessage()
	if !websocket.IsCloseError(err, websocket.CloseNoStatusReceived) {
		t.Fatalf("close = %v", err)
	}
}

func waitUntil(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("condition not met within 10 s")
		}
	}
}
