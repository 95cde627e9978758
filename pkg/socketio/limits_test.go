package socketio_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/chorus/pkg/socketio"
)

func TestMaxConnections(t *testing.T) {
	server, front := start(t, &socketio.Options{MaxConnections: 2})
	first := dial(t, front, "/")
	handshake := func() *http.Response {
		t.Helper()
		resp, err := http.Get(front.URL + "/socket.io/?EIO=4&transport=polling")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	if resp := handshake(); resp.StatusCode != http.StatusOK {
		t.Fatalf("the second connection of 2: %d", resp.StatusCode)
	}
	if resp := handshake(); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("the third: %d %v, want 503 with Retry-After", resp.StatusCode, resp.Header)
	}
	if st := server.Stats(); st.Transports[0].Handshakes["limit"] != 1 || st.Limited["connections"] != 1 {
		t.Errorf("counted %v, %v; want 1 and 1", st.Transports[0].Handshakes, st.Limited)
	}
	first.ws.Close()
	eventually(t, "the place of a client that left is free", func() bool { return handshake().StatusCode == http.StatusOK })
}

// Handshakes that come together share the places that there are.
func TestMaxConnectionsTogether(t *testing.T) {
	server, front := start(t, &socketio.Options{MaxConnections: 5})
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			resp, err := http.Get(front.URL + "/socket.io/?EIO=4&transport=polling")
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
		})
	}
	wg.Wait()
	if open := server.Stats().Transports[0].Open; open != 5 || server.Connections() != 5 {
		t.Errorf("%d connections, want 5", open)
	}
}

func TestMaxEventsPerSecond(t *testing.T) {
	const perSecond, sent = 10, 40
	bubble(t, &socketio.Options{MaxEventsPerSecond: perSecond}, func(t *testing.T, server *socketio.Server) {
		begin := time.Now()
		heard := make(chan int, sent)
		server.On("n", func(_ context.Context, _ *socketio.Socket, args socketio.Args) error {
			var n int
			if err := args.Decode(&n); err != nil {
				return err
			}
			heard <- n
			return nil
		})
		c := connectIn(t, server)
		defer c.Close()
		for i := range sent {
			if err := c.Emit(t.Context(), "n", i); err != nil {
				t.Fatal(err)
			}
		}
		for i := range sent {
			if n := <-heard; n != i {
				t.Fatalf("event %d is %d: the order changed", i, n)
			}
		}
		// A burst of a second's, then as many per second; the last that is held is handled before it waits.
		if took, want := time.Since(begin), 2900*time.Millisecond; took != want {
			t.Errorf("%d events took %v, want %v", sent, took, want)
		}
		if n := server.Stats().Limited["events"]; n != sent-perSecond {
			t.Errorf("held %d times, want %d", n, sent-perSecond)
		}
	})
}

// A handler that is slow and a client that is fast hold the same reader.
func TestMaxEventsPerSecondWithAFullInbox(t *testing.T) {
	bubble(t, &socketio.Options{MaxEventsPerSecond: 100}, func(t *testing.T, server *socketio.Server) {
		handled := make(chan struct{}, 300)
		server.On("n", func(context.Context, *socketio.Socket, socketio.Args) error {
			time.Sleep(50 * time.Millisecond)
			handled <- struct{}{}
			return nil
		})
		c := connectIn(t, server)
		defer c.Close()
		go func() {
			for range 300 {
				_ = c.Emit(t.Context(), "n") // the count below tells
			}
		}()
		for range 300 {
			<-handled
		}
	})
}

