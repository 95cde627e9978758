package forward_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/forward"
)

func TestPollingThroughAnotherNode(t *testing.T) {
	nodes := newCluster(t, setup{}, "a", "b", "c")
	c := join(t, nodes[0], nodes[1])
	for i := range 20 {
		c.ask = nodes[i%3]
		if status, body := c.post(fmt.Sprintf(`42["echo",%d]`, i)); status != http.StatusOK || body != "ok" {
			t.Fatalf("POST %d: %d %s", i, status, body)
		}
		c.ask = nodes[(i+1)%3]
		if status, body := c.get(); status != http.StatusOK || body != fmt.Sprintf(`42["echo",%d]`, i) {
			t.Fatalf("GET %d: %d %s", i, status, body)
		}
	}
	if s := nodes[1].forward.Stats(); s.Forwarded["ok"] == 0 || s.Forwarded["unreachable"]+s.Forwarded["refused"]+s.Forwarded["gone"] != 0 ||
		s.Reachable != 2 {
		t.Errorf("stats of the node that forwards: %+v", s)
	}
	if s := nodes[0].forward.Stats(); s.Forwarded["ok"] != 0 {
		t.Errorf("stats of the owner: %+v", s)
	}
}

func TestUpgradeThroughAnotherNode(t *testing.T) {
	nodes := newCluster(t, setup{}, "a", "b")
	c := join(t, nodes[0], nodes[1])
	w := c.upgrade()
	for _, size := range []int{0, 1, 125, 126, 70_000, 900_000} {
		text := strings.Repeat("x", size)
		w.write(`42["echo","` + text + `"]`)
		w.read(`42["echo","` + text + `"]`)
	}
	until(t, "the relay shows", func() bool { return nodes[1].forward.Stats().Relayed == 1 })
	if nodes[0].forward.Stats().Relayed != 0 {
		t.Error("the owner relays its own WebSocket")
	}
	_ = w.conn.WriteControl(websocket.CloseMessage, nil, time.Now().Add(patience))
	if err := w.fails(); !strings.Contains(err.Error(), "1005") {
		t.Errorf("the connection ended with %v, want a close frame", err)
	}
	w.conn.Close()
	until(t, "the relay ends", func() bool { return nodes[1].forward.Stats().Relayed == 0 })
}

func TestHundredRelays(t *testing.T) {
	nodes := newCluster(t, setup{}, "a", "b")
	var wg sync.WaitGroup
	ready := make(chan struct{})
	var connected sync.WaitGroup
	for i := range 100 {
		connected.Add(1)
		c := join(t, nodes[0], nodes[1])
		wg.Go(func() {
			w := c.upgrade()
			connected.Done()
			<-ready
			for j := range 20 {
				text := fmt.Sprintf(`42["echo","%d.%d %s"]`, i, j, strings.Repeat("y", i*j))
				w.write(text)
				w.read(text)
			}
			w.conn.Close()
		})
	}
	connected.Wait()
	if n := nodes[1].forward.Stats().Relayed; n != 100 {
		t.Errorf("%d relays, want 100", n)
	}
	close(ready)
	wg.Wait()
	until(t, "all relays ended", func() bool { return nodes[1].forward.Stats().Relayed == 0 })
}

// seen is what the owner's handlers know of a request.
type seen struct {
	mu  sync.Mutex
	all []*http.Request
}

func (s *seen) options(o *socketio.Options) {
	o.CORS = &socketio.CORS{Origins: []string{"https://page.example"}, Credentials: true}
	o.Middleware = []func(http.Handler) http.Handler{func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			s.all = append(s.all, r)
			s.mu.Unlock()
			w.Header().Add("X-Served-By", "middleware")
			next.ServeHTTP(w, r)
		})
	}}
	o.Headers = func(h http.Header, r *http.Request) { h.Add("Set-Cookie", "seen=1") }
}

func (s *seen) last() *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[len(s.all)-1]
}

