package engineio

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// upgrading is a client that does everything at once: it posts and polls over one version of HTTP, upgrades over
// another connection at a random moment, with a probe or without, and may fail to at first.
type upgrading struct {
	t    *testing.T
	http *http.Client
	ws   websocket.Dialer
	url  string // of polling requests
	rand *rand.Rand

	committed atomic.Bool

	mu   sync.Mutex
	got  []string // in the order of arrival, by polling and then by WebSocket
	last chan struct{}
}

const raceMessages = 40

func (u *upgrading) pause() { time.Sleep(time.Duration(u.rand.IntN(3000)) * time.Microsecond) }

func (u *upgrading) packet(p string) {
	if !strings.HasPrefix(p, "4") {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.got = append(u.got, p[1:])
	if len(u.got) == raceMessages {
		close(u.last)
	}
}

func (u *upgrading) do(method, body string) string {
	req, _ := http.NewRequestWithContext(u.t.Context(), method, u.url, strings.NewReader(body))
	res, err := u.http.Do(req)
	if err != nil {
		u.t.Error(err)
		return ""
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	// A GET that sets off late finds a WebSocket.
	if late := method == "GET" && u.committed.Load() && strings.Contains(string(b), `"code":3`); err != nil || res.StatusCode != 200 && !late {
		u.t.Errorf("%s: %d %q, %v", method, res.StatusCode, b, err)
	}
	return string(b)
}

func (u *upgrading) dial() *websocket.Conn {
	ws, res, err := u.ws.Dial("wss"+strings.TrimPrefix(strings.Replace(u.url, "transport=polling", "transport=websocket", 1), "https"), nil)
	if err != nil {
		u.t.Error(err)
		return nil
	}
	_ = res.Body.Close()
	return ws
}

// run returns when everything that the server sent has arrived.
func (u *upgrading) run() {
	up, posted := 0, func(ws *websocket.Conn, n int) {
		if ws == nil {
			u.do("POST", "4"+strconv.Itoa(n))
		} else if err := ws.WriteMessage(websocket.TextMessage, []byte("4"+strconv.Itoa(n))); err != nil {
			u.t.Error(err)
		}
	}
	for ; up < raceMessages/2; up++ {
		if u.rand.IntN(4) == 0 {
			u.pause()
		}
		posted(nil, up)
	}
	var polling sync.WaitGroup
	leaving := make(chan struct{})
	polling.Go(func() {
		for {
			for p := range strings.SplitSeq(u.do("GET", ""), "\x1e") {
				u.packet(p)
			}
			select {
			case <-leaving:
				return
			default:
			}
		}
	})
	u.pause()
	for range u.rand.IntN(3) { // candidates that come to nothing
		bad := u.dial()
		if bad == nil {
			return
		}
		switch u.rand.IntN(3) {
		case 0:
			_ = bad.WriteMessage(websocket.TextMessage, []byte("4too early"))
		case 1:
			_ = bad.WriteMessage(websocket.TextMessage, []byte("2probe"))
		}
		_ = bad.Close()
	}
	var ws *websocket.Conn
	for { // while one that failed is still a candidate, another is turned away
		if ws = u.dial(); ws == nil {
			return
		}
		_ = ws.WriteMessage(websocket.TextMessage, []byte("2probe"))
		_, b, err := ws.ReadMessage()
		if string(b) == "3probe" {
			break
		}
		if !websocket.IsCloseError(err, websocket.CloseNoStatusReceived) {
			u.t.Errorf("probe answer = %q, %v", b, err)
			return
		}
		_ = ws.Close()
	}
	if u.rand.IntN(2) == 0 { // still posting while the probe is answered
		posted(nil, up)
		up++
	}
	close(leaving)
	if u.rand.IntN(4) > 0 {
		polling.Wait() // else the GET waits at the commit, and is answered 1
	}
	u.committed.Store(true)
	if err := ws.WriteMessage(websocket.TextMessage, []byte("5")); err != nil {
		u.t.Error(err)
	}
	go func() {
		for {
			_, b, err := ws.ReadMessage()
			if err != nil {
				return
			}
			polling.Wait() // what it brings was sent before
			u.packet(string(b))
		}
	}()
	for ; up < raceMessages; up++ {
		posted(ws, up)
	}
	polling.Wait()
	select {
	case <-u.last:
	case <-time.After(20 * time.Second):
		u.t.Error("not everything arrived within 20 s")
	}
	_ = ws.WriteControl(websocket.CloseMessage, nil, time.Now().Add(time.Second))
}

// POST, GET and Upgrade of many sessions race over HTTP/1.1 and HTTP/2: nothing is lost, doubled or reordered.
func TestRaceOfTransports(t *testing.T) {
	e := newEngine(t, nil)
	s := httptest.NewUnstartedServer(e)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	config := s.Client().Transport.(*http.Transport).TLSClientConfig
	h1 := &http.Client{Transport: &http.Transport{TLSClientConfig: config.Clone(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}}
	t.Cleanup(h1.CloseIdleConnections)
	var want []string
	for n := range raceMessages {
		want = append(want, strconv.Itoa(n))
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	for i := range 40 {
		client := []*http.Client{h1, s.Client()}[i%2]
		res, err := client.Get(s.URL + "/engine.io/?EIO=4&transport=polling")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.ProtoMajor != i%2+1 {
			t.Fatalf("HTTP/%d", res.ProtoMajor)
		}
		sid := parseOpen(t, string(b)).SID
		c := <-e.clients
		u := &upgrading{t: t, http: client, ws: websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: config.RootCAs, ServerName: "example.com"}},
			url: s.URL + "/engine.io/?EIO=4&transport=polling&sid=" + sid, rand: rand.New(rand.NewPCG(seed, uint64(i))), last: make(chan struct{})}
		sender := rand.New(rand.NewPCG(seed, uint64(1000+i)))
		wg.Go(func() {
			for _, m := range want {
				if sender.IntN(3) == 0 {
					time.Sleep(time.Duration(sender.IntN(5000)) * time.Microsecond)
				}
				if err := c.session.SendWait(context.Background(), text(m)); err != nil {
					t.Errorf("SendWait: %v", err)
				}
			}
		})
		wg.Go(func() {
			u.run()
			got := <-c.closed
			var netErr net.Error
			if got.reason != TransportClose && !errors.As(got.detail, &netErr) {
				t.Errorf("closed as %+v", got)
			}
			if down := strings.Join(u.got, " "); down != strings.Join(want, " ") {
				t.Errorf("session %d: the client got %s", i, down)
			}
			if up := strings.Join(c.messages(), " "); up != strings.Join(want, " ") {
				t.Errorf("session %d: the server got %s", i, up)
			}
		})
	}
	wg.Wait()
	if st := e.Stats(); st.Upgrades["ok"] != 40 {
		t.Errorf("upgrades = %v", st.Upgrades)
	}
}
