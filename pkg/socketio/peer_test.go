package socketio_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"example.com/chorus/pkg/socketio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wait bounds what must happen; nothing sleeps for it.
const wait = 10 * time.Second

// start runs a server for the test.
func start(t testing.TB, o *socketio.Options) (*socketio.Server, *httptest.Server) {
	t.Helper()
	if o == nil {
		o = &socketio.Options{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	server, err := socketio.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(server)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil && !strings.Contains(err.Error(), "closed") {
			t.Errorf("Shutdown: %v", err)
		}
		front.Close()
	})
	return server, front
}

// peer is a client that speaks the protocol in raw packets.
type peer struct {
	t    testing.TB
	ws   *websocket.Conn
	sids map[string]string
}

// dial opens a WebSocket and joins the namespaces.
func dial(t testing.TB, front *httptest.Server, namespaces ...string) *peer {
	t.Helper()
	p := open(t, front)
	for _, nsp := range namespaces {
		p.join(nsp, "")
	}
	return p
}

func open(t testing.TB, front *httptest.Server) *peer {
	t.Helper()
	url := "ws" + strings.TrimPrefix(front.URL, "http") + "/socket.io/?EIO=4&transport=websocket"
	ws, resp, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		t.Fatalf("dial: %v (%v)", err, resp)
	}
	t.Cleanup(func() { ws.Close() })
	p := &peer{t: t, ws: ws, sids: map[string]string{}}
	if got := p.read(); !strings.HasPrefix(got, `0{"sid":"`) {
		t.Fatalf("open packet = %s", got)
	}
	return p
}

// join joins a namespace and returns the socket's id.
func (p *peer) join(nsp, auth string) string {
	p.t.Helper()
	p.send("40" + prefix(nsp) + auth)
	reply := p.read()
	var sid struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(reply, "40"+prefix(nsp))), &sid); err != nil || sid.SID == "" {
		p.t.Fatalf("CONNECT of %s answered %s", nsp, reply)
	}
	p.sids[nsp] = sid.SID
	return sid.SID
}

func prefix(nsp string) string {
	if nsp == "/" {
		return ""
	}
	return nsp + ","
}

func (p *peer) send(text string) {
	p.t.Helper()
	if err := p.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		p.t.Fatalf("send %.80s: %v", text, err)
	}
}

func (p *peer) sendBinary(b []byte) {
	p.t.Helper()
	if err := p.ws.WriteMessage(websocket.BinaryMessage, b); err != nil {
		p.t.Fatal(err)
	}
}

// read returns the next message: text, or binary as "b:" and hex.
func (p *peer) read() string {
	p.t.Helper()
	s, err := p.next()
	if err != nil {
		p.t.Fatalf("read: %v", err)
	}
	return s
}

func (p *peer) next() (string, error) {
	_ = p.ws.SetReadDeadline(time.Now().Add(wait))
	kind, b, err := p.ws.ReadMessage()
	if err != nil {
		return "", err
	}
	if kind == websocket.BinaryMessage {
		return fmt.Sprintf("b:%x", b), nil
	}
	return string(b), nil
}

func (p *peer) expect(want ...string) {
	p.t.Helper()
	for _, w := range want {
		if got := p.read(); got != w {
			p.t.Fatalf("got %.200s, want %.200s", got, w)
		}
	}
}

// expectClosed reads until the connection ends.
func (p *peer) expectClosed() {
	p.t.Helper()
	for {
		got, err := p.next()
		if err != nil {
			if strings.Contains(err.Error(), "timeout") {
				p.t.Fatal("the connection is still open")
			}
			return
		}
		p.t.Logf("before the close: %.100s", got)
	}
}

// receive waits for a value.
func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(wait):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(wait); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
