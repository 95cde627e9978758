package forward_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/forward"
)

// hung is a member that takes connections and requests, and never answers.
type hung struct {
	listener net.Listener
	asked    chan struct{} // one for each connection that sent something
	sides    sync.WaitGroup
}

func newHung(t *testing.T) *hung {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hung{listener: l, asked: make(chan struct{}, 16)}
	h.sides.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h.sides.Go(func() {
				defer c.Close()
				if n, _ := c.Read(make([]byte, 1<<16)); n > 0 {
					h.asked <- struct{}{}
				}
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		h.sides.Wait()
	})
	return h
}

func (h *hung) node() adapter.Node {
	return adapter.Node{ID: "hung", Tag: "h", Address: h.listener.Addr().String()}
}

const deadSession = "h_01234567890123456789"

// answer is what a client was told.
type answer struct {
	status int
	body   string
	header http.Header
	err    error
}

// ask sends a request for a session in the background.
func ask(t *testing.T, n *node, sid, method string, body io.Reader) <-chan answer {
	c := &client{t: t, http: newClient(t), ask: n, sid: sid, head: http.Header{}}
	r := c.request(context.Background(), method, body)
	answers := make(chan answer, 1)
	go func() {
		response, err := c.http.Do(r)
		if err != nil {
			answers <- answer{err: err}
			return
		}
		defer response.Body.Close()
		b, err := io.ReadAll(response.Body)
		answers <- answer{response.StatusCode, string(b), response.Header, err}
	}()
	return answers
}

func (a answer) isUnknown(t *testing.T, within time.Duration, since time.Time) {
	t.Helper()
	if a.err != nil || a.status != http.StatusBadRequest || a.body != unknownSession || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("answer %d %s %v, want that of an unknown session", a.status, a.body, a.err)
	}
	if took := time.Since(since); took > within {
		t.Errorf("the answer took %v, want it at once", took)
	}
}

// slowBody is one that never comes to its end.
func slowBody(t *testing.T) io.Reader {
	r, w := io.Pipe()
	t.Cleanup(func() { w.Close() })
	go func() { _, _ = io.WriteString(w, "42[") }()
	return r
}

func TestHungOwnerIsLost(t *testing.T) {
	for name, request := range map[string]struct {
		method string
		body   func(*testing.T) io.Reader
	}{
		"poll":      {http.MethodGet, func(*testing.T) io.Reader { return nil }},
		"post":      {http.MethodPost, func(*testing.T) io.Reader { return strings.NewReader(`42["x"]`) }},
		"slow post": {http.MethodPost, slowBody},
		"big post":  {http.MethodPost, func(*testing.T) io.Reader { return strings.NewReader(strings.Repeat("b", 900_000)) }},
	} {
		t.Run(name, func(t *testing.T) {
			n, h := newNode(t, "a", setup{}), newHung(t)
			n.members.add(h.node())
			answers := ask(t, n, deadSession, request.method, request.body(t))
			<-h.asked
			start := time.Now()
			n.members.lose("hung")
			(<-answers).isUnknown(t, time.Second, start)
			start = time.Now()
			(<-ask(t, n, deadSession, http.MethodGet, nil)).isUnknown(t, time.Second, start)
			if s := n.forward.Stats(); s.Forwarded["unreachable"] != 1 || s.Reachable != 0 {
				t.Errorf("stats %+v, want one unreachable", s)
			}
		})
	}
}

func TestHungOwnerIsLostDuringUpgrade(t *testing.T) {
	n, h := newNode(t, "a", setup{}), newHung(t)
	n.members.add(h.node())
	go func() {
		<-h.asked
		n.members.lose("hung")
	}()
	refusedUpgrade(t, n, deadSession)
	if s := n.forward.Stats(); s.Forwarded["unreachable"] != 1 || s.Relayed != 0 {
		t.Errorf("stats %+v, want one unreachable", s)
	}
}

// sentElsewhere checks that an upgrade is answered so that a balancer asks another node.
func sentElsewhere(t *testing.T, n *node, sid string) {
	t.Helper()
	response := failedUpgrade(t, n, sid)
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") != "1" || !response.Close {
		t.Errorf("answer %d %v, want 503 with Retry-After and the end of the connection", response.StatusCode, response.Header)
	}
}

