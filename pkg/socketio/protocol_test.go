package socketio_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/parser"
)

// Clients of protocol 3 are in "/" without asking; ids, auth and refusals have their old forms.
func TestProtocol3(t *testing.T) {
	server, front := start(t, &socketio.Options{AllowEIO3: true, RouteTag: "n1"})
	ids := make(chan string, 9)
	handler := func(_ context.Context, s *socketio.Socket) error { ids <- s.ID(); return nil }
	server.OnConnect(handler)
	server.On("echo", func(ctx context.Context, _ *socketio.Socket, args socketio.Args) error {
		return errors.Join(server.Emit(ctx, "echo", args), args.Ack(ctx, args))
	})
	admin := server.Of("/admin")
	admin.OnConnect(handler)
	admin.Use(func(_ context.Context, s *socketio.Socket) error {
		switch auth := string(s.Handshake().Auth); auth {
		case `{"token":"good"}`:
			return nil
		case `{"data":"1"}`:
			return &socketio.ConnectError{Message: "boom", Data: map[string]int{"k": 1}}
		}
		return errors.New("boom")
	})
	url := "ws" + strings.TrimPrefix(front.URL, "http") + "/socket.io/?EIO=3&transport=websocket"
	ws, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	p := &peer{t: t, ws: ws}
	opened := p.read()
	sid := strings.Split(opened, `"`)[3]
	if !strings.HasPrefix(sid, "n1_") {
		t.Fatalf("open packet = %s", opened)
	}
	p.expect("40")
	if id := receive(t, ids); id != sid {
		t.Errorf("id in / = %s, want that of the connection, %s", id, sid)
	}
	p.send("2")
	p.expect("3")
	p.send(`4212["echo","é",{"a":1}]`)
	p.expect(`42["echo","é",{"a":1}]`, `4312["é",{"a":1}]`)
	p.send(`451-["echo",{"_placeholder":true,"num":0}]`)
	p.sendBinary([]byte{4, 1, 2})
	p.expect(`451-["echo",{"_placeholder":true,"num":0}]`, "b:040102")
	p.send(`40/admin?token=bad,`)
	p.expect(`44/admin,"boom"`)
	p.send(`40/admin?data=1,`)
	p.expect(`44/admin,{"k":1}`)
	p.send(`40/admin?token=good,`)
	p.expect(`40/admin,`)
	if id := receive(t, ids); id != "/admin#"+sid {
		t.Errorf("id in /admin = %s", id)
	}
	if err := admin.To("/admin#"+sid).Emit(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	p.expect(`42/admin,["x"]`)
}

func TestMsgpackParser(t *testing.T) {
	server, front := start(t, &socketio.Options{Parser: parser.Msgpack()})
	server.On("echo", func(ctx context.Context, _ *socketio.Socket, args socketio.Args) error {
		return errors.Join(server.Emit(ctx, "echo", args), args.Ack(ctx, args))
	})
	client := parser.Msgpack()
	decoder := client.NewDecoder()
	p := open(t, front)
	send := func(packet parser.Packet) {
		t.Helper()
		chunks, err := client.Encode(packet)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range chunks {
			p.sendBinary(c.Data)
		}
	}
	read := func() parser.Packet {
		t.Helper()
		kind, b, err := p.ws.ReadMessage()
		if err != nil || kind != websocket.BinaryMessage {
			t.Fatalf("read: %d, %v", kind, err)
		}
		got, err := decoder.Add(parser.Chunk{Binary: true, Data: b})
		if err != nil || got == nil {
			t.Fatalf("decode %x: %v", b, err)
		}
		return *got
	}
	send(parser.Packet{Type: parser.Connect})
	if got := read(); got.Type != parser.Connect || !strings.Contains(string(got.Data), `"sid"`) {
		t.Fatalf("CONNECT answered %+v", got)
	}
	send(parser.Packet{Type: parser.Event, ID: 7, HasID: true, Data: []byte(`["echo",{"_placeholder":true,"num":0},"x"]`), Binary: [][]byte{{1, 2}}})
	event, ack := read(), read()
	if string(event.Data) != `["echo",{"_placeholder":true,"num":0},"x"]` || len(event.Binary) != 1 || string(event.Binary[0]) != "\x01\x02" {
		t.Errorf("event = %s %x", event.Data, event.Binary)
	}
	if ack.Type != parser.Ack && ack.Type != parser.BinaryAck || ack.ID != 7 {
		t.Errorf("ack = %+v", ack)
	}
	p.send(`42["text"]`) // the other format
	p.expectClosed()
}

func TestCORSAndMiddleware(t *testing.T) {
	var seen []string
	outer := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen = append(seen, r.Method)
			w.Header().Set("X-Outer", "yes")
			h.ServeHTTP(w, r)
		})
	}
	_, front := start(t, &socketio.Options{
		CORS:       &socketio.CORS{Origins: []string{"https://good.example"}, Credentials: true},
		Middleware: []func(http.Handler) http.Handler{outer},
	})
	request := func(method, origin string) *http.Response {
		t.Helper()
		req, _ := http.NewRequest(method, front.URL+"/socket.io/?EIO=4&transport=polling", nil)
		req.Header.Set("Origin", origin)
		if method == http.MethodOptions {
			req.Header.Set("Access-Control-Request-Method", "POST")
			req.Header.Set("Access-Control-Request-Headers", "x-a,x-b")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	good := request("GET", "https://good.example")
	if h := good.Header; good.StatusCode != 200 || h.Get("Access-Control-Allow-Origin") != "https://good.example" ||
		h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("X-Outer") != "yes" || !strings.Contains(h.Get("Vary"), "Origin") {
		t.Errorf("allowed origin: %d %v", good.StatusCode, h)
	}
	if evil := request("GET", "https://evil.example"); evil.StatusCode != 200 || evil.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: %d %v", evil.StatusCode, evil.Header)
	}
	preflight := request("OPTIONS", "https://good.example")
	if h := preflight.Header; preflight.StatusCode != 204 || h.Get("Access-Control-Allow-Headers") != "x-a,x-b" {
		t.Errorf("preflight: %d %v", preflight.StatusCode, h)
	}
	url := "ws" + strings.TrimPrefix(front.URL, "http") + "/socket.io/?EIO=4&transport=websocket"
	ws, resp, err := websocket.DefaultDialer.Dial(url, http.Header{"Origin": {"https://good.example"}})
	if err != nil {
		t.Fatalf("allowed origin over WebSocket: %v", err)
	}
	ws.Close()
	if resp.Header.Get("X-Outer") != "yes" || resp.Header.Get("Access-Control-Allow-Origin") != "https://good.example" {
		t.Errorf("the 101 has the headers %v", resp.Header)
	}
	if _, _, err := websocket.DefaultDialer.Dial(url, http.Header{"Origin": {"https://evil.example"}}); err == nil {
		t.Error("another origin got a WebSocket")
	}
}