func TestMaxEventsPerSecondOfPolling(t *testing.T) {
	server, front := start(t, &socketio.Options{MaxEventsPerSecond: 100, Transports: []string{socketio.Polling}})
	heard := make(chan struct{}, 200)
	server.On("n", func(context.Context, *socketio.Socket, socketio.Args) error { heard <- struct{}{}; return nil })
	url := front.URL + "/socket.io/?EIO=4&transport=polling"
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	body := readAll(t, resp)
	sid := body[strings.Index(body, `"sid":"`)+7:]
	sid, _, _ = strings.Cut(sid, `"`)
	packets := slices.Repeat([]string{`42["n"]`}, 110)
	for _, payload := range []string{"40", strings.Join(packets, "\x1e")} {
		resp, err := http.Post(url+"&sid="+sid, "text/plain", strings.NewReader(payload))
		if err != nil || readAll(t, resp) != "ok" {
			t.Fatalf("POST: %v %v", resp, err)
		}
		if payload == "40" {
			if resp, err := http.Get(url + "&sid=" + sid); err != nil || !strings.HasPrefix(readAll(t, resp), "40{") {
				t.Fatalf("joined: %v %v", resp, err)
			}
		}
	}
	for range packets {
		receive(t, heard)
	}
	if n := server.Stats().Limited["events"]; n == 0 {
		t.Error("nothing was held")
	}
}

func TestMaxRoomsPerSocket(t *testing.T) {
	server, front := start(t, &socketio.Options{MaxRoomsPerSocket: 2})
	joined := make(chan *socketio.Socket, 1)
	server.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		if err := s.Join(ctx, "a", "b", "a"); err != nil {
			t.Errorf("two rooms of two: %v", err)
		}
		if err := s.Join(ctx, "c"); !errors.Is(err, socketio.ErrTooManyRooms) {
			t.Errorf("the third room: %v, want ErrTooManyRooms", err)
		}
		joined <- s
		return nil
	})
	dial(t, front, "/")
	s := receive(t, joined)
	if err := server.Join(t.Context(), "d"); err != nil {
		t.Errorf("join of all: %v", err)
	}
	if rooms := s.Rooms(); len(rooms) != 3 { // its own too
		t.Errorf("in %v, want a and b", rooms)
	}
	s.Leave("a")
	if err := s.Join(t.Context(), "e"); err != nil {
		t.Errorf("in the place of one that was left: %v", err)
	}
	if n := server.Stats().Limited["rooms"]; n != 2 {
		t.Errorf("counted %d refusals, want 2", n)
	}
}

func TestNegativeLimits(t *testing.T) {
	for name, o := range map[string]*socketio.Options{
		"MaxConnections": {MaxConnections: -1}, "MaxEventsPerSecond": {MaxEventsPerSecond: -1}, "MaxRoomsPerSocket": {MaxRoomsPerSocket: -1},
	} {
		if _, err := socketio.NewServer(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("NewServer = %v, want an error about %s", err, name)
		}
	}
}

func TestSetCORS(t *testing.T) {
	server, front := start(t, nil)
	const origin = "https://page.example"
	allowed := func() (polling, ws bool) {
		t.Helper()
		req, _ := http.NewRequest(http.MethodGet, front.URL+"/socket.io/?EIO=4&transport=polling", nil)
		req.Header.Set("Origin", origin)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		req.URL.RawQuery = "EIO=4&transport=websocket"
		for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
			req.Header.Set(name, value)
		}
		upgraded, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		upgraded.Body.Close()
		return resp.Header.Get("Access-Control-Allow-Origin") == origin, upgraded.StatusCode == http.StatusSwitchingProtocols
	}
	for _, step := range []struct {
		cors *socketio.CORS
		want bool
	}{
		{nil, false},
		{&socketio.CORS{Origins: []string{"https://*.example"}}, true},
		{&socketio.CORS{Origins: []string{"https://other.example"}}, false},
		{&socketio.CORS{AllowOrigin: func(*http.Request, string) bool { return true }}, true},
		{&socketio.CORS{AllowOrigin: func(*http.Request, string) bool { panic("broken") }}, false},
		{nil, false},
	} {
		server.SetCORS(step.cors)
		if polling, ws := allowed(); polling != step.want || ws != step.want {
			t.Errorf("with %+v: polling %t, WebSocket %t, want %t", step.cors, polling, ws, step.want)
		}
	}
}

