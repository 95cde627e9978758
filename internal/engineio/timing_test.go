package engineio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// pipes is a listener whose connections are in memory, for tests on the fake clock.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	p.conns <- near
	return far, nil
}

// world is an engine that is served in a bubble, with 300 ms between pings and 200 ms for a pong.
type world struct {
	*engine
	t      *testing.T
	http   *http.Client
	ws     websocket.Dialer
	server *http.Server
	eio    string // revision of the protocol
	began  time.Time
}

// readTimeout is longer than anything that waits by design in the tests.
const readTimeout = time.Hour

// bubble runs a test on the fake clock.
func bubble(t *testing.T, change func(*Options), test func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, func(o *Options) {
			o.PingInterval, o.PingTimeout = 300*time.Millisecond, 200*time.Millisecond
			if change != nil {
				change(o)
			}
		})
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		tr := &http.Transport{DialContext: p.dial}
		w := &world{engine: e, t: t, http: &http.Client{Transport: tr}, ws: websocket.Dialer{NetDialContext: p.dial},
			server: &http.Server{Handler: e, ReadTimeout: readTimeout}, eio: "4", began: time.Now()}
		served := make(chan error)
		go func() { served <- w.server.Serve(p) }()
		test(w)
		if err := e.Close(t.Context(), ServerShutdown); err != nil {
			t.Errorf("Close: %v", err)
		}
		tr.CloseIdleConnections()
		_ = w.server.Close()
		<-served
	})
}

func (w *world) after() time.Duration { return time.Since(w.began) }

// at fails unless that much time has passed since the session was opened.
func (w *world) at(want time.Duration) {
	w.t.Helper()
	if got := w.after().Round(time.Millisecond); got != want {
		w.t.Errorf("after %v, want %v", got, want)
	}
}

func (w *world) do(method, query, body string) string {
	w.t.Helper()
	req, _ := http.NewRequestWithContext(w.t.Context(), method, "http://x/engine.io/?EIO="+w.eio+"&transport=polling"+query, strings.NewReader(body))
	res, err := w.http.Do(req)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return string(b)
}