func TestOwnerSeesTheRequestAsItCame(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){
		"HTTP/1.1": nil,
		"HTTP/2 over TLS": func(s *httptest.Server) {
			s.EnableHTTP2 = true
			s.StartTLS()
		},
	} {
		t.Run(name, func(t *testing.T) {
			var s seen
			nodes := newCluster(t, setup{server: s.options, public: start}, "a", "b")
			secure := start != nil
			c := &client{t: t, http: newClient(t), ask: nodes[0], head: http.Header{}}
			if secure {
				c.http = nodes[1].public.Client()
				c.http.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true // of the other node too
			}
			_, body := c.get()
			c.sid = strings.Split(body, `"`)[3]
			c.ask = nodes[1]
			c.head = http.Header{
				"Origin": {"https://page.example"}, "Cookie": {"session=1; theme=dark"}, "Authorization": {"Bearer x"},
				"X-Forwarded-For": {"203.0.113.7, 10.0.0.9"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"chat.example"},
				"Forwarded": {"for=203.0.113.7"}, "X-Custom": {"one", "two"}, forward.Header: {"1 forged"},
			}
			r := c.request(context.Background(), http.MethodPost, strings.NewReader("40"))
			r.Host = "chat.example:8443"
			r.URL.RawQuery += "&t=a%2Fb;c&empty"
			status, answer, h := c.do(r)
			if status != http.StatusOK || answer != "ok" {
				t.Fatalf("POST: %d %s", status, answer)
			}
			for name, want := range map[string]string{
				"Access-Control-Allow-Origin": "https://page.example", "Access-Control-Allow-Credentials": "true",
				"X-Served-By": "middleware", "Set-Cookie": "seen=1", "Content-Type": "text/html", "Cache-Control": "no-store",
			} {
				if got := h.Values(name); len(got) != 1 || got[0] != want {
					t.Errorf("answer has %s %q, want %q once", name, got, want)
				}
			}
			if h.Get(forward.Header) != "" {
				t.Error("the answer shows our header")
			}
			got := s.last()
			for name, want := range c.head {
				if name == forward.Header {
					want = nil
				}
				if strings.Join(got.Header[name], "|") != strings.Join(want, "|") {
					t.Errorf("owner sees %s %q, want %q", name, got.Header[name], want)
				}
			}
			if host, _, ok := strings.Cut(got.RemoteAddr, ":"); !ok || host != "127.0.0.1" || got.Host != r.Host || got.TLS != nil != secure ||
				got.URL.RawQuery != r.URL.RawQuery {
				t.Errorf("owner sees %s, host %s, TLS %v, query %s", got.RemoteAddr, got.Host, got.TLS, got.URL.RawQuery)
			}
			if secure && got.TLS.ServerName != "chat.example" {
				t.Errorf("server name is %q", got.TLS.ServerName)
			}
			if n := nodes[1].forward.Stats().Refused["outside"]; n != 1 {
				t.Errorf("%d headers from outside counted, want 1", n)
			}
		})
	}
}

// A client cannot make the node that it asked take off what the balancer wrote, by calling it a header of one hop.
func TestHeadersOfOneHop(t *testing.T) {
	var s seen
	nodes := newCluster(t, setup{server: s.options}, "a", "b")
	c := join(t, nodes[0], nodes[1])
	names := []string{"Authorization", "Cookie", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "X-Custom"}
	for _, name := range names {
		c.head.Set(name, "203.0.113.7")
	}
	c.head.Set("Origin", "https://page.example")
	c.head.Set("Connection", strings.Join(names, ", ")+", Origin")
	if status, body := c.post("3"); status != http.StatusOK {
		t.Fatalf("POST: %d %s", status, body)
	}
	got := s.last().Header
	for _, name := range append(names, "Origin") {
		if got.Get(name) != c.head.Get(name) {
			t.Errorf("owner sees %s %q, want %q", name, got.Get(name), c.head.Get(name))
		}
	}
}

// The client's address is exactly that of its connection to the node that it asked.
func TestClientAddress(t *testing.T) {
	var s seen
	nodes := newCluster(t, setup{server: s.options}, "a", "b")
	c := open(t, nodes[0], nodes[1])
	var mine string
	r := c.request(context.Background(), http.MethodPost, strings.NewReader("40"))
	c.http.Transport.(*http.Transport).DialContext = recordAddr(&mine)
	c.do(r)
	if got := s.last().RemoteAddr; got != mine || mine == "" {
		t.Errorf("owner sees %s, want %s", got, mine)
	}
}

