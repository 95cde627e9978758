package engineio

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"example.com/chorus/internal/frame"
)

func eio3(o *Options) { o.AllowEIO3 = true }

// openPolling3 opens a session of protocol 3 and returns the address of its requests.
func openPolling3(t *testing.T, e *engine, base, query string) (string, *client) {
	t.Helper()
	_, body, h := do(t, "GET", base+"/engine.io/?EIO=3&transport=polling"+query, "")
	n, packet, _ := strings.Cut(body, ":")
	if n != strconv.Itoa(len(packet)) || h.Get("Content-Type") != textPlain {
		t.Fatalf("handshake = %q, %v", body, h)
	}
	open := parseOpen(t, packet)
	if !slices.Equal(open.Upgrades, []string{"websocket"}) {
		t.Errorf("open = %+v", open)
	}
	c := <-e.clients
	if c.session.ID() != open.SID || c.session.Protocol() != 3 {
		t.Fatalf("session %s speaks protocol %d", c.session.ID(), c.session.Protocol())
	}
	return base + "/engine.io/?EIO=3&transport=polling&sid=" + open.SID, c
}

func post3(t *testing.T, url, contentType, body string) (int, string) {
	t.Helper()
	res, err := http.Post(url, contentType, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

func TestPosts3(t *testing.T) {
	e := newEngine(t, eio3)
	base := e.server(t).URL
	const plain, octets = "text/plain;charset=UTF-8", octetStream
	for name, tc := range map[string]struct {
		contentType, body string
		got               []string
		reason            Reason // empty: the session lives
	}{
		"one":                     {plain, "6:4hello", []string{"hello"}, ""},
		"several":                 {plain, "2:4a6:b4AQL/1:22:4b", []string{"a", "\x01\x02\xff", "b"}, ""},
		"utf-16":                  {plain, `14:42["t","é€😀"]2:4x`, []string{`2["t","é€😀"]`, "x"}, ""},
		"empty message":           {plain, "1:4", []string{""}, ""},
		"nothing":                 {plain, "0:2:4a", []string{"a"}, ""},
		"ignored":                 {plain, "1:01:51:62:4a", []string{"a"}, ""},
		"binary":                  {octets, "\x00\x02\xff4a\x01\x04\xff\x04\x01\x02\xff\x00\x02\xff4b", []string{"a", "\x01\x02\xff", "b"}, ""},
		"binary with bytes":       {octets, "\x00\x01\x00\xff4é€😀", []string{"é€😀"}, ""},
		"empty":                   {plain, "", nil, ParseError},
		"empty binary":            {octets, "", nil, ParseError},
		"no length":               {plain, ":4a", nil, ParseError},
		"no colon":                {plain, "24a", nil, ParseError},
		"too long":                {plain, "2:4a9:4b", []string{"a"}, ParseError},
		"huge length":             {plain, "99999999999999999999:4a", nil, ParseError},
		"negative":                {plain, "-1:4a", nil, ParseError},
		"half a pair":             {plain, "2:4😀", nil, ParseError},
		"not UTF-8":               {plain, "2:4a2:4\xff", []string{"a"}, ParseError},
		"protocol 4":              {plain, "4hello", nil, ParseError},
		"unknown type":            {plain, "2:4a1:9", []string{"a"}, ParseError},
		"base64 without type":     {plain, "1:b", nil, ParseError},
		"bad base64":              {plain, "3:b4*", nil, ParseError},
		"base64 of unknown type":  {plain, "4:b9AA", nil, ParseError},
		"binary without end":      {octets, "\x01\x04", nil, ParseError},
		"binary too short":        {octets, "\x00\x02\xff4a\x01\x04\xff\x04\x01", []string{"a"}, ParseError},
		"binary of unknown kind":  {octets, "\x02\x02\xff4a", nil, ParseError},
		"binary, no digit":        {octets, "\x01\x0a\xff\x04", nil, ParseError},
		"binary, unknown type":    {octets, "\x01\x01\xff\x09", nil, ParseError},
		"binary, empty":           {octets, "\x01\x00\xff", nil, ParseError},
		"binary, not UTF-8":       {octets, "\x00\x02\xff4\xff", nil, ParseError},
		"binary, too many digits": {octets, "\x01" + strings.Repeat("\x01", 20) + "\xff\x04", nil, ParseError},
		"pong":                    {plain, "1:3", nil, TransportError},
		"close":                   {plain, "2:4a1:12:4b", []string{"a"}, TransportClose},
	} {
		t.Run(name, func(t *testing.T) {
			url, c := openPolling3(t, e, base, "")
			if status, body := post3(t, url, tc.contentType, tc.body); status != 200 || body != "ok" {
				t.Errorf("%d %q, want 200 ok", status, body)
			}
			if got := c.messages(); !slices.Equal(got, tc.got) {
				t.Errorf("messages = %q, want %q", got, tc.got)
			}
			if tc.reason != "" {
				if got := <-c.closed; got.reason != tc.reason {
					t.Errorf("reason = %q (%v), want %q", got.reason, got.detail, tc.reason)
				}
				if status, body, _ := do(t, "GET", url, ""); status != 400 || body != `{"code":1,"message":"Session ID unknown"}` {
					t.Errorf("GET afterwards: %d %q", status, body)
				}
			} else if !c.session.isOpen() {
				t.Error("the session was closed")
			}
		})
	}
}

func TestPolls3(t *testing.T) {
	e := newEngine(t, eio3)
	base := e.server(t).URL
	event := frame.Parts(frame.Part{Data: []byte(`51-["b","é",{"_placeholder":true,"num":0}]`)}, frame.Part{Binary: true, Data: []byte{1, 2, 0xff}})
	for name, tc := range map[string]struct {
		query       string
		frames      []*frame.Frame
		body        string
		contentType string
	}{
		"text":   {"", []*frame.Frame{text("0"), text(`2["t","é€😀"]`)}, `2:4014:42["t","é€😀"]`, textPlain},
		"binary": {"", []*frame.Frame{text("a"), event}, "\x00\x02\xff4a\x00\x04\x04\xff" + `451-["b","é",{"_placeholder":true,"num":0}]` + "\x01\x04\xff\x04\x01\x02\xff", octetStream},
		"base64": {"&b64=1", []*frame.Frame{text("a"), event}, `2:4a43:451-["b","é",{"_placeholder":true,"num":0}]6:b4AQL/`, textPlain},
		"ping":   {"", nil, "1:3", textPlain},
		"close":  {"", nil, "1:61:1", textPlain},
	} {
		t.Run(name, func(t *testing.T) {
			url, c := openPolling3(t, e, base, tc.query)
			for _, f := range tc.frames {
				_ = c.session.Send(f, false)
			}
			switch name {
			case "ping":
				_, _ = post3(t, url, textPlain, "1:2")
			case "close":
				c.session.Close(ForcedClose, nil)
			}
			if _, body, h := do(t, "GET", url, ""); body != tc.body || h.Get("Content-Type") != tc.contentType {
				t.Errorf("poll = %q as %s, want %q", body, h.Get("Content-Type"), tc.body)
			}
		})
	}
}

func TestWebSocket3(t *testing.T) {
	e := newEngine(t, eio3)
	url := e.server(t).URL + "/engine.io/?EIO=3&transport=websocket"
	f := frame.Parts(frame.Part{Data: []byte("a")}, frame.Part{Binary: true, Data: []byte{1, 2}})
	for _, base64 := range []bool{false, true} {
		query, attachment := "", "\x04\x01\x02"
		if base64 {
			query, attachment = "&b64=1", "b4AQI="
		}
		ws := dial(t, url+query)
		if got := parseOpen(t, read(t, ws)); len(got.Upgrades) != 0 {
			t.Errorf("open = %+v", got)
		}
		c := <-e.clients
		_ = c.session.Send(f, false)
		if a, b := read(t, ws), read(t, ws); a != "4a" || b != attachment {
			t.Errorf("base64 %v: read %q and %q", base64, a, b)
		}
		write(t, ws, "2")
		if got := read(t, ws); got != "3" {
			t.Errorf("ping is answered with %q", got)
		}
		write(t, ws, "4text")
		write(t, ws, "b4AQL/")
		_ = ws.WriteMessage(websocket.BinaryMessage, []byte("\x04\x01\x02"))
		_ = ws.WriteMessage(websocket.BinaryMessage, []byte("\x04"))
		_ = ws.WriteMessage(websocket.BinaryMessage, []byte("\x06"))
		_ = ws.WriteMessage(websocket.BinaryMessage, []byte("\x02")) // a ping all the same
		if got := read(t, ws); got != "3" {
			t.Errorf("binary ping is answered with %q", got)
		}
		if got, want := c.messages(), []string{"text", "\x01\x02\xff", "\x01\x02", ""}; !slices.Equal(got, want) {
			t.Errorf("messages = %q, want %q", got, want)
		}
	}
	for packet, reason := range map[string]Reason{"": ParseError, "\x09a": ParseError, "\x03": TransportError} {
		ws := dial(t, url)
		parseOpen(t, read(t, ws))
		c := <-e.clients
		_ = ws.WriteMessage(websocket.BinaryMessage, []byte(packet))
		if got := <-c.closed; got.reason != reason {
			t.Errorf("%q: closed as %+v, want %q", packet, got, reason)
		}
	}
}

func TestUpgrade3(t *testing.T) {
	e := newEngine(t, eio3)
	url, c := openPolling3(t, e, e.server(t).URL, "")
	ws := dial(t, strings.Replace(url, "polling", "websocket", 1))
	write(t, ws, "2probe")
	if got := read(t, ws); got != "3probe" {
		t.Fatalf("probe answer = %q", got)
	}
	if _, body, _ := do(t, "GET", url, ""); body != "1:6" {
		t.Errorf("poll = %q, want a noop", body)
	}
	_ = c.session.Send(frame.Parts(frame.Part{Binary: true, Data: []byte{7}}), false)
	write(t, ws, "5")
	if got := read(t, ws); got != "\x04\x07" {
		t.Errorf("read %q", got)
	}
	if _, body, _ := do(t, "GET", url, ""); !strings.Contains(body, `"code":3`) {
		t.Errorf("poll after the upgrade = %q", body)
	}
}

func TestProtocol3IsRefusedByDefault(t *testing.T) {
	e := newEngine(t, nil)
	s := e.server(t)
	res, body, _ := raw(t, s, "GET", "/engine.io/?EIO=3&transport=websocket", upgradeHeaders...)
	if res.StatusCode != 400 || body != "Unsupported protocol version" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
}

// The client pings; only that keeps the session.
func TestHeartbeat3(t *testing.T) {
	for name, tc := range map[string]struct {
		act func(w *world, ws *websocket.Conn)
		at  time.Duration
	}{
		"silence":  {func(*world, *websocket.Conn) {}, 500 * ms},
		"messages": {func(w *world, ws *websocket.Conn) { time.Sleep(400 * ms); write(w.t, ws, "4a") }, 500 * ms},
		"pings": {func(w *world, ws *websocket.Conn) {
			for range 3 {
				time.Sleep(400 * ms)
				write(w.t, ws, "2")
				w.read(ws, "3", 0)
			}
		}, 1700 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, eio3, func(w *world) {
				w.eio = "3"
				ws, c := w.openWS()
				tc.act(w, ws)
				go func() { w.read(ws, "", 1005); _ = ws.Close() }()
				w.closed(c, PingTimeout, tc.at)
			})
		})
	}
}