func (w *world) dial(query string) *websocket.Conn {
	w.t.Helper()
	ws, res, err := w.ws.DialContext(w.t.Context(), "ws://x/engine.io/?EIO="+w.eio+"&transport=websocket"+query, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = res.Body.Close()
	return ws
}

func (w *world) openPolling() (query string, c *client) {
	w.t.Helper()
	sid := parseOpen(w.t, w.do("GET", "", "")).SID
	w.began = time.Now()
	return "&sid=" + sid, <-w.clients
}

func (w *world) openWS() (*websocket.Conn, *client) {
	w.t.Helper()
	ws := w.dial("")
	_, b, err := ws.ReadMessage()
	if err != nil {
		w.t.Fatal(err)
	}
	parseOpen(w.t, string(b))
	w.began = time.Now()
	return ws, <-w.clients
}

// read expects a message, or with code a close.
func (w *world) read(ws *websocket.Conn, want string, code int) {
	w.t.Helper()
	_, b, err := ws.ReadMessage()
	switch {
	case code != 0 && !websocket.IsCloseError(err, code):
		w.t.Errorf("read %q, %v, want close %d", b, err, code)
	case code == 0 && (err != nil || string(b) != want):
		w.t.Errorf("read %q, %v, want %q", b, err, want)
	}
}

func (w *world) closed(c *client, want Reason, at time.Duration) {
	w.t.Helper()
	if got := <-c.closed; got.reason != want {
		w.t.Errorf("closed as %q (%v), want %q", got.reason, got.detail, want)
	}
	w.at(at)
}

const ms = time.Millisecond

func TestHeartbeatOnWebSocket(t *testing.T) {
	bubble(t, nil, func(w *world) {
		ws, c := w.openWS()
		w.read(ws, "2", 0)
		w.at(300 * ms)
		time.Sleep(50 * ms)
		write(t, ws, "3")
		w.read(ws, "2", 0) // the interval starts at the pong
		w.at(650 * ms)
		write(t, ws, "3")
		time.Sleep(100 * ms)
		write(t, ws, "3") // one that nobody asked for starts it too
		w.read(ws, "2", 0)
		w.at(1050 * ms)
		go func() { w.read(ws, "", 1005); _ = ws.Close() }()
		w.closed(c, PingTimeout, 1250*ms)
	})
}

// The first other packet while a pong is due moves its deadline, the second does not.
func TestOtherPacketMovesThePongOnce(t *testing.T) {
	bubble(t, nil, func(w *world) {
		ws, c := w.openWS()
		w.read(ws, "2", 0)
		time.Sleep(100 * ms)
		write(t, ws, "4a")
		time.Sleep(150 * ms)
		write(t, ws, "4b")
		go func() { w.read(ws, "", 1005); _ = ws.Close() }()
		w.closed(c, PingTimeout, 600*ms)
	})
}

func TestHeartbeatOnPolling(t *testing.T) {
	bubble(t, nil, func(w *world) {
		q, c := w.openPolling()
		if got := w.do("GET", q, ""); got != "2" {
			t.Errorf("poll = %q", got)
		}
		w.at(300 * ms)
		w.do("POST", q, "3")
		time.Sleep(400 * ms) // no GET waits: the timeout runs from the queueing
		w.closed(c, PingTimeout, 800*ms)
	})
}

// Nobody reads the body of a GET, but the server looks for its end: the deadline for that stays.
func TestPollWithABodyKeepsTheServersDeadline(t *testing.T) {
	bubble(t, nil, func(w *world) {
		q, c := w.openPolling()
		conn, err := w.ws.NetDialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /engine.io/?EIO=4&transport=polling%s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n4a", q)
		_ = conn.SetReadDeadline(time.Now().Add(2 * readTimeout))
		if _, err := io.ReadAll(conn); err != nil { // by then it is too late for the answer
			t.Errorf("read: %v, want the end", err)
		}
		w.at(readTimeout)
		if got := <-c.closed; got.reason != PingTimeout {
			t.Errorf("closed as %q (%v), want %q", got.reason, got.detail, PingTimeout)
		}
	})
}

func TestUpgradeKeepsThePongsDeadline(t *testing.T) {
	bubble(t, nil, func(w *world) {
		q, c := w.openPolling()
		ws := w.dial(q)
		write(t, ws, "2probe")
		w.read(ws, "3probe", 0)
		if got := w.do("GET", q, ""); got != "6" {
			t.Errorf("poll = %q, want a noop", got)
		}
		w.at(100 * ms)
		time.Sleep(210 * ms)
		if got := w.do("GET", q, ""); got != "2" {
			t.Errorf("poll = %q, want the ping", got)
		}
		time.Sleep(90 * ms)
		write(t, ws, "5")
		go func() { w.read(ws, "", 1005); _ = ws.Close() }()
		w.closed(c, PingTimeout, 600*ms)
		if got := w.Stats().Upgrades["ok"]; got != 1 {
			t.Errorf("upgrades = %d", got)
		}
	})
}

func TestFailedCandidatesLeaveTheSessionAlone(t *testing.T) {
	slow := func(o *Options) { o.PingInterval, o.PingTimeout, o.UpgradeTimeout = time.Hour, time.Hour, time.Second }
	for name, tc := range map[string]struct {
		act    func(w *world, ws *websocket.Conn)
		result string
		at     time.Duration
	}{
		"timeout":       {func(*world, *websocket.Conn) {}, "timeout", time.Second},
		"timeout later": {func(w *world, ws *websocket.Conn) { write(w.t, ws, "2probe"); w.read(ws, "3probe", 0) }, "timeout", time.Second},
		"message":       {func(w *world, ws *websocket.Conn) { write(w.t, ws, "4early") }, "probe_failed", 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, slow, func(w *world) {
				q, c := w.openPolling()
				ws := w.dial(q)
				tc.act(w, ws)
				w.read(ws, "", 1005)
				w.at(tc.at)
				_ = ws.Close()
				if got := w.Stats().Upgrades[tc.result]; got != 1 {
					t.Errorf("Upgrades = %v", w.Stats().Upgrades)
				}
				ws = w.dial(q)  // another attempt is allowed
				synctest.Wait() // the 101 leaves before it is a candidate
				second := w.dial(q)
				w.read(second, "", 1005)
				_ = second.Close()
				write(t, ws, "5") // without a probe is accepted
				_ = c.session.Send(text("a"), false)
				w.read(ws, "4a", 0)
				third := w.dial(q)
				w.read(third, "", 1005)
				_ = third.Close()
				if !c.session.isOpen() || c.session.Transport() != "websocket" {
					t.Error("the session was harmed")
				}
				_ = ws.Close()
			})
		})
	}
}