// Requests see one policy or the other while it changes.
func TestSetCORSWhileServing(t *testing.T) {
	server, front := start(t, nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 4 {
		wg.Go(func() {
			for range 50 {
				resp, err := http.Get(front.URL + "/socket.io/?EIO=4&transport=none")
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
			}
		})
	}
	for i := range 200 {
		server.SetCORS(&socketio.CORS{Origins: []string{"https://" + strconv.Itoa(i) + ".example"}})
	}
}

func TestTrustedProxies(t *testing.T) {
	proxies := prefixes(t, "10.0.0.0/8", "fd00::/8")
	for _, tt := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"no proxy", "192.0.2.7:1234", []string{"198.51.100.9"}, "192.0.2.7:1234"},
		{"proxy without a header", "10.0.0.1:1234", nil, "10.0.0.1:1234"},
		{"one proxy", "10.0.0.1:1234", []string{"198.51.100.9"}, "198.51.100.9:0"},
		{"two proxies", "10.0.0.1:1234", []string{"198.51.100.9, 10.0.0.2"}, "198.51.100.9:0"},
		{"two headers", "10.0.0.1:1234", []string{"198.51.100.9", "10.0.0.2"}, "198.51.100.9:0"},
		{"a client that lies", "10.0.0.1:1234", []string{"1.1.1.1, 198.51.100.9"}, "198.51.100.9:0"},
		{"only proxies", "10.0.0.1:1234", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3:0"},
		{"nonsense", "10.0.0.1:1234", []string{"unknown"}, "10.0.0.1:1234"},
		{"nonsense before a proxy", "10.0.0.1:1234", []string{"unknown, 10.0.0.2"}, "10.0.0.2:0"},
		{"version 6", "[fd00::1]:1234", []string{"2001:db8::7"}, "[2001:db8::7]:0"},
		{"mapped", "[::ffff:10.0.0.1]:1234", []string{"198.51.100.9"}, "198.51.100.9:0"},
		{"with ports", "10.0.0.1:1234", []string{"[2001:db8::7]:443, 10.0.0.2:80"}, "[2001:db8::7]:0"},
		{"two headers of proxies", "10.0.0.1:1234", []string{"1.1.1.1,198.51.100.9", "10.0.0.3, 10.0.0.2"}, "198.51.100.9:0"},
		{"an empty part", "10.0.0.1:1234", []string{"198.51.100.9,"}, "10.0.0.1:1234"},
		{"an empty header", "10.0.0.1:1234", []string{"198.51.100.9", ""}, "10.0.0.1:1234"},
		{"far too many", "10.0.0.1:1234", []string{strings.Repeat("10.0.0.2,", 1700) + "198.51.100.9,10.0.0.2"}, "198.51.100.9:0"},
		{"not an address", "@", []string{"198.51.100.9"}, "@"},
	} {
		var seen string
		server, err := socketio.NewServer(&socketio.Options{TrustedProxies: proxies, AllowRequest: func(r *http.Request) error {
			seen = r.RemoteAddr
			return errors.New("seen")
		}})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, "/socket.io/?EIO=4&transport=polling", nil)
		r.RemoteAddr = tt.peer
		if tt.forwarded != nil {
			r.Header["X-Forwarded-For"] = tt.forwarded
		}
		server.ServeHTTP(httptest.NewRecorder(), r)
		if seen != tt.want || r.RemoteAddr != tt.peer {
			t.Errorf("%s: client %q, want %q; the request itself has %q", tt.name, seen, tt.want, r.RemoteAddr)
		}
		if err := server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func prefixes(t *testing.T, networks ...string) []netip.Prefix {
	t.Helper()
	list := make([]netip.Prefix, len(networks))
	for i, text := range networks {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			t.Fatal(err)
		}
		list[i] = p
	}
	return list
}

func readAll(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
