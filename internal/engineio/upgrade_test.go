package engineio

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// A session that is closed during an upgrade ends on the transport that its client turns to.
func TestCloseDuringUpgrade(t *testing.T) {
	for name, tc := range map[string]struct {
		act  func(w *world, q string, ws *websocket.Conn)
		left time.Duration // until the session is forgotten
	}{
		"the client commits": {func(w *world, _ string, ws *websocket.Conn) {
			write(w.t, ws, "5")
			w.read(ws, "4last words", 0)
			w.read(ws, "", 1005)
		}, 0},
		"the client polls": {func(w *world, q string, ws *websocket.Conn) {
			if got := w.do("GET", q, ""); got != "4last words" {
				w.t.Errorf("poll = %q", got)
			}
			if got := w.do("GET", q, ""); got != "6\x1e1" {
				w.t.Errorf("next poll = %q", got)
			}
			w.read(ws, "", 1005)
		}, 0},
		"the client breaks the probe": {func(w *world, _ string, ws *websocket.Conn) {
			write(w.t, ws, "4early")
			w.read(ws, "", 1005)
		}, pollWait},
		"the client falls silent": {func(w *world, _ string, ws *websocket.Conn) {
			w.read(ws, "", 1005)
		}, pollWait},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(o *Options) { o.PingInterval = time.Hour }, func(w *world) {
				q, c := w.openPolling()
				ws := w.dial(q)
				write(t, ws, "2probe")
				w.read(ws, "3probe", 0)
				_ = c.session.Send(text("last words"), false)
				c.session.Close(SlowConsumer, nil)
				w.closed(c, SlowConsumer, 0)
				tc.act(w, q, ws)
				_ = ws.Close()
				synctest.Wait()
				time.Sleep(tc.left - ms - w.after())
				if tc.left > 0 && w.session(c.session.ID()) == nil {
					t.Errorf("forgotten before %v", tc.left)
				}
				time.Sleep(2 * ms)
				synctest.Wait()
				if w.session(c.session.ID()) != nil {
					t.Errorf("not forgotten after %v", w.after())
				}
				st := w.Stats()
				if st.Open != [2]int64{} || st.Upgrades["ok"] != 0 || st.Closed[polling][SlowConsumer] != 1 {
					t.Errorf("open %v, upgrades %v, closed %v", st.Open, st.Upgrades, st.Closed)
				}
				if got := st.QueueFrames; got != 0 {
					t.Errorf("%d frames wait", got)
				}
			})
		})
	}
}

// A candidate that ends at the moment of its commit ends as what it is: a session is never left with a WebSocket that
// is gone.
func TestCandidateEndsDuringCommit(t *testing.T) {
	e := newEngine(t, nil)
	base := e.server(t).URL
	for range 50 {
		url, c := openPolling(t, e, base)
		s := c.session
		ws := dial(t, strings.Replace(url, "transport=polling", "transport=websocket", 1))
		write(t, ws, "2probe")
		if got := read(t, ws); got != "3probe" {
			t.Fatalf("read %q", got)
		}
		s.mu.Lock()
		s.answering++ // an answer that takes its time
		s.mu.Unlock()
		write(t, ws, "5")
		waitUntil(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.candidate != nil && s.candidate.wait != nil })
		_ = ws.NetConn().(*net.TCPConn).SetLinger(0)
		_ = ws.NetConn().Close()
		s.answered(&poll{}, nil, 0, false, nil)
		waitUntil(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.state == stateClosed || s.candidate == nil && s.index.Load() == polling
		})
		s.Close(ForcedClose, nil)
	}
}

// A second candidate is told to go, whatever it says by then.
func TestSecondCandidateHearsItsEnd(t *testing.T) {
	e := newEngine(t, nil)
	url, _ := openPolling(t, e, e.server(t).URL)
	url = strings.Replace(url, "transport=polling", "transport=websocket", 1)
	first := dial(t, url)
	write(t, first, "2probe")
	if got := read(t, first); got != "3probe" {
		t.Fatalf("read %q", got)
	}
	for range 200 {
		ws := dial(t, url)
		write(t, ws, "2probe")
		if _, b, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNoStatusReceived) {
			t.Fatalf("read %q, %v, want a close frame", b, err)
		}
		_ = ws.Close()
	}
}