// A middleware that wants credentials must not see preflights, which have none, and its refusals are for the page too.
func TestCORSIsOutermost(t *testing.T) {
	guard := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, r)
		})
	}
	_, front := start(t, &socketio.Options{CORS: &socketio.CORS{}, Middleware: []func(http.Handler) http.Handler{guard}})
	for name, tc := range map[string]struct {
		method string
		header http.Header
		status int
	}{
		"preflight":     {"OPTIONS", http.Header{"Access-Control-Request-Method": {"POST"}}, 204},
		"plain OPTIONS": {"OPTIONS", nil, 204},
		"refused":       {"GET", nil, 401},
		"admitted":      {"GET", http.Header{"Authorization": {"x"}}, 200},
	} {
		req, _ := http.NewRequest(tc.method, front.URL+"/socket.io/?EIO=4&transport=polling", nil)
		if tc.header != nil {
			req.Header = tc.header
		}
		req.Header.Set("Origin", "https://page.example")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tc.status || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %d %v, want %d", name, resp.StatusCode, resp.Header, tc.status)
		}
	}
}

// The page learns nothing from its browser, so the log must say what happened and what helps.
func TestForeignOriginIsLogged(t *testing.T) {
	var log bytes.Buffer
	_, front := start(t, &socketio.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	url := "ws" + strings.TrimPrefix(front.URL, "http") + "/socket.io/?EIO=4&transport=websocket"
	_, resp, err := websocket.DefaultDialer.Dial(url, http.Header{"Origin": {"https://other.example"}})
	if err == nil || resp.StatusCode != 400 {
		t.Fatalf("another origin: %v", err)
	}
	for _, want := range []string{"origin=https://other.example", "host=" + strings.TrimPrefix(front.URL, "http://"), "--cors.origins"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, &log)
		}
	}
}

