package engineio

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"example.com/chorus/internal/frame"
)

// TestConnectionErrors goes through the table of refused requests.
func TestConnectionErrors(t *testing.T) {
	errNo, errID := errors.New(`no "entry"`), errors.New("out of ids")
	var got []ConnectionError
	e := newEngine(t, func(o *Options) {
		o.CheckOrigin = func(r *http.Request) bool { return r.Header.Get("Origin") != "http://evil" }
		o.AllowRequest = func(r *http.Request) error {
			switch r.URL.Query().Get("allow") {
			case "no":
				return errNo
			case "silent":
				return errors.New("")
			}
			return nil
		}
		o.GenerateID = func(r *http.Request) (string, error) {
			if id := r.URL.Query().Get("id"); id != "" {
				return id, nil
			}
			return "", errID
		}
		o.ConnectionError = func(err ConnectionError) { got = append(got, err) }
	})
	s := e.server(t)
	if _, body, _ := do(t, "GET", s.URL+"/engine.io/?EIO=4&transport=polling&id=polling", ""); parseOpen(t, body).SID != "polling" {
		t.Fatalf("handshake = %q", body)
	}
	ws := dial(t, s.URL+"/engine.io/?EIO=4&transport=websocket&id=websocket")
	parseOpen(t, read(t, ws))

	type context = map[string]any
	long := strings.Repeat("x", maxID+1)
	for name, tc := range map[string]struct {
		method, query string
		headers       []string
		code          int
		message       string
		context       context
	}{
		"no transport":       {"GET", "EIO=4", nil, 0, "Transport unknown", context{"transport": ""}},
		"unknown transport":  {"GET", "EIO=4&transport=webtransport", nil, 0, "Transport unknown", context{"transport": "webtransport"}},
		"jsonp":              {"GET", "EIO=4&transport=polling&j=0", nil, 3, "Bad request", context{"name": "TRANSPORT_HANDSHAKE_ERROR", "jsonp": true}},
		"unknown sid":        {"GET", "EIO=4&transport=polling&sid=nobody", nil, 1, "Session ID unknown", context{"sid": "nobody"}},
		"sid before method":  {"DELETE", "EIO=4&transport=polling&sid=nobody", nil, 1, "Session ID unknown", context{"sid": "nobody"}},
		"transport mismatch": {"GET", "EIO=4&transport=websocket&sid=polling", nil, 3, "Bad request", context{"name": "TRANSPORT_MISMATCH", "transport": "websocket", "previousTransport": "polling"}},
		"poll of websocket":  {"GET", "EIO=4&transport=polling&sid=websocket", nil, 3, "Bad request", context{"name": "TRANSPORT_MISMATCH", "transport": "polling", "previousTransport": "websocket"}},
		"transport before revision": {"GET", "EIO=3&transport=polling&sid=websocket", nil, 3, "Bad request",
			context{"name": "TRANSPORT_MISMATCH", "transport": "polling", "previousTransport": "websocket"}},
		"protocol mismatch":     {"GET", "EIO=3&transport=polling&sid=polling", nil, 3, "Bad request", context{"name": "PROTOCOL_MISMATCH", "protocol": 3, "previousProtocol": 4}},
		"upgrade: mismatch":     {"GET", "transport=websocket&sid=polling", upgradeHeaders, 3, "Bad request", context{"name": "PROTOCOL_MISMATCH", "protocol": 3, "previousProtocol": 4}},
		"method":                {"POST", "EIO=4&transport=polling", []string{"Content-Length: 0"}, 2, "Bad handshake method", context{"method": "POST"}},
		"method before 101":     {"PUT", "EIO=4&transport=websocket", nil, 2, "Bad handshake method", context{"method": "PUT"}},
		"no upgrade":            {"GET", "EIO=4&transport=websocket&allow=no", nil, 3, "Bad request", context{"name": "TRANSPORT_HANDSHAKE_ERROR"}},
		"forbidden":             {"GET", "EIO=3&transport=polling&allow=no", nil, 4, errNo.Error(), context{"message": errNo.Error()}},
		"forbidden in silence":  {"GET", "EIO=4&transport=polling&allow=silent", nil, 4, "Forbidden", context{"message": "Forbidden"}},
		"upgrade: forbidden":    {"GET", "EIO=4&transport=websocket&allow=no", upgradeHeaders, 4, errNo.Error(), context{"message": errNo.Error()}},
		"upgrade: origin":       {"GET", "EIO=4&transport=websocket", append([]string{"Origin: http://evil"}, upgradeHeaders...), 4, "Forbidden", context{"message": "Forbidden", "origin": "http://evil"}},
		"revision":              {"GET", "EIO=5&transport=polling", nil, 5, "Unsupported protocol version", context{"protocol": 3}},
		"upgrade: revision":     {"GET", "EIO=3&transport=websocket", upgradeHeaders, 5, "Unsupported protocol version", context{"protocol": 3}},
		"id fails":              {"GET", "EIO=4&transport=polling", nil, 3, "Bad request", context{"name": "ID_GENERATION_ERROR", "error": errID}},
		"upgrade: id fails":     {"GET", "EIO=4&transport=websocket", upgradeHeaders, 3, "Bad request", context{"name": "ID_GENERATION_ERROR", "error": errID}},
		"id in use":             {"GET", "EIO=4&transport=polling&id=polling", nil, 3, "Bad request", context{"name": "ID_GENERATION_ERROR", "error": errTaken}},
		"upgrade: id in use":    {"GET", "EIO=4&transport=websocket&id=polling", upgradeHeaders, 3, "Bad request", context{"name": "ID_GENERATION_ERROR", "error": errTaken}},
		"id with a quote":       {"GET", "EIO=4&transport=polling&id=a%22b", nil, 3, "Bad request", context{"name": "ID_GENERATION_ERROR", "error": nil}},
		"id with a line":        {"GET", "EIO=4&transport=polling&id=a%0d%0ab", nil, 3, "Bad request", context{"name": "ID_GENERATION_ERROR", "error": nil}},
		"long id":               {"GET", "EIO=4&transport=polling&id=" + long, nil, 3, "Bad request", context{"name": "ID_GENERATION_ERROR", "error": nil}},
		"upgrade: no key":       {"GET", "EIO=4&transport=websocket&id=free", upgradeHeaders[:3], 3, "Bad request", context{"name": "TRANSPORT_HANDSHAKE_ERROR", "error": nil}},
		"upgrade: no key again": {"GET", "EIO=4&transport=websocket&id=free", upgradeHeaders[:3], 3, "Bad request", context{"name": "TRANSPORT_HANDSHAKE_ERROR", "error": nil}},
	} {
		t.Run(name, func(t *testing.T) {
			got = nil
			res, body, closed := raw(t, s, tc.method, "/engine.io/?"+tc.query, tc.headers...)
			status := 400
			want := fmt.Sprintf(`{"code":%d,"message":%s}`, tc.code, strings.ReplaceAll(fmt.Sprintf("%q", tc.message), `\x`, `\u00`))
			if upgrade := strings.HasPrefix(name, "upgrade"); upgrade {
				want = tc.message
				if !closed {
					t.Error("the connection stays open")
				}
			} else if tc.code == 4 {
				status = 403
			}
			if res.StatusCode != status || body != want {
				t.Errorf("%d %s, want %d %s", res.StatusCode, body, status, want)
			}
			if len(got) != 1 {
				t.Fatalf("ConnectionError was called %d times", len(got))
			}
			err := got[0]
			if err.Code != tc.code || err.Message != tc.message || err.Request.Method != tc.method {
				t.Errorf("ConnectionError = %+v", err)
			}
			if !slices.Equal(slices.Sorted(maps.Keys(err.Context)), slices.Sorted(maps.Keys(tc.context))) {
				t.Errorf("context = %v, want %v", err.Context, tc.context)
			}
			for k, v := range tc.context {
				switch want := v.(type) {
				case error:
					if err, _ := err.Context[k].(error); !errors.Is(err, want) {
						t.Errorf("context %s = %v, want %v", k, err, want)
					}
				case nil:
					if err, _ := err.Context[k].(error); err == nil {
						t.Errorf("context %s is no error", k)
					}
				default:
					if err.Context[k] != v {
						t.Errorf("context %s = %v, want %v", k, err.Context[k], v)
					}
				}
			}
		})
	}
	if n := len(e.sessions); n != 2 {
		t.Errorf("%d ids are in use, want 2", n)
	}
	// Both are as well as before.
	write(t, ws, "4hello")
	if _, body, _ := do(t, "POST", s.URL+"/engine.io/?EIO=4&transport=polling&sid=polling", "4hello"); body != "ok" {
		t.Errorf("post = %q", body)
	}
	for range 2 {
		<-(<-e.clients).came
	}
}

