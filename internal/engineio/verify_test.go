package engineio

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// raw sends one request as it stands and returns the answer, and whether the server then hung up.
func raw(t *testing.T, s *httptest.Server, method, target string, headers ...string) (*http.Response, string, bool) {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, target, strings.Join(append(slices.Clip(headers), ""), "\r\n"))
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res, string(body), res.Close
}

var upgradeHeaders = []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
	"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}

func TestRefusals(t *testing.T) {
	admit := error(nil)
	e := newEngine(t, func(o *Options) {
		o.CheckOrigin = func(r *http.Request) bool { return r.Header.Get("Origin") != "http://evil" }
		o.Admit = func(*http.Request) error { return admit }
	})
	s := e.server(t)
	_, body, _ := do(t, "GET", s.URL+"/engine.io/?EIO=4&transport=polling", "")
	sid := parseOpen(t, body).SID
	_, body, _ = do(t, "GET", s.URL+"/engine.io/?EIO=4&transport=polling", "")
	upgraded := parseOpen(t, body).SID
	ws := dial(t, s.URL+"/engine.io/?EIO=4&transport=websocket&sid="+upgraded)
	write(t, ws, "5")
	for c := <-e.clients; ; c = <-e.clients {
		if c.session.ID() == upgraded {
			waitUntil(t, func() bool { return c.session.Transport() == "websocket" })
			break
		}
	}

	for name, tc := range map[string]struct {
		method, query string
		headers       []string
		admit         error
		status        int
		body          string
	}{
		"no transport":            {"GET", "EIO=4", nil, nil, 400, `{"code":0,"message":"Transport unknown"}`},
		"unknown transport":       {"GET", "EIO=4&transport=webtransport", nil, nil, 400, `{"code":0,"message":"Transport unknown"}`},
		"transport before sid":    {"GET", "EIO=4&transport=x&sid=y", nil, nil, 400, `{"code":0,"message":"Transport unknown"}`},
		"unknown sid":             {"GET", "EIO=4&transport=polling&sid=nobody", nil, nil, 400, `{"code":1,"message":"Session ID unknown"}`},
		"post without sid":        {"POST", "EIO=4&transport=polling", []string{"Content-Length: 0"}, nil, 400, `{"code":2,"message":"Bad handshake method"}`},
		"options without sid":     {"OPTIONS", "EIO=4&transport=polling", nil, nil, 400, `{"code":2,"message":"Bad handshake method"}`},
		"websocket without 101":   {"GET", "EIO=4&transport=websocket", nil, nil, 400, `{"code":3,"message":"Bad request"}`},
		"websocket poll":          {"GET", "EIO=4&transport=websocket&sid=" + sid, nil, nil, 400, `{"code":3,"message":"Bad request"}`},
		"poll after the upgrade":  {"GET", "EIO=4&transport=polling&sid=" + upgraded, nil, nil, 400, `{"code":3,"message":"Bad request"}`},
		"post after the upgrade":  {"POST", "EIO=4&transport=polling&sid=" + upgraded, []string{"Content-Length: 0"}, nil, 400, `{"code":3,"message":"Bad request"}`},
		"other revision":          {"GET", "EIO=3&transport=polling&sid=" + sid, nil, nil, 400, `{"code":3,"message":"Bad request"}`},
		"revision 3":              {"GET", "EIO=3&transport=polling", nil, nil, 400, `{"code":5,"message":"Unsupported protocol version"}`},
		"no revision":             {"GET", "transport=polling", nil, nil, 400, `{"code":5,"message":"Unsupported protocol version"}`},
		"put":                     {"PUT", "EIO=4&transport=polling&sid=" + sid, []string{"Content-Length: 0"}, nil, 500, ""},
		"octets":                  {"POST", "EIO=4&transport=polling&sid=" + openSID(t, s), []string{"Content-Type: application/octet-stream", "Content-Length: 0"}, nil, 400, ""},
		"rate limit":              {"GET", "EIO=4&transport=polling", nil, errors.New("limit of 1/s"), 503, "limit of 1/s"},
		"draining":                {"GET", "EIO=4&transport=polling", nil, ErrDraining, 503, ErrDraining.Error()},
		"upgrade: rate limit":     {"GET", "EIO=4&transport=websocket", upgradeHeaders, errors.New("limit of 1/s"), 503, "limit of 1/s"},
		"upgrade: unknown sid":    {"GET", "EIO=4&transport=websocket&sid=nobody", upgradeHeaders, nil, 400, "Session ID unknown"},
		"upgrade: revision 3":     {"GET", "EIO=3&transport=websocket", upgradeHeaders, nil, 400, "Unsupported protocol version"},
		"upgrade: polling":        {"GET", "EIO=4&transport=polling", upgradeHeaders, nil, 400, "Bad request"},
		"upgrade: polling, sid":   {"GET", "EIO=4&transport=polling&sid=" + sid, upgradeHeaders, nil, 400, "Bad request"},
		"upgrade: origin":         {"GET", "EIO=4&transport=websocket", append([]string{"Origin: http://evil"}, upgradeHeaders...), nil, 400, "Forbidden"},
		"upgrade: origin and sid": {"GET", "EIO=4&transport=websocket&sid=" + sid, append([]string{"Origin: http://evil"}, upgradeHeaders...), nil, 400, "Forbidden"},
		"upgrade: no key":         {"GET", "EIO=4&transport=websocket", upgradeHeaders[:3], nil, 400, "Bad request"},
	} {
		t.Run(name, func(t *testing.T) {
			admit = tc.admit
			res, body, closed := raw(t, s, tc.method, "/engine.io/?"+tc.query, tc.headers...)
			if res.StatusCode != tc.status || body != tc.body {
				t.Errorf("%d %q, want %d %q", res.StatusCode, body, tc.status, tc.body)
			}
			wantType := ""
			switch {
			case strings.HasPrefix(name, "upgrade"):
				wantType = "text/html"
				if !closed {
					t.Error("no Connection: close")
				}
			case strings.HasPrefix(tc.body, "{"):
				wantType = "application/json"
			}
			if got := res.Header.Get("Content-Type"); wantType != "" && got != wantType {
				t.Errorf("Content-Type = %q, want %q", got, wantType)
			}
			if got := res.Header.Get("Retry-After"); (got == "1") != (tc.status == 503) {
				t.Errorf("Retry-After = %q", got)
			}
		})
	}
	if e.session(sid) == nil || e.session(upgraded) == nil {
		t.Error("a refused request harmed a session")
	}
	st := e.Stats()
	if st.Handshakes[polling]["limit"] != 1 || st.Handshakes[webSocket]["limit"] != 1 || st.Handshakes[polling]["draining"] != 1 ||
		st.Handshakes[webSocket]["cors"] != 1 || st.Rejected["unknown_sid"] != 2 || st.Rejected["bad_method"] != 3 || st.Rejected["mismatch"] != 6 {
		t.Errorf("Stats = %+v", st)
	}
}

