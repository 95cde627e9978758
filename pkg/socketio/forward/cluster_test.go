package forward_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/forward"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

var secret = []byte("a secret of sixteen bytes or more")

// members is the membership as one node sees it.
type members struct {
	mu    sync.Mutex
	nodes map[string]adapter.Node
	told  []func([]adapter.Node)
}

func (m *members) Members() []adapter.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.nodes))
}

func (m *members) OnMembership(f func([]adapter.Node)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, f)
}

func (m *members) change(f func(nodes map[string]adapter.Node)) {
	m.mu.Lock()
	if m.nodes == nil {
		m.nodes = make(map[string]adapter.Node)
	}
	f(m.nodes)
	m.mu.Unlock()
	for _, told := range m.told {
		told(m.Members())
	}
}

func (m *members) add(n adapter.Node) {
	m.change(func(nodes map[string]adapter.Node) { nodes[n.ID] = n })
}
func (m *members) lose(id string) {
	m.change(func(nodes map[string]adapter.Node) { delete(nodes, id) })
}

// node is a server with a Forwarder and both listeners.
type node struct {
	tag      string
	server   *socketio.Server
	forward  *forward.Forwarder
	members  *members
	public   *httptest.Server
	internal *httptest.Server
}

func (n *node) self() adapter.Node {
	return adapter.Node{ID: "id of " + n.tag, Name: n.tag, Tag: n.tag, Address: n.internal.Listener.Addr().String()}
}

// setup changes what a node is made with.
type setup struct {
	server  func(*socketio.Options)
	forward func(*forward.Options)
	public  func(*httptest.Server) // starts it
}

// newNode starts a node that knows no others.
func newNode(t testing.TB, tag string, s setup) *node {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	n := &node{tag: tag, members: &members{}}
	so := &socketio.Options{RouteTag: tag, Logger: quiet}
	if s.server != nil {
		s.server(so)
	}
	var err error
	if n.server, err = socketio.NewServer(so); err != nil {
		t.Fatal(err)
	}
	n.server.OnConnect(func(_ context.Context, s *socketio.Socket) error { return s.Emit(context.Background(), "hello", tag) })
	n.server.On("echo", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		return s.Emit(ctx, "echo", args)
	})
	fo := &forward.Options{Members: n.members, Secret: secret, Logger: quiet}
	if s.forward != nil {
		s.forward(fo)
	}
	if n.forward, err = forward.New(n.server, fo); err != nil {
		t.Fatal(err)
	}
	n.public = httptest.NewUnstartedServer(n.forward)
	if s.public == nil {
		n.public.Start()
	} else {
		s.public(n.public)
	}
	n.internal = httptest.NewServer(n.forward.Internal())
	t.Cleanup(n.end)
	return n
}

// end cuts everything: tests of polite ends look at them themselves.
func (n *node) end() {
	cut, stop := context.WithCancel(context.Background())
	stop()
	_ = n.server.Shutdown(cut)
	_ = n.forward.Close(cut)
	n.public.CloseClientConnections()
	n.public.Close()
	n.internal.CloseClientConnections()
	n.internal.Close()
}

// newCluster starts nodes that know each other.
func newCluster(t testing.TB, s setup, tags ...string) []*node {
	t.Helper()
	nodes := make([]*node, len(tags))
	for i, tag := range tags {
		nodes[i] = newNode(t, tag, s)
	}
	for _, n := range nodes {
		for _, other := range nodes {
			if other != n {
				n.members.add(other.self())
			}
		}
	}
	return nodes
}

// client is a polling client that asks another node each time, if it is told so.
type client struct {
	t    testing.TB
	http *http.Client
	sid  string
	ask  *node
	head http.Header // of every request
}

