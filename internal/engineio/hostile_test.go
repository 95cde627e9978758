package engineio

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// serves fails unless a new client of each transport is served as ever.
func (e *engine) serves(t *testing.T, base string) {
	t.Helper()
	for len(e.clients) > 0 {
		<-e.clients
	}
	url, c := openPolling(t, e, base)
	if status, body, _ := do(t, "POST", url, "4up"); status != 200 || body != "ok" {
		t.Errorf("afterwards: post %d %q", status, body)
	}
	<-c.came
	_ = c.session.Send(text("down"), false)
	if _, body, _ := do(t, "GET", url, ""); body != "4down" {
		t.Errorf("afterwards: poll %q", body)
	}
	ws, d := openWS(t, e, base)
	write(t, ws, "4up")
	<-d.came
	_ = d.session.Send(text("down"), false)
	if got := read(t, ws); got != "4down" {
		t.Errorf("afterwards: read %q", got)
	}
}

// Bodies that stop are cut off with their sessions, their connections and their goroutines, whatever the
// client does.
func TestStuckBodies(t *testing.T) {
	e := newEngine(t, func(o *Options) { o.PingInterval, o.PingTimeout = 400*time.Millisecond, 400*time.Millisecond })
	s := e.server(t)
	runtime.GC()
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for range 50 {
		sid := openSID(t, s)
		wg.Go(func() {
			c, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			fmt.Fprintf(c, "POST /engine.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n4stuck", sid)
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
			b, err := io.ReadAll(c)
			if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 400 ") {
				t.Errorf("answer %q, %v, want 400 and the end", b, err)
			}
		})
	}
	wg.Wait()
	for range 50 {
		if got := <-(<-e.clients).closed; got.reason != TransportError && got.reason != PingTimeout {
			t.Errorf("closed as %+v", got)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	waitUntil(t, func() bool { return runtime.NumGoroutine() <= before+5 })
	e.serves(t, s.URL)
}

// The first of two POSTs is reset though its client neither reads nor writes.
func TestOverlapOfAStuckBody(t *testing.T) {
	e := newEngine(t, nil)
	s := e.server(t)
	url, c := openPolling(t, e, s.URL)
	first, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	fmt.Fprintf(first, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n4a", strings.TrimPrefix(url, s.URL))
	waitUntil(t, func() bool { c.session.mu.Lock(); defer c.session.mu.Unlock(); return c.session.post != nil })
	if status, _, _ := do(t, "POST", url, "4b"); status != 400 {
		t.Errorf("second: %d, want 400", status)
	}
	_ = first.SetReadDeadline(time.Now().Add(10 * time.Second))
	if b, err := io.ReadAll(first); len(b) > 0 || isTimeout(err) {
		t.Errorf("first: %q, %v, want a reset", b, err)
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// A session that ends does not wait for a body that is under way.
func TestCloseCutsTheBodyOff(t *testing.T) {
	e := newEngine(t, nil)
	s := e.server(t)
	url, c := openPolling(t, e, s.URL)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n4a", strings.TrimPrefix(url, s.URL))
	waitUntil(t, func() bool { c.session.mu.Lock(); defer c.session.mu.Unlock(); return c.session.post != nil })
	c.session.Close(ForcedClose, nil)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if b, err := io.ReadAll(conn); !strings.HasPrefix(string(b), "HTTP/1.1 400 ") || isTimeout(err) {
		t.Errorf("answer %q, %v, want 400 and the end", b, err)
	}
	if got := c.messages(); len(got) > 0 {
		t.Errorf("messages = %q", got)
	}
}

// A GET that waits while the outbox overflows is answered at once.
func TestOverflowAnswersThePoll(t *testing.T) {
	e := newEngine(t, func(o *Options) { o.Outbox.Frames = 4 })
	base := e.server(t).URL
	for range 50 {
		url, c := openPolling(t, e, base)
		answered := get(t.Context(), url)
		c.polled(t)
		for c.session.Send(text("x"), false) == nil {
		}
		select {
		case a := <-answered:
			if a.status != 200 {
				t.Errorf("poll = %+v", a)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the GET was not answered")
		}
	}
}

// A client that drops the GET which waited when it left polling keeps its WebSocket.
func TestDroppedPollAfterTheCommit(t *testing.T) {
	e := newEngine(t, nil)
	s := e.server(t)
	for range 50 {
		url, c := openPolling(t, e, s.URL)
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", strings.TrimPrefix(url, s.URL))
		c.polled(t)
		ws := dial(t, strings.Replace(url, "polling", "websocket", 1))
		write(t, ws, "5")
		waitUntil(t, func() bool { return c.session.Transport() == "websocket" })
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
		write(t, ws, "4still here")
		select {
		case <-c.came:
		case got := <-c.closed:
			t.Fatalf("closed as %+v", got)
		}
	}
}

// Thousands of clients that shake hands and are never heard of again cost nothing after the heartbeat.
func TestSilentHandshakes(t *testing.T) {
	const each = 2000
	bubble(t, nil, func(w *world) {
		w.clients = make(chan *client, 2*each)
		var conns []*websocket.Conn
		for i := range each {
			if i%20 == 0 { // pipes are slow
				conns = append(conns, w.dial(""))
			}
			_ = w.do("GET", "", "")
		}
		synctest.Wait() // a WebSocket is answered before its session is opened
		n := len(w.Sessions())
		if n != each+len(conns) {
			t.Errorf("%d sessions, want %d", n, each+len(conns))
		}
		time.Sleep(w.options.PingInterval + w.options.PingTimeout + linger + w.options.WriteTimeout + ms)
		synctest.Wait()
		if st := w.Stats(); st.Open != [2]int64{} || st.Closed[polling][PingTimeout] != each || len(w.Sessions()) != 0 {
			t.Errorf("%d sessions, Stats = %+v", len(w.Sessions()), st)
		}
		w.mu.Lock()
		most := w.most
		w.mu.Unlock()
		if most > smallTable {
			t.Errorf("the table was made for %d sessions", most)
		}
		for _, ws := range conns {
			_ = ws.Close()
		}
	})
}

func TestLargeHandshakes(t *testing.T) {
	e := newEngine(t, nil)
	s := e.server(t)
	long := strings.Repeat("x", maxHandshake)
	const target = "/engine.io/?EIO=4&transport=polling"
	if res, body, _ := raw(t, s, "GET", target+"&q="+long); res.StatusCode != 431 || !strings.Contains(body, "limit 16384") {
		t.Errorf("query: %d %q", res.StatusCode, body)
	}
	if res, body, _ := raw(t, s, "GET", target, "Cookie: "+long); res.StatusCode != 431 || !strings.Contains(body, "limit 16384") {
		t.Errorf("header: %d %q", res.StatusCode, body)
	}
	if res, _, closed := raw(t, s, "GET", target, append([]string{"Cookie: " + long}, upgradeHeaders...)...); res.StatusCode != 431 || !closed {
		t.Errorf("upgrade: %d", res.StatusCode)
	}
	if res, _, _ := raw(t, s, "GET", target, "Cookie: "+long[:maxHandshake-500]); res.StatusCode != 200 {
		t.Errorf("just fits: %d", res.StatusCode)
	}
	if got := e.Stats().Rejected["too_large"]; got != 3 {
		t.Errorf("too_large = %d, want 3", got)
	}
}

// Paths that look like the engine's, or like others below it, get neither files nor other handlers.
func TestPathTricks(t *testing.T) {
	e := newEngine(t, nil)
	s := e.server(t)
	const q = "?EIO=4&transport=polling"
	for target, status := range map[string]int{
		"/engine.io/" + q:                       200,
		"/engine.io/anything/../below" + q:      200, // an engine request, as with the reference server
		"/engine.io/%2e%2e/%2e%2e/etc/passwd":   400,
		"/engine.io/..%2f..%2fetc%2fpasswd":     400,
		"/engine.io/\\..\\..\\secret":           400,
		"/engine.io/%00" + q:                    200,
		"/engine.io" + q:                        404,
		"/ENGINE.IO/" + q:                       404,
		"//engine.io/" + q:                      404,
		"/./engine.io/" + q:                     404,
		"/x/../engine.io/" + q:                  404,
		"/engine.io%2f" + q:                     200, // net/http decodes it
		"/engine.io/?EIO=4&transport=..%2f..":   400,
		"/engine.io/" + q + "&sid=..%2f..%2f":   400,
		"/engine.io/" + q + "&sid=%00":          400,
		"/engine.io/" + q + "&sid=a%0d%0aX:%20": 400,
		"http://elsewhere/engine.io/" + q:       200,
	} {
		res, body, _ := raw(t, s, "GET", target)
		if res.StatusCode != status || status == 200 && !strings.HasPrefix(body, "0{") {
			t.Errorf("%s: %d %q, want %d", target, res.StatusCode, body, status)
		}
		for name := range res.Header {
			if strings.EqualFold(name, "X") {
				t.Errorf("%s: headers = %v", target, res.Header)
			}
		}
	}
	e.serves(t, s.URL)
}

// An id that the server did not give to this session opens nothing: made up, of a session that ended, with
// another case or the tag of another node, or given along with a handshake.
func TestStrangeSIDs(t *testing.T) {
	e := newEngine(t, func(o *Options) { o.RouteTag = "n1" })
	s := e.server(t)
	url, c := openPolling(t, e, s.URL)
	sid := c.session.ID()
	_, gone := openPolling(t, e, s.URL)
	gone.session.end(ForcedClose, nil, abort, nil)
	base := s.URL + "/engine.io/?EIO=4&transport=polling&sid="
	for _, strange := range []string{"mine", strings.ToLower(sid) + "x", strings.TrimPrefix(sid, "n1_"), "n2" + sid[2:], sid + "%00", sid[:len(sid)-1],
		sid + sid, gone.session.ID(), "__proto__", "n1_", strings.Repeat("x", 10_000)} {
		for _, method := range []string{"GET", "POST"} {
			status, body, _ := do(t, method, base+strange, "4x")
			if status != 400 || body != `{"code":1,"message":"Session ID unknown"}` {
				t.Errorf("%s %.40s: %d %q", method, strange, status, body)
			}
		}
		_, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(strings.Replace(base, "polling", "websocket", 1), "http")+strange, nil)
		if err == nil || res == nil || res.StatusCode != 400 {
			t.Errorf("upgrade %.40s: %v, %v", strange, res, err)
		}
	}
	if _, body, _ := do(t, "GET", s.URL+"/engine.io/?EIO=4&transport=polling&sid=", ""); parseOpen(t, body).SID == "" {
		t.Errorf("an empty sid is no handshake: %q", body)
	}
	if !c.session.isOpen() {
		t.Error("the session was harmed")
	}
	// Who stole an id and polls beside the owner ends the session: neither can go on unnoticed.
	owner := get(t.Context(), url)
	c.polled(t)
	if status, _, _ := do(t, "GET", url, ""); status != 400 {
		t.Errorf("thief: %d", status)
	}
	if a := <-owner; a.body != "1" {
		t.Errorf("owner: %+v", a)
	}
	e.serves(t, s.URL)
}

// What one burst took is given back: the table of sessions, the queues and the loop's lists.
func TestMemoryShrinks(t *testing.T) {
	e := newEngine(t, func(o *Options) { o.Outbox.Frames, o.Outbox.Bytes = 1<<20, 1<<30 })
	base := e.server(t).URL
	ws, c := openWS(t, e, base)
	_, polled := openPolling(t, e, base)
	heap := func() int64 {
		runtime.GC()
		runtime.GC() // pools are emptied by the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	const messages = 50_000
	for range messages {
		if err := c.session.Send(text(strings.Repeat("x", 500)), false); err != nil {
			t.Fatal(err)
		}
		_ = polled.session.Send(text("x"), false)
	}
	for range messages {
		read(t, ws)
	}
	polled.session.end(ForcedClose, nil, abort, nil)
	for i := range 100_000 {
		e.register(&Session{engine: e.Engine, id: fmt.Sprint(i)})
	}
	for i := range 100_000 {
		e.remove(e.session(fmt.Sprint(i)))
	}
	waitUntil(t, func() bool { bytes, _ := c.session.outbox.Len(); return bytes == 0 })
	if n := heap() - before; n > 1<<20 {
		t.Errorf("%d bytes more than before the burst", n)
	}
	runtime.KeepAlive(ws)
}

// A client that asks for pings and never reads is bounded by its outbox too.
func TestControlFlood(t *testing.T) {
	e := newEngine(t, nil)
	base := e.server(t).URL
	ws, c := openWS(t, e, base)
	_ = ws.NetConn().(*net.TCPConn).SetReadBuffer(4096)
	ping := []byte{0x89, 0xfd, 0, 0, 0, 0}
	ping = append(ping, make([]byte, 125)...)
	flood := []byte(strings.Repeat(string(ping), 1000))
	_ = ws.NetConn().SetWriteDeadline(time.Now().Add(2 * time.Second))
	for range 50 {
		if _, err := ws.NetConn().Write(flood); err != nil {
			break
		}
		if bytes, frames := c.session.outbox.Len(); frames > maxPongs || bytes > maxPongs*130 {
			t.Fatalf("%d pongs of %d bytes wait", frames, bytes)
		}
	}
	e.serves(t, base)
}

// Requests that are cut off anywhere harm nobody.
func TestBrokenRequests(t *testing.T) {
	e := newEngine(t, nil)
	s := e.server(t)
	url, c := openPolling(t, e, s.URL)
	target := strings.TrimPrefix(url, s.URL)
	whole := "GET " + strings.Replace(target, "polling", "websocket", 1) + " HTTP/1.1\r\nHost: x\r\n" + strings.Join(upgradeHeaders, "\r\n") +
		"\r\nSec-WebSocket-Extensions: permessage-deflate;;;=,\r\n\r\n\x81\x86\x00\x00\x00\x002probe"
	for n := 0; n <= len(whole); n += 3 {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, whole[:n])
		if n%2 == 0 {
			_ = conn.(*net.TCPConn).SetLinger(0)
		}
		_ = conn.Close()
	}
	waitUntil(t, func() bool { c.session.mu.Lock(); defer c.session.mu.Unlock(); return c.session.candidate == nil })
	if _, body, _ := do(t, "POST", url, "4fine"); body != "ok" {
		t.Errorf("post = %q", body)
	}
	<-c.came
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", target)
	if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode != 400 {
		t.Errorf("bad chunk: %v, %v", res, err)
	}
	if got := <-c.closed; got.reason != TransportError {
		t.Errorf("closed as %+v", got)
	}
	e.serves(t, s.URL)
}

// Answers that nobody reads do not hold their requests, of whatever kind.
func TestAnswersThatNobodyReads(t *testing.T) {
	e := newEngine(t, func(o *Options) { o.WriteTimeout = 100 * time.Millisecond })
	s := httptest.NewUnstartedServer(e)
	gone := make(chan struct{}, 2)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			gone <- struct{}{}
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	_, body, _ := do(t, "GET", s.URL+"/engine.io/?EIO=4&transport=polling", "")
	sid := parseOpen(t, body).SID
	for name, request := range map[string]string{
		"refusal": "GET /engine.io/?EIO=4&transport=polling&sid=nobody HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST":    "POST /engine.io/?EIO=4&transport=polling&sid=" + sid + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n3",
	} {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetWriteDeadline(time.Now().Add(30 * time.Second))
		for err = nil; err == nil; { // until nothing more fits into the buffers of both directions, and the server hangs up
			_, err = conn.Write([]byte(strings.Repeat(request, 1000)))
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the server neither reads nor hangs up", name)
		}
		<-gone
		_ = conn.Close()
	}
}

// A session whose owner panics when it is told of it is forgotten, and its WebSocket closed.
func TestConnectPanics(t *testing.T) {
	broken := true
	e := newEngine(t, nil)
	connect := e.options.Connect
	e.options.Connect = func(s *Session) Handler {
		if broken {
			panic(http.ErrAbortHandler)
		}
		return connect(s)
	}
	s := e.server(t)
	target := s.URL + "/engine.io/?EIO=4&transport="
	if res, err := http.Get(target + "polling"); err == nil {
		t.Errorf("polling handshake: %d", res.StatusCode)
		_ = res.Body.Close()
	}
	ws := dial(t, target+"websocket")
	_ = ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, b, err := ws.ReadMessage(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %q, %v; want the end", b, err)
	}
	waitUntil(t, func() bool { return len(e.Sessions()) == 0 })
	if got := e.Stats().Open; got != [2]int64{} {
		t.Errorf("open = %v", got)
	}
	broken = false
	_, body, _ := do(t, "GET", target+"polling", "")
	parseOpen(t, body)
}

// A candidate that asks for pongs without end, and does not read them, keeps nobody busy.
func TestCandidateFloodsWithPings(t *testing.T) {
	bubble(t, func(o *Options) { o.PingInterval, o.WriteTimeout = time.Hour, time.Second }, func(w *world) {
		q, _ := w.openPolling()
		ws := w.dial(q)
		ping := []byte{0x89, 0x80, 1, 2, 3, 4}
		go func() { _, _ = ws.NetConn().Write(bytes.Repeat(ping, 10_000)) }()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := w.Stats().Connections; n != [2]int64{} {
			t.Errorf("%v connections", n)
		}
		_ = ws.Close()
	})
}

// A candidate gets as many pongs as may wait for others, and no more: each takes a system call.
func TestPongsOfACandidate(t *testing.T) {
	e := newEngine(t, nil)
	url, _ := openPolling(t, e, e.server(t).URL)
	ws := dial(t, strings.Replace(url, "transport=polling", "transport=websocket", 1))
	pongs := 0
	ws.SetPongHandler(func(string) error { pongs++; return nil })
	if _, err := ws.NetConn().Write(bytes.Repeat([]byte{0x89, 0x80, 1, 2, 3, 4}, 10_000)); err != nil {
		t.Fatal(err)
	}
	write(t, ws, "2probe")
	if got := read(t, ws); got != "3probe" || pongs != maxPongs {
		t.Errorf("read %q after %d pongs, want %d", got, pongs, maxPongs)
	}
}

// The last words reach a client that has closed its own direction behind what it sent.
func TestLastWordsAfterHalfClose(t *testing.T) {
	e := newEngine(t, nil)
	base := e.server(t).URL
	for name, tc := range map[string]struct {
		sent string
		code int
	}{
		"goodbye":   {"\x88\x82\x00\x00\x00\x00\x03\xe8", 1000},
		"mistake":   {"\xc1\x80\x00\x00\x00\x00", 1002},
		"too large": {"\x82\xff\x00\x00\x00\x00\x7f\x00\x00\x00\x00\x00\x00\x00", 1009},
	} {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				ws, c := openWS(t, e, base)
				if _, err := ws.NetConn().Write([]byte(tc.sent)); err != nil {
					t.Fatal(err)
				}
				_ = ws.NetConn().(*net.TCPConn).CloseWrite()
				if _, b, err := ws.ReadMessage(); !websocket.IsCloseError(err, tc.code) {
					t.Fatalf("read %q, %v, want close code %d", b, err, tc.code)
				}
				<-c.closed
			}
		})
	}
}