func TestDisableUpgrades(t *testing.T) {
	for disabled, want := range map[bool]string{false: `"upgrades":["websocket"]`, true: `"upgrades":[]`} {
		_, front := start(t, &socketio.Options{DisableUpgrades: disabled})
		url := front.URL + "/socket.io/?EIO=4&transport="
		resp, err := http.Get(url + "polling")
		if err != nil {
			t.Fatal(err)
		}
		open, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(open), want) {
			t.Errorf("disabled %v: open packet = %s", disabled, open)
		}
		_, sid, _ := strings.Cut(string(open), `"sid":"`)
		sid, _, _ = strings.Cut(sid, `"`)
		ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"websocket&sid="+sid, nil)
		if (err != nil) != disabled {
			t.Errorf("disabled %v: a candidate got %v", disabled, err)
		}
		if err == nil {
			ws.Close()
		}
	}
}

func TestHandshakeHooks(t *testing.T) {
	var refused []socketio.RefusedRequest
	server, front := start(t, &socketio.Options{
		AllowRequest: func(r *http.Request) error {
			if r.Header.Get("X-Key") == "" {
				return errors.New("no key")
			}
			return nil
		},
		InitialHeaders:  func(h http.Header, _ *http.Request) { h.Set("X-Initial", "1") },
		Headers:         func(h http.Header, _ *http.Request) { h.Set("X-Every", "1") },
		ConnectionError: func(e socketio.RefusedRequest) { refused = append(refused, e) },
		GenerateID:      func(*http.Request) (string, error) { return "custom-id", nil },
		InitialPacket:   "hello!",
		Cookie:          &socketio.Cookie{},
	})
	_ = server
	url := "ws" + strings.TrimPrefix(front.URL, "http") + "/socket.io/?EIO=4&transport=websocket"
	if _, resp, err := websocket.DefaultDialer.Dial(url, nil); err == nil || resp.StatusCode != 400 {
		t.Errorf("without the key: %v", err)
	}
	if len(refused) != 1 || refused[0].Code != 4 || refused[0].Message != "no key" || refused[0].Request == nil {
		t.Errorf("ConnectionError was told %+v", refused)
	}
	ws, resp, err := websocket.DefaultDialer.Dial(url, http.Header{"X-Key": {"k"}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	p := &peer{t: t, ws: ws}
	if got := p.read(); !strings.HasPrefix(got, `0{"sid":"custom-id"`) {
		t.Errorf("open packet = %s", got)
	}
	p.expect("4hello!")
	if resp.Header.Get("X-Initial") != "1" || resp.Header.Get("X-Every") != "1" {
		t.Errorf("headers of the 101: %v", resp.Header)
	}
}

// A violation of a client that polls, but has no request waiting, cannot be answered at once.
func TestForcedServerClose(t *testing.T) {
	server, front := start(t, nil)
	reasons := make(chan socketio.Reason, 1)
	server.OnDisconnect(func(_ context.Context, _ *socketio.Socket, reason socketio.Reason) { reasons <- reason })
	url := front.URL + "/socket.io/?EIO=4&transport=polling"
	exchange := func(method, body string) string {
		t.Helper()
		req, _ := http.NewRequest(method, url, strings.NewReader(body))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return string(text)
	}
	for packet, want := range map[string]socketio.Reason{
		`42/x,["a"]`:      socketio.ForcedServerClose, // not joined
		`40`:              socketio.ForcedServerClose, // twice
		`44{"message":1}`: socketio.ForcedServerClose,
		`42["connect"]`:   socketio.ForcedClose, // cannot be decoded
	} {
		base := url
		var opened struct{ SID string }
		if err := json.Unmarshal([]byte(exchange("GET", "")[1:]), &opened); err != nil {
			t.Fatal(err)
		}
		url += "&sid=" + opened.SID
		exchange("POST", "40")
		exchange("GET", "")
		exchange("POST", packet)
		if got := receive(t, reasons); got != want {
			t.Errorf("%s: reason %q, want %q", packet, got, want)
		}
		exchange("GET", "") // takes the close
		url = base
	}
}