func newClient(t testing.TB) *http.Client {
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// open shakes hands with one node and goes on with another.
func open(t testing.TB, owner, then *node) *client {
	t.Helper()
	c := &client{t: t, http: newClient(t), ask: owner, head: make(http.Header)}
	status, body := c.get()
	var opened struct{ Sid string }
	if status != http.StatusOK || !strings.HasPrefix(body, "0{") || json.Unmarshal([]byte(body[1:]), &opened) != nil {
		t.Fatalf("handshake: %d %s", status, body)
	}
	if !strings.HasPrefix(opened.Sid, owner.tag+"_") {
		t.Fatalf("session is %q, want the tag %s", opened.Sid, owner.tag)
	}
	c.sid, c.ask = opened.Sid, then
	return c
}

// join opens a session and the main namespace.
func join(t testing.TB, owner, then *node) *client {
	t.Helper()
	c := open(t, owner, then)
	if status, body := c.post("40"); status != http.StatusOK || body != "ok" {
		t.Fatalf("CONNECT: %d %s", status, body)
	}
	got := ""
	for !strings.Contains(got, "hello") {
		status, body := c.get()
		if status != http.StatusOK {
			t.Fatalf("poll: %d %s", status, body)
		}
		got += body
	}
	if want := fmt.Sprintf(`42["hello","%s"]`, owner.tag); !strings.Contains(got, want) {
		t.Fatalf("polled %s, want %s", got, want)
	}
	return c
}

func (c *client) url(transport string) string {
	u := c.ask.public.URL + "/socket.io/?EIO=4&transport=" + transport
	if c.sid != "" {
		u += "&sid=" + c.sid
	}
	return u
}

func (c *client) request(ctx context.Context, method string, body io.Reader) *http.Request {
	c.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, c.url("polling"), body)
	if err != nil {
		c.t.Fatal(err)
	}
	maps.Copy(r.Header, c.head)
	return r
}

func (c *client) do(r *http.Request) (status int, body string, header http.Header) {
	c.t.Helper()
	response, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return response.StatusCode, string(b), response.Header
}

func (c *client) get() (int, string) {
	c.t.Helper()
	status, body, _ := c.do(c.request(context.Background(), http.MethodGet, nil))
	return status, body
}

func (c *client) post(body string) (int, string) {
	c.t.Helper()
	status, answer, _ := c.do(c.request(context.Background(), http.MethodPost, strings.NewReader(body)))
	return status, answer
}

// dial asks for the WebSocket of the session.
func (c *client) dial() (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{HandshakeTimeout: patience}
	return d.Dial("ws"+strings.TrimPrefix(c.url("websocket"), "http"), c.head)
}

// upgrade makes the session a WebSocket.
func (c *client) upgrade() *ws {
	c.t.Helper()
	conn, response, err := c.dial()
	if err != nil {
		c.t.Fatalf("dial: %v", err)
	}
	response.Body.Close()
	c.t.Cleanup(func() { conn.Close() })
	w := &ws{c.t, conn}
	w.write("2probe")
	w.read("3probe")
	w.write("5")
	return w
}

// ws is the WebSocket of a session.
type ws struct {
	t    testing.TB
	conn *websocket.Conn
}

func (w *ws) write(packet string) {
	w.t.Helper()
	if err := w.conn.WriteMessage(websocket.TextMessage, []byte(packet)); err != nil {
		w.t.Fatalf("write: %v", err)
	}
}

func (w *ws) read(want string) {
	w.t.Helper()
	_ = w.conn.SetReadDeadline(time.Now().Add(patience))
	_, got, err := w.conn.ReadMessage()
	if err != nil || string(got) != want {
		w.t.Fatalf("read %.100q, %v, want %.100q", got, err, want)
	}
}

// fails returns why the next read does.
func (w *ws) fails() error {
	w.t.Helper()
	_ = w.conn.SetReadDeadline(time.Now().Add(patience))
	_, got, err := w.conn.ReadMessage()
	if err == nil {
		w.t.Fatalf("read %.100q, want the end", got)
	}
	return err
}

// until waits until a condition holds that no channel tells of.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain until %s", patience, what)
		}
	}
}

const unknownSession = `{"code":1,"message":"Session ID unknown"}`