// A GET that waits at the commit is answered 1; a POST that is being handled is finished first.
func TestCommitWaitsForThePost(t *testing.T) {
	bubble(t, func(o *Options) { o.PingInterval = time.Hour }, func(w *world) {
		var got []string
		w.onMsg = func(c *client, _ bool, data []byte) bool {
			got = append(got, string(data))
			return string(data) != "full"
		}
		q, c := w.openPolling()
		posted := make(chan string, 1)
		go func() { posted <- w.do("POST", q, "4full\x1e4after") }()
		polled := make(chan string, 1)
		go func() { polled <- w.do("GET", q, "") }()
		synctest.Wait()
		ws := w.dial(q)
		write(t, ws, "5")
		go func() { // nobody reads it before the commit
			if err := ws.WriteMessage(websocket.TextMessage, []byte("4by websocket")); err != nil {
				t.Error(err)
			}
		}()
		time.Sleep(time.Second)
		if c.session.Transport() != "polling" {
			t.Error("committed while a POST was handled")
		}
		c.session.Resume()
		if b := <-posted; b != "ok" {
			t.Errorf("post = %q", b)
		}
		if b := <-polled; b != "1" {
			t.Errorf("poll = %q", b)
		}
		synctest.Wait()
		if s := strings.Join(got, ","); s != "full,after,by websocket" {
			t.Errorf("messages = %s", s)
			select {
			case got := <-c.closed:
				t.Errorf("closed as %+v", got)
			default:
			}
		}
		_ = ws.Close()
	})
}

// The commit waits a moment for the body of a POST, whose packets then come first; later it goes on without.
func TestCommitGivesUpAStuckPost(t *testing.T) {
	for waits, want := range map[time.Duration]string{postGrace - ms: "by POST,by WebSocket", postGrace + ms: "by WebSocket"} {
		bubble(t, func(o *Options) { o.PingInterval = time.Hour }, func(w *world) {
			q, c := w.openPolling()
			r, wr := io.Pipe()
			req, _ := http.NewRequestWithContext(w.t.Context(), "POST", "http://x/engine.io/?EIO=4&transport=polling"+q, r)
			posted := make(chan error, 1)
			go func() {
				res, err := w.http.Do(req)
				if err == nil {
					_ = res.Body.Close()
				}
				posted <- err
			}()
			_, _ = wr.Write([]byte("4by "))
			synctest.Wait()
			ws := w.dial(q)
			write(t, ws, "2probe")
			w.read(ws, "3probe", 0)
			write(t, ws, "5")
			time.Sleep(waits)
			go func() {
				_, _ = wr.Write([]byte("POST"))
				_ = wr.Close()
			}()
			if err := <-posted; (err != nil) != (waits > postGrace) {
				t.Errorf("POST: %v", err)
			}
			write(t, ws, "4by WebSocket")
			synctest.Wait()
			if got := strings.Join(c.messages(), ","); got != want || c.session.Transport() != "websocket" {
				t.Errorf("messages = %q on %s, want %q", got, c.session.Transport(), want)
			}
			_ = ws.Close()
		})
	}
}