// A commit gives the client the whole time again, as nobody knows whether its last ping was lost.
func TestUpgradeRestartsTheHeartbeat3(t *testing.T) {
	bubble(t, eio3, func(w *world) {
		w.eio = "3"
		body := w.do("GET", "", "")
		_, packet, _ := strings.Cut(body, ":")
		q, c := "&sid="+parseOpen(t, packet).SID, <-w.clients
		time.Sleep(400 * ms)
		ws := w.dial(q)
		write(t, ws, "5")
		go func() { w.read(ws, "", 1005); _ = ws.Close() }()
		began := time.Now()
		if got := <-c.closed; got.reason != PingTimeout || time.Since(began) != 500*ms {
			t.Errorf("closed as %+v after %v", got, time.Since(began))
		}
	})
}

// Pings that nobody waits for the answers of do not fill the memory.
func TestPingFlood3(t *testing.T) {
	bubble(t, eio3, func(w *world) {
		w.eio = "3"
		body := w.do("GET", "", "")
		_, packet, _ := strings.Cut(body, ":")
		q, c := "&sid="+parseOpen(t, packet).SID, <-w.clients
		if got := w.do("POST", q, strings.Repeat("1:2", 10_000)); got != "ok" {
			t.Errorf("post = %q", got)
		}
		synctest.Wait()
		if _, n := c.session.outbox.Len(); n != maxPongs {
			t.Errorf("%d pongs wait, want %d", n, maxPongs)
		}
		if got := w.do("GET", q, ""); got != strings.Repeat("1:3", maxPongs) {
			t.Errorf("poll = %q", got)
		}
		synctest.Wait()
		_ = w.do("POST", q, "1:2")
		if got := w.do("GET", q, ""); got != "1:3" {
			t.Errorf("poll = %q", got)
		}
	})
}