// Origins of WebSockets are compared with the host that the client asked.
func TestOriginOfUpgrade(t *testing.T) {
	nodes := newCluster(t, setup{}, "a", "b")
	c := join(t, nodes[0], nodes[1])
	c.head.Set("Origin", "http://evil.example")
	if _, response, err := c.dial(); err == nil || response.StatusCode != http.StatusBadRequest {
		t.Fatalf("foreign origin: %v %v, want the owner's 400", response, err)
	} else if body, _ := io.ReadAll(response.Body); string(body) != "Forbidden" || !response.Close {
		t.Errorf("foreign origin: %q %v", body, response.Header)
	}
	c.head.Set("Origin", nodes[1].public.URL)
	c.upgrade()
}

// Whatever a client says, the signature covers what is sent.
func TestOddRequests(t *testing.T) {
	nodes := newCluster(t, setup{}, "a", "b")
	sid := join(t, nodes[0], nodes[1]).sid
	const upgrade = "Connection: keep-alive, Upgrade, Cookie\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for name, tt := range map[string]struct{ transport, version, headers, want string }{
		"no host":             {"polling", "1.0", "", "200"},
		"host with a zone":    {"polling", "1.1", "Host: [fe80::1%25en0]:80\r\n", "200"},
		"headers of one hop":  {"polling", "1.1", "Host: x\r\nConnection: X-Real-Ip, Cookie\r\nX-Real-Ip: 1\r\nCookie: c=1\r\n", "200"},
		"white space":         {"polling", "1.1", "Host: x\r\nCookie:  \t c=1 \t \r\nX-Forwarded-For:\r\n", "200"},
		"cookies apart":       {"polling", "1.1", "Host: x\r\nCookie: a=1\r\nCookie: b=2\r\n", "200"},
		"switch to HTTP/2":    {"polling", "1.1", "Host: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n", "200"},
		"upgrade":             {"websocket", "1.1", "Host: x\r\nCookie: a=1\r\n" + upgrade, "101"},
		"upgrade, zone":       {"websocket", "1.1", "Host: [fe80::1%25en0]:80\r\n" + upgrade, "101"},
		"upgrade with a body": {"websocket", "1.1", "Host: x\r\nContent-Length: 2\r\n" + upgrade, "101"},
	} {
		if err := nodes[0].server.Emit(context.Background(), "news"); err != nil { // else a poll waits
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", nodes[1].public.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(conn, "GET /socket.io/?EIO=4&transport=%s&sid=%s HTTP/%s\r\n%s\r\n", tt.transport, sid, tt.version, tt.headers)
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || len(line) < 12 || line[9:12] != tt.want {
			t.Errorf("%s: %q, %v, want %s", name, line, err, tt.want)
		}
	}
	if n := nodes[0].forward.Stats().Refused["signature"]; n != 0 {
		t.Errorf("%d signatures were refused", n)
	}
}

func TestNotForwarded(t *testing.T) {
	nodes := newCluster(t, setup{}, "a", "b")
	c := join(t, nodes[0], nodes[1])
	sid := c.sid
	for _, tt := range []struct{ name, method, target string }{
		{"another path", "GET", "/other?sid=" + sid},
		{"no session", "GET", "/socket.io/?EIO=4&transport=websocket&t=_"},
		{"unknown tag", "GET", "/socket.io/?EIO=4&transport=polling&sid=z" + sid},
		{"own tag", "GET", "/socket.io/?EIO=4&transport=polling&sid=b" + sid[1:]},
		{"no tag", "GET", "/socket.io/?EIO=4&transport=polling&sid=" + strings.ReplaceAll(sid[2:], "_", "-")},
		{"another method", "PUT", "/socket.io/?EIO=4&transport=polling&sid=" + sid},
		{"preflight", "OPTIONS", "/socket.io/?EIO=4&transport=polling&sid=" + sid},
		{"the last one wins", "GET", "/socket.io/?EIO=4&transport=polling&sid=" + sid + "&sid=b_x"},
	} {
		before := nodes[1].forward.Stats().Forwarded
		r, _ := http.NewRequest(tt.method, nodes[1].public.URL+tt.target, nil)
		c.do(r)
		for result, n := range nodes[1].forward.Stats().Forwarded {
			if n != before[result] {
				t.Errorf("%s: was forwarded, %s", tt.name, result)
			}
		}
	}
	r, _ := http.NewRequest("POST", nodes[1].public.URL+"/socket.io/?EIO=4&transport=polling&s%69d=b_x&sid=a%5F"+sid[2:], strings.NewReader("3"))
	if status, body, _ := c.do(r); status != http.StatusOK || body != "ok" {
		t.Errorf("escaped session id: %d %s", status, body)
	}
}