// A GET that is sent after the commit of an upgrade may overtake it.
func TestGETOvertakesTheCommit(t *testing.T) {
	for waits, want := range map[time.Duration]string{overtaken: `{"code":3,"message":"Bad request"}`, overtaken + ms: "1"} {
		bubble(t, nil, func(w *world) {
			q, _ := w.openPolling()
			ws := w.dial(q)
			write(t, ws, "2probe")
			w.read(ws, "3probe", 0)
			polled := make(chan string, 1)
			go func() { polled <- w.do("GET", q, "") }()
			time.Sleep(waits)
			write(t, ws, "5")
			if got := <-polled; got != want {
				t.Errorf("GET %v before the commit = %q, want %q", waits, got, want)
			}
			_ = ws.Close()
		})
	}
}

// A POST that closes may overtake the GET that was sent before it, on another connection.
func TestCloseOvertakesTheGET(t *testing.T) {
	bubble(t, nil, func(w *world) {
		q, c := w.openPolling()
		posted := make(chan string, 1)
		go func() { posted <- w.do("POST", q, "1") }()
		time.Sleep(overtaking - ms)
		if got := w.do("GET", q, ""); got != "6" {
			t.Errorf("the GET that was overtaken = %q, want 6", got)
		}
		if got := <-posted; got != "ok" {
			t.Errorf("POST = %q", got)
		}
		w.closed(c, TransportClose, overtaking-ms)
		if got := w.do("GET", q, ""); !strings.Contains(got, "Session ID unknown") {
			t.Errorf("the next GET = %q", got)
		}

		q, c = w.openPolling()
		if got := w.do("POST", q, "1"); got != "ok" {
			t.Errorf("POST without a GET = %q", got)
		}
		w.closed(c, TransportClose, overtaking)
		if got := w.do("GET", q, ""); !strings.Contains(got, "Session ID unknown") {
			t.Errorf("GET after the POST = %q", got)
		}
	})
}

// While the handler takes nothing the pong's deadline does not run, but the handler's does.
func TestSlowHandler(t *testing.T) {
	bubble(t, func(o *Options) { o.InboxTimeout = time.Second }, func(w *world) {
		w.onMsg = func(*client, bool, []byte) bool { return false }
		ws, c := w.openWS()
		write(t, ws, "4a")
		w.read(ws, "2", 0)
		time.Sleep(400 * ms)
		if !c.session.isOpen() {
			t.Error("closed while the handler was slow")
		}
		c.session.Resume()
		synctest.Wait()
		write(t, ws, "3")
		synctest.Wait()
		write(t, ws, "4b")
		go func() {
			for {
				if _, _, err := ws.ReadMessage(); err != nil {
					_ = ws.Close()
					return
				}
			}
		}()
		w.closed(c, SlowHandler, 1700*ms)
	})
}

// Resume may come before Message has returned.
func TestResumeBeforeThePause(t *testing.T) {
	bubble(t, nil, func(w *world) {
		done := make(chan struct{}, 2)
		w.onMsg = func(c *client, _ bool, _ []byte) bool { c.session.Resume(); done <- struct{}{}; return false }
		ws, c := w.openWS()
		write(t, ws, "4a")
		write(t, ws, "4b")
		<-done
		<-done
		c.session.Close(ForcedClose, nil)
		w.read(ws, "", 1005)
		_ = ws.Close()
	})
}

func TestPollingCloseIsForcedAfter30s(t *testing.T) {
	bubble(t, nil, func(w *world) {
		_, c := w.openPolling()
		c.session.Close(ForcedClose, nil)
		time.Sleep(pollWait - ms)
		if w.session(c.session.ID()) == nil {
			t.Error("forgotten early")
		}
		time.Sleep(2 * ms)
		if w.session(c.session.ID()) != nil {
			t.Error("not forgotten after 30 s")
		}
	})
}