// An origin that net/http lets through only when it does not come over the network.
func TestInvalidOrigin(t *testing.T) {
	var got []ConnectionError
	e := newEngine(t, func(o *Options) { o.ConnectionError = func(err ConnectionError) { got = append(got, err) } })
	for query, code := range map[string]int{"transport=x&sid=y": 0, "transport=polling&sid=y": 3, "transport=polling": 3} {
		got = nil
		r := httptest.NewRequest("GET", "/engine.io/?EIO=4&"+query, nil)
		r.Header.Set("Origin", "http://a\r\nX: y")
		e.ServeHTTP(httptest.NewRecorder(), r)
		if len(got) != 1 || got[0].Code != code || code == 3 && (got[0].Context["name"] != invalidOrigin || got[0].Context["origin"] != "http://a\r\nX: y") {
			t.Errorf("%s: %+v", query, got)
		}
	}
}

// AllowRequest is asked for handshakes alone.
func TestAllowRequestIsForHandshakes(t *testing.T) {
	var asked []string
	e := newEngine(t, func(o *Options) {
		o.AllowRequest = func(r *http.Request) error { asked = append(asked, r.URL.RawQuery); return nil }
	})
	url, c := openPolling(t, e, e.server(t).URL)
	_, _, _ = do(t, "POST", url, "4x")
	_ = c.session.Send(text("x"), false)
	_, _, _ = do(t, "GET", url, "")
	ws := dial(t, strings.Replace(url, "polling", "websocket", 1))
	write(t, ws, "5")
	waitUntil(t, func() bool { return c.session.Transport() == "websocket" })
	if len(asked) != 1 || strings.Contains(asked[0], "sid") {
		t.Errorf("asked for %q", asked)
	}
}