func failedUpgrade(t *testing.T, n *node, sid string) *http.Response {
	t.Helper()
	c := &client{t: t, http: newClient(t), ask: n, sid: sid, head: http.Header{}}
	_, response, err := c.dial()
	if !errors.Is(err, websocket.ErrBadHandshake) {
		t.Fatalf("dial: %v", err)
	}
	return response
}

// refusedUpgrade checks that an upgrade is answered as one of an unknown session.
func refusedUpgrade(t *testing.T, n *node, sid string) {
	t.Helper()
	response := failedUpgrade(t, n, sid)
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusBadRequest || string(body) != "Session ID unknown" || response.Header.Get("Content-Type") != "text/html" ||
		!response.Close {
		t.Errorf("answer %d %s %v, want that of an unknown session", response.StatusCode, body, response.Header)
	}
}

func TestOwnerThatCannotBeReached(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	n := newNode(t, "a", setup{})
	n.members.add(adapter.Node{ID: "dead", Tag: "h", Address: l.Addr().String()})
	n.members.add(adapter.Node{ID: "mute", Tag: "m"}) // says no address
	for _, sid := range []string{deadSession, "m_0", "z_0"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			start := time.Now()
			(<-ask(t, n, sid, method, strings.NewReader("3"))).isUnknown(t, time.Second, start)
		}
		refusedUpgrade(t, n, sid)
	}
	if s := n.forward.Stats(); s.Forwarded["unreachable"] != 3 || s.Reachable != 1 {
		t.Errorf("stats %+v, want 3 unreachable", s)
	}
}

// An owner that refuses, because its secret or its address is another, is as good as none.
func TestOwnerThatDoesNotBelieve(t *testing.T) {
	doubts := make(chan struct{}, 10)
	s := setup{forward: func(o *forward.Options) { o.Doubt = func() { doubts <- struct{}{} } }}
	nodes := newCluster(t, s, "a", "b")
	c := join(t, nodes[0], nodes[1])
	if err := nodes[1].forward.SetSecret([]byte("quite another secret than before")); err != nil {
		t.Fatal(err)
	}
	(<-ask(t, nodes[1], c.sid, http.MethodGet, nil)).isUnknown(t, time.Second, time.Now())
	(<-ask(t, nodes[1], c.sid, http.MethodPost, strings.NewReader("3"))).isUnknown(t, time.Second, time.Now())
	refusedUpgrade(t, nodes[1], c.sid)
	if s := nodes[1].forward.Stats(); s.Forwarded["refused"] != 3 {
		t.Errorf("stats of the node that forwards %+v, want 3 refused", s)
	}
	if s := nodes[0].forward.Stats(); s.Refused["signature"] != 3 {
		t.Errorf("stats of the owner %+v, want 3 signatures refused", s)
	}
	for range 2 { // one on each side
		<-doubts
	}
}

// An address that leads back here must not make a request go round.
func TestAddressThatLeadsElsewhere(t *testing.T) {
	n := newNode(t, "a", setup{})
	loop := n.self()
	loop.ID, loop.Tag = "loop", "h"
	n.members.add(loop)
	(<-ask(t, n, deadSession, http.MethodGet, nil)).isUnknown(t, time.Second, time.Now())
	if s := n.forward.Stats(); s.Refused["foreign"] != 1 || s.Forwarded["refused"] != 1 {
		t.Errorf("stats %+v, want one refused as foreign", s)
	}
}

func TestOwnerIsLostDuringRelay(t *testing.T) {
	for name, lose := range map[string]func(owner, relaying *node){
		"killed": func(owner, _ *node) { owner.internal.CloseClientConnections(); killHijacked(owner) },
		"silent": func(owner, relaying *node) { relaying.members.lose(owner.self().ID) },
		"moved": func(owner, relaying *node) {
			self := owner.self()
			self.Address = "127.0.0.1:1"
			relaying.members.add(self)
		},
	} {
		t.Run(name, func(t *testing.T) {
			nodes := newCluster(t, setup{}, "a", "b")
			w := join(t, nodes[0], nodes[1]).upgrade()
			w.write(`42["echo",1]`)
			w.read(`42["echo",1]`)
			start := time.Now()
			lose(nodes[0], nodes[1])
			_ = w.fails()
			if took := time.Since(start); took > time.Second {
				t.Errorf("the client heard of it after %v, want at once", took)
			}
			w.conn.Close()
			until(t, "the relay ends", func() bool { return nodes[1].forward.Stats().Relayed == 0 })
		})
	}
}