func TestSlowBodyIsCutOff(t *testing.T) {
	bubble(t, nil, func(w *world) {
		q, c := w.openPolling()
		r, wr := io.Pipe()
		req, _ := http.NewRequestWithContext(w.t.Context(), "POST", "http://x/engine.io/?EIO=4&transport=polling"+q, r)
		go func() {
			if res, err := w.http.Do(req); err == nil {
				_ = res.Body.Close()
			}
		}()
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				time.Sleep(100 * ms)
				if _, err := wr.Write([]byte("4")); err != nil {
					return
				}
			}
		}()
		got := <-c.closed
		if got.reason != TransportError && got.reason != PingTimeout {
			t.Errorf("closed as %+v", got)
		}
		w.at(500 * ms)
		<-stopped // the connection is cut, so that a client that only writes ends too
	})
}

// A client that does not answer the close frame is hung up on.
func TestCloseIsBounded(t *testing.T) {
	bubble(t, nil, func(w *world) {
		ws, c := w.openWS()
		c.session.Close(ForcedClose, nil)
		w.read(ws, "", 1005)
		began := time.Now()
		_, err := ws.NetConn().Read(make([]byte, 1))
		if got := time.Since(began); err == nil || got > linger {
			t.Errorf("hung up after %v (%v), want at most %v", got, err, linger)
		}
		_ = ws.Close()

		ws, c = w.openWS() // this one does not even read
		c.session.Close(ForcedClose, nil)
		time.Sleep(w.options.WriteTimeout + linger + ms)
		synctest.Wait()
		if _, err := ws.NetConn().Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Write = %v, want a closed pipe", err)
		}
		_ = ws.Close()
	})
}

// Clients of a node that goes away hear of it in their transport's words, also one that is between two polls.
func TestLeave(t *testing.T) {
	bubble(t, func(o *Options) { o.PingInterval = time.Hour }, func(w *world) {
		q, waiting := w.openPolling()
		polled := make(chan string, 1)
		go func() { polled <- w.do("GET", q, "") }()
		between, idle := w.openPolling()
		_, away := w.openPolling()
		ws, c := w.openWS()
		synctest.Wait()
		for _, c := range []*client{waiting, idle, away, c} {
			if !c.session.Leave() || c.session.Leave() {
				t.Error("Leave does not tell that the session was open, or tells it twice")
			}
			if got := <-c.closed; got.reason != ServerShutdown {
				t.Errorf("reason = %q", got.reason)
			}
		}
		w.read(ws, "", 1001)
		_ = ws.Close()
		if got := <-polled; got != "1" {
			t.Errorf("poll = %q, want the close packet", got)
		}
		if got := w.do("GET", between, ""); got != "6\x1e1" {
			t.Errorf("the next poll = %q, want the close packet behind one that is not it", got)
		}
		time.Sleep(linger + ms)
		synctest.Wait()
		if n := len(w.Sessions()); n != 0 {
			t.Errorf("%d sessions are left for clients that do not come", n)
		}
	})
}

func TestEngineClose(t *testing.T) {
	bubble(t, func(o *Options) { o.PingInterval = time.Hour }, func(w *world) {
		q, waiting := w.openPolling()
		polled := make(chan string, 1)
		go func() { polled <- w.do("GET", q, "") }()
		_, idle := w.openPolling()
		_, queued := w.openPolling()
		_ = queued.session.Send(text("a"), false)
		stuck, c := w.openWS() // reads nothing
		synctest.Wait()
		ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		if err := w.Close(ctx, ServerShutdown); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 5*time.Second {
			t.Errorf("Close = %v after %v", err, time.Since(began))
		}
		if got := <-polled; got != "1" {
			t.Errorf("poll = %q", got)
		}
		for _, c := range []*client{waiting, idle, queued, c} {
			if got := <-c.closed; got.reason != ServerShutdown {
				t.Errorf("reason = %q", got.reason)
			}
		}
		if got := w.do("GET", "", ""); got != ErrDraining.Error() {
			t.Errorf("handshake = %q", got)
		}
		_ = stuck.Close()
		w.engine.Engine, _ = New(w.options) // for the end of the bubble
	})
}