func TestHeaders(t *testing.T) {
	var mu sync.Mutex
	calls := 0
	e := newEngine(t, func(o *Options) {
		o.RouteTag = "n1"
		o.InitialHeaders = func(h http.Header, r *http.Request) { h.Set("X-Initial", r.URL.Query().Get("transport")) }
		o.Headers = func(h http.Header, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			calls++
			h.Set("X-Every", r.Method)
			h.Set("X-Split", "a\r\nX-Evil: 1")
			h["X-Evil: 1\r\nX-Evil"] = []string{"1"}
			h["Bad Name"] = []string{"1"}
			h.Set("Sec-WebSocket-Extensions", "permessage-deflate")
			h.Del("X-Middleware-2")
		}
		o.Cookie = &http.Cookie{Name: "io", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
		o.AllowRequest = func(r *http.Request) error {
			if r.Header.Get("X-No") != "" {
				return errors.New("no")
			}
			return nil
		}
	})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("X-Middleware-2", "gone")
		w.Header().Set("Content-Type", "text/evil")
		e.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	base := s.URL

	check := func(name string, h http.Header, initial string, cookie bool) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if calls != 1 {
			t.Errorf("%s: Headers was called %d times", name, calls)
		}
		calls = 0
		if h.Get("X-Every") == "" || h.Get("X-Initial") != initial || h.Get("Access-Control-Allow-Origin") != "*" ||
			h.Get("X-Middleware-2") != "" || h.Get("X-Evil") != "" || h.Get("Bad Name") != "" || !strings.HasPrefix(h.Get("X-Split"), "a ") {
			t.Errorf("%s: headers = %v", name, h)
		}
		if handshake := initial != ""; (h.Get("Chorus-Node") == "n1") != handshake {
			t.Errorf("%s: Chorus-Node = %q", name, h["Chorus-Node"])
		}
		if (len(h["Set-Cookie"]) == 1) != cookie {
			t.Errorf("%s: Set-Cookie = %q", name, h["Set-Cookie"])
		}
	}
	_, body, h := do(t, "GET", base+"/engine.io/?EIO=4&transport=polling", "")
	check("handshake", h, "polling", true)
	sid := parseOpen(t, body).SID
	if want := "io=" + sid + "; Path=/; HttpOnly; SameSite=Lax"; h.Get("Set-Cookie") != want {
		t.Errorf("Set-Cookie = %q, want %q", h.Get("Set-Cookie"), want)
	}
	c := <-e.clients
	url := base + "/engine.io/?EIO=4&transport=polling&sid=" + sid
	_, _, h = do(t, "POST", url, "4x")
	check("post", h, "", false)
	_ = c.session.Send(text("x"), false)
	_, _, h = do(t, "GET", url, "")
	check("poll", h, "", false)
	_, _, h = do(t, "PUT", url, "")
	check("put", h, "", false)
	_, _, h = do(t, "GET", url+"x", "")
	check("refusal", h, "", false)

	up := func(url, initial string) *websocket.Conn {
		t.Helper()
		ws, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http"), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.Close() })
		check("101", res.Header, initial, false)
		if res.Header.Get("Content-Type") != "" || res.Header.Get("Sec-Websocket-Extensions") != "" || len(res.Header["Upgrade"]) != 1 {
			t.Errorf("101: headers = %v", res.Header)
		}
		return ws
	}
	up(base+"/engine.io/?EIO=4&transport=websocket", "websocket")
	ws := up(base+"/engine.io/?EIO=4&transport=websocket&sid="+sid, "")
	write(t, ws, "5")
	waitUntil(t, func() bool { return c.session.Transport() == "websocket" })
}