func openSID(t *testing.T, s *httptest.Server) string {
	t.Helper()
	_, body, _ := do(t, "GET", s.URL+"/engine.io/?EIO=4&transport=polling", "")
	return parseOpen(t, body).SID
}

func TestDisabledTransports(t *testing.T) {
	e := newEngine(t, func(o *Options) { o.WebSocket = false })
	s := e.server(t)
	if _, body, _ := do(t, "GET", s.URL+"/engine.io/?EIO=4&transport=websocket", ""); !strings.Contains(body, `"code":0`) {
		t.Errorf("websocket: %q", body)
	}
	if _, body, _ := do(t, "GET", s.URL+"/engine.io/?EIO=4&transport=polling", ""); len(parseOpen(t, body).Upgrades) != 0 {
		t.Errorf("open packet: %q", body)
	}
	if status, _, _ := do(t, "GET", s.URL+"/elsewhere/", ""); status != 404 {
		t.Errorf("other path: %d", status)
	}
}

func TestHandshake(t *testing.T) {
	e := newEngine(t, func(o *Options) { o.RouteTag = "n1" })
	s := e.server(t)
	_, body, header := do(t, "GET", s.URL+"/engine.io/?EIO=4&transport=polling&t=x&k=1&k=2", "")
	open := parseOpen(t, body)
	if want := `0{"sid":"` + open.SID + `","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`; body != want {
		t.Errorf("open packet = %s, want %s", body, want)
	}
	if len(open.SID) != 23 || !strings.HasPrefix(open.SID, "n1_") {
		t.Errorf("sid = %q", open.SID)
	}
	if header.Get("Content-Type") != "text/plain; charset=UTF-8" || header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers = %v", header)
	}
	c := <-e.clients
	h := c.session.Handshake()
	if h.URL != "/engine.io/?EIO=4&transport=polling&t=x&k=1&k=2" || h.Query["k"] != "2" || h.Secure || h.RemoteAddr == "" {
		t.Errorf("handshake = %+v", h)
	}
	if _, body, header = do(t, "POST", s.URL+"/engine.io/?EIO=4&transport=polling&sid="+open.SID, "3"); body != "ok" ||
		header.Get("Content-Type") != "text/html" || header.Get("Content-Length") != "2" {
		t.Errorf("post = %q, %v", body, header)
	}

	ws := dial(t, s.URL+"/engine.io/?EIO=4&transport=websocket")
	if got := parseOpen(t, read(t, ws)); len(got.Upgrades) != 0 || got.SID == open.SID {
		t.Errorf("open = %+v", got)
	}
	if st := e.Stats(); st.Open != [2]int64{1, 1} || st.Opened != [2]uint64{1, 1} || st.Handshakes[polling]["ok"] != 1 {
		t.Errorf("Stats = %+v", st)
	}
}

func TestSubprotocolIsEchoed(t *testing.T) {
	e := newEngine(t, nil)
	d := websocket.Dialer{Subprotocols: []string{"a", "b"}}
	ws, _, err := d.Dial("ws"+strings.TrimPrefix(e.server(t).URL, "http")+"/engine.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if ws.Subprotocol() != "a" {
		t.Errorf("Subprotocol = %q, want a", ws.Subprotocol())
	}
}