func TestBigBodies(t *testing.T) {
	nodes := newCluster(t, setup{}, "a", "b")
	c := join(t, nodes[0], nodes[1])
	big := `42["echo","` + strings.Repeat("b", 900_000) + `"]`
	for _, body := range []io.Reader{strings.NewReader(big), io.MultiReader(strings.NewReader(big))} { // with a length, and in chunks
		if status, answer, _ := c.do(c.request(context.Background(), http.MethodPost, body)); status != http.StatusOK {
			t.Fatalf("POST: %d %s", status, answer)
		}
		if status, answer := c.get(); status != http.StatusOK || answer != big {
			t.Fatalf("GET: %d, %d bytes", status, len(answer))
		}
	}
	r := c.request(context.Background(), http.MethodPost, strings.NewReader(strings.Repeat("b", 1_200_000)))
	c.http.Transport.(*http.Transport).ExpectContinueTimeout = patience
	r.Header.Set("Expect", "100-continue") // so that this client does not lose the answer by writing on
	if status, _, _ := c.do(r); status != http.StatusRequestEntityTooLarge {
		t.Errorf("POST of 1.2 MB: %d, want the owner's 413", status)
	}
	if status, _ := c.post(`42["echo",1]`); status != http.StatusOK {
		t.Errorf("after 413: %d, want a session that lives", status)
	}
}

// A client hears nothing of what the nodes say to each other about a big body.
func TestBigBodyOfAnOldClient(t *testing.T) {
	nodes := newCluster(t, setup{}, "a", "b")
	c := join(t, nodes[0], nodes[1])
	for _, version := range []string{"1.0", "1.1"} {
		conn, err := net.Dial("tcp", nodes[1].public.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		body := `42["echo","` + strings.Repeat("b", 200_000) + `"]`
		fmt.Fprintf(conn, "POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/%s\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", c.sid, version, len(body), body)
		line, err := bufio.NewReader(conn).ReadString('\n')
		if want := "HTTP/" + version + " 200 OK\r\n"; err != nil || line != want {
			t.Errorf("HTTP/%s: the answer begins with %q, %v, want %q", version, line, err, want)
		}
	}
}

func TestOptions(t *testing.T) {
	server := http.NewServeMux()
	m := &members{}
	for name, o := range map[string]*forward.Options{
		"Members": {Tag: "a"}, "Tag": {Members: m}, "DialTimeout": {Members: m, Tag: "a", DialTimeout: -1},
		"secret": {Members: m, Tag: "a", Secret: []byte("short")},
	} {
		if _, err := forward.New(server, o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("New without a good %s: %v", name, err)
		}
	}
	alone, err := socketio.NewServer(&socketio.Options{RouteTag: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Shutdown(context.Background())
	if _, err := forward.New(alone, nil); err == nil || !strings.Contains(err.Error(), "Members") {
		t.Errorf("New before a server without other nodes: %v", err)
	}
	if _, err := forward.New(server, nil); err == nil {
		t.Error("New without options: no error")
	}
	f, err := forward.New(server, &forward.Options{Members: m, Tag: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if err := f.Close(context.Background()); err == nil {
		t.Error("Close again: no error")
	}
}
