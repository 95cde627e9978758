//go:build linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A relay is a small Socket.IO server that makes mistakes on demand.
type relay struct {
	*httptest.Server
	fault func(client, message int, packet []byte) (out [][]byte) // nil: none
	close func(client, message int) bool                          // nil: never
	deny  func(client int) bool                                   // refuse CONNECT; nil: never
	ping  bool                                                    // send a ping behind each message
	every time.Duration                                           // ping each client this often; 0: never
	busy  func(handshake int) bool                                // answer 503; nil: never

	handshakes atomic.Int64
	running    sync.WaitGroup // handlers, which the server forgets once they are WebSockets

	mu       sync.Mutex
	conns    []*relayConn
	messages int
	pongs    int
}

type relayConn struct {
	*websocket.Conn
	mu     sync.Mutex
	joined bool
}

func (c *relayConn) write(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.WriteMessage(websocket.TextMessage, b)
}

// beat pings until done.
func (c *relayConn) beat(every time.Duration, done <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.write([]byte("2"))
		case <-done:
			return
		}
	}
}

func startRelay(t *testing.T, r *relay) *relay {
	t.Helper()
	r.Server = httptest.NewServer(r)
	t.Cleanup(func() {
		r.Server.Close()
		r.mu.Lock()
		for _, c := range r.conns {
			c.Close()
		}
		r.mu.Unlock()
		r.running.Wait()
	})
	return r
}

func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.running.Add(1)
	defer r.running.Done()
	if req.URL.Path != "/socket.io/" || req.URL.Query().Get("EIO") != "4" || req.URL.Query().Get("transport") != "websocket" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	if n := int(r.handshakes.Add(1) - 1); r.busy != nil && r.busy(n) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "busy", http.StatusServiceUnavailable)
		return
	}
	var u websocket.Upgrader
	ws, err := u.Upgrade(w, req, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	c := &relayConn{Conn: ws}
	r.mu.Lock()
	number := len(r.conns)
	r.conns = append(r.conns, c)
	r.mu.Unlock()
	interval := 25 * time.Second
	if r.every > 0 {
		interval = r.every
	}
	c.write(fmt.Appendf(nil, `0{"sid":"x","upgrades":[],"pingInterval":%d,"pingTimeout":20000,"maxPayload":1000000}`, interval.Milliseconds()))
	if r.every > 0 {
		done := make(chan struct{})
		defer close(done)
		r.running.Go(func() { c.beat(r.every, done) })
	}
	for {
		_, p, err := c.ReadMessage()
		if err != nil {
			return
		}
		r.packet(number, c, p)
	}
}

func (r *relay) packet(number int, c *relayConn, p []byte) {
	switch {
	case string(p) == "3":
		r.mu.Lock()
		r.pongs++
		r.mu.Unlock()
	case string(p) == "40":
		if r.deny != nil && r.deny(number) {
			c.write([]byte(`44{"message":"denied"}`))
			return
		}
		r.mu.Lock()
		c.joined = true
		r.mu.Unlock()
		c.write([]byte(`40{"sid":"y"}`))
	case bytes.HasPrefix(p, []byte("42")):
		r.relay(p)
	}
}

func (r *relay) relay(p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.messages
	r.messages++
	for i, c := range r.conns {
		if !c.joined {
			continue
		}
		if r.close != nil && r.close(i, n) {
			c.Close()
			continue
		}
		out := [][]byte{p}
		if r.fault != nil {
			out = r.fault(i, n, p)
		}
		for _, b := range out {
			c.write(b)
		}
		if r.ping {
			c.write([]byte("2"))
		}
	}
}

// acceptWebSocket returns the server's end of a WebSocket whose client sent b.
func acceptWebSocket(t *testing.T, b []byte) *websocket.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	go func() {
		r := bufio.NewReader(ours)
		if _, err := http.ReadResponse(r, nil); err == nil {
			_, _ = ours.Write(b)
		}
	}()
	req := httptest.NewRequest("GET", "/", nil)
	for k, v := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": websocketKey,
	} {
		req.Header.Set(k, v)
	}
	var u websocket.Upgrader
	conn, err := u.Upgrade(hijacker{httptest.NewRecorder(), theirs}, req, nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

type hijacker struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}