// A function of the application that panics costs its own session only.
func TestPanickingHooks(t *testing.T) {
	broken := ""
	var mu sync.Mutex
	boom := func(where string) {
		mu.Lock()
		defer mu.Unlock()
		if where == broken {
			panic(http.ErrAbortHandler) // which the server does not log
		}
	}
	e := newEngine(t, func(o *Options) {
		o.AllowRequest = func(*http.Request) error { boom("allow"); return nil }
		o.GenerateID = func(*http.Request) (string, error) { boom("id"); return "one", nil }
		o.InitialHeaders = func(http.Header, *http.Request) { boom("initial") }
		o.Headers = func(http.Header, *http.Request) { boom("headers") }
	})
	base := e.server(t).URL + "/engine.io/?EIO=4&transport="
	for _, where := range []string{"allow", "id", "initial", "headers"} {
		mu.Lock()
		broken = where
		mu.Unlock()
		if res, err := http.Get(base + "polling"); err == nil {
			t.Errorf("%s: polling handshake: %d", where, res.StatusCode)
			_ = res.Body.Close()
		}
		if ws, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(base, "http")+"websocket", nil); err == nil {
			t.Errorf("%s: WebSocket handshake: %d", where, res.StatusCode)
			_ = ws.Close()
		}
		mu.Lock()
		broken = ""
		mu.Unlock()
		for len(e.clients) > 0 { // the session of the polling handshake was open already; the client may try twice
			if got := <-(<-e.clients).closed; got.reason != TransportError {
				t.Errorf("%s: closed as %+v", where, got)
			}
		}
		if _, body, _ := do(t, "GET", base+"polling", ""); parseOpen(t, body).SID != "one" { // the id is free again
			t.Errorf("%s: then %q", where, body)
		}
		if _, body, _ := do(t, "POST", base+"polling&sid=one", "1"); body != "ok" {
			t.Errorf("%s: close: %q", where, body)
		}
		if got := <-(<-e.clients).closed; got.reason != TransportClose {
			t.Errorf("%s: closed as %+v", where, got)
		}
		if _, body, _ := do(t, "GET", base+"polling&sid=one", ""); !strings.Contains(body, "6") && !strings.Contains(body, "unknown") {
			t.Errorf("%s: last poll: %q", where, body)
		}
		waitUntil(t, func() bool { return e.session("one") == nil })
	}
}

func TestInitialPacket(t *testing.T) {
	e := newEngine(t, func(o *Options) { o.InitialPacket = frame.Parts(frame.Part{Data: []byte("hello!")}) })
	base := e.server(t).URL
	_, body, _ := do(t, "GET", base+"/engine.io/?EIO=4&transport=polling", "")
	if _, rest, _ := strings.Cut(body, "\x1e"); rest != "4hello!" {
		t.Errorf("poll = %q", body)
	}
	ws := dial(t, base+"/engine.io/?EIO=4&transport=websocket")
	parseOpen(t, read(t, ws))
	if got := read(t, ws); got != "4hello!" {
		t.Errorf("read %q", got)
	}
}

// Sessions under ids of the application are found by them, behind the node's tag.
func TestGeneratedID(t *testing.T) {
	e := newEngine(t, func(o *Options) {
		o.RouteTag = "n1"
		o.GenerateID = func(r *http.Request) (string, error) { return "user-" + r.URL.Query().Get("u"), nil }
	})
	base := e.server(t).URL + "/engine.io/?EIO=4&transport="
	_, body, _ := do(t, "GET", base+"polling&u=1", "")
	if sid := parseOpen(t, body).SID; sid != "n1_user-1" {
		t.Errorf("sid = %q", sid)
	}
	c := <-e.clients
	c.session.Close(ForcedClose, nil)
	if _, body, _ = do(t, "GET", base+"polling&u=1", ""); !strings.Contains(body, `"code":3`) {
		t.Errorf("while it closes: %q", body)
	}
	_, _, _ = do(t, "GET", base+"polling&sid=n1_user-1", "")
	waitUntil(t, func() bool { return e.session("n1_user-1") == nil })
	ws := dial(t, base+"websocket&u=1")
	_ = ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	if sid := parseOpen(t, read(t, ws)).SID; sid != "n1_user-1" {
		t.Errorf("sid = %q", sid)
	}
}