// killHijacked ends the WebSockets of a node without a word.
func killHijacked(n *node) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = n.server.Shutdown(ctx)
}

// A client that goes away is missed by the owner, and not answered.
func TestClientGoesAway(t *testing.T) {
	gone := make(chan socketio.Reason, 1)
	nodes := newCluster(t, setup{}, "a", "b")
	nodes[0].server.OnDisconnect(func(_ context.Context, _ *socketio.Socket, reason socketio.Reason) { gone <- reason })
	c := join(t, nodes[0], nodes[1])
	ctx, cancel := context.WithCancel(context.Background())
	r := c.request(ctx, http.MethodGet, nil)
	time.AfterFunc(50*time.Millisecond, cancel) // whenever it is, before or while the poll waits
	if _, err := c.http.Do(r); !errors.Is(err, context.Canceled) {
		t.Fatalf("poll: %v", err)
	}
	if reason := <-gone; reason != socketio.TransportError {
		t.Errorf("the owner says %s, want %s", reason, socketio.TransportError)
	}
	until(t, "it is counted", func() bool { return nodes[1].forward.Stats().Forwarded["gone"] == 1 })
	if n := nodes[1].forward.Stats().Forwarded["unreachable"]; n != 0 {
		t.Errorf("%d unreachable, want none", n)
	}
}

// A client that goes away in the middle of a POST is missed too.
func TestClientGoesAwayDuringPost(t *testing.T) {
	nodes := newCluster(t, setup{}, "a", "b")
	c := join(t, nodes[0], nodes[1])
	ended := make(chan struct{})
	nodes[0].server.OnDisconnect(func(context.Context, *socketio.Socket, socketio.Reason) { close(ended) })
	conn, err := net.Dial("tcp", nodes[1].public.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n42[", c.sid)
	until(t, "the request is passed on", func() bool { return nodes[1].forward.Active() == 1 })
	conn.Close()
	until(t, "it is counted", func() bool { return nodes[1].forward.Stats().Forwarded["gone"] == 1 })
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the owner did not end the session")
	}
}

// A client that reads nothing is cut by the node that relays, as it would be by the owner.
func TestClientThatReadsNothing(t *testing.T) {
	s := setup{
		forward: func(o *forward.Options) { o.WriteTimeout = 200 * time.Millisecond },
		server:  func(o *socketio.Options) { o.QueueBytes, o.WriteTimeout = 64<<20, time.Minute },
	}
	nodes := newCluster(t, s, "a", "b")
	ended := make(chan struct{})
	nodes[0].server.OnDisconnect(func(context.Context, *socketio.Socket, socketio.Reason) { close(ended) })
	join(t, nodes[0], nodes[1]).upgrade()
	text := strings.Repeat("z", 500_000)
	for range 60 { // more than the kernels keep
		if err := nodes[0].server.Emit(context.Background(), "echo", text); err != nil {
			t.Fatal(err)
		}
	}
	<-ended
	until(t, "the relay ends", func() bool { return nodes[1].forward.Stats().Relayed == 0 })
}

// A node that is started again under its tag is there beside its former self for a while.
func TestNewerOfTwoWithOneTag(t *testing.T) {
	nodes := newCluster(t, setup{}, "a", "b")
	dead := nodes[0].self()
	dead.ID, dead.Address = "former self", "127.0.0.1:1"
	m := nodes[1].members
	m.lose(nodes[0].self().ID)
	m.add(dead)
	m.add(nodes[0].self())
	c := join(t, nodes[0], nodes[1])
	m.lose(dead.ID)
	if status, _ := c.post("3"); status != http.StatusOK {
		t.Errorf("POST: %d after the former self is lost", status)
	}
}
