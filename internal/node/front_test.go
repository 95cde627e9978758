package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// quiet is a log that nobody reads.
var quiet = slog.New(slog.DiscardHandler)

// fakeNode is a server behind the front that tells its name and what it was asked for.
func fakeNode(t *testing.T, name string) *httptest.Server {
	t.Helper()
	upgrader := websocket.Upgrader{} // of the same origin only
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !websocket.IsWebSocketUpgrade(r) {
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %s %s", name, r.Host, r.Header.Get("X-Forwarded-For"), body)
			return
		}
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, message, err := c.ReadMessage()
			if err != nil {
				return
			}
			if c.WriteMessage(kind, append([]byte(name+" "), message...)) != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// startFront starts a front over servers with the tags n1, n2, ... and returns its address.
func startFront(t *testing.T, servers ...*httptest.Server) string {
	t.Helper()
	e, err := listen("addr", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := newFront(e, "/socket.io/", quiet)
	for i, s := range servers {
		f.add(fmt.Sprintf("n%d", i+1), strings.TrimPrefix(s.URL, "http://"))
	}
	f.serve(make(failures, 1))
	t.Cleanup(func() { f.shutdown(context.Background()) })
	return e.addrs()[0]
}

// ask returns the first word of the answer: who answered.
func ask(t *testing.T, client *http.Client, method, url string) string {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		return response.Status
	}
	name, _, _ := strings.Cut(string(body), " ")
	return name
}

func newClient(t *testing.T) *http.Client {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

const (
	handshake = "/socket.io/?EIO=4&transport=polling"
	random20  = "abcdefghij_klmnopqr-" // may have an underscore of its own
)

func TestFrontRouting(t *testing.T) {
	front := "http://" + startFront(t, fakeNode(t, "one"), fakeNode(t, "two"), fakeNode(t, "three"))
	client := newClient(t)

	var got []string
	for _, path := range []string{
		handshake, "/", "/socket.io/socket.io.js", handshake, "/chat.js", "/socket.io/?EIO=4", handshake, "/", handshake,
	} {
		name := ask(t, client, http.MethodGet, front+path)
		if strings.Contains(path, "transport=") {
			got = append(got, name)
		} else if name != "one" {
			t.Errorf("GET %s was answered by %s, want any node", path, name)
		}
	}
	if want := []string{"one", "two", "three", "one"}; !slices.Equal(got, want) {
		t.Errorf("handshakes went to %q, want %q", got, want)
	}
	for sid, want := range map[string]string{
		"n1_" + random20: "one", "n2_" + random20: "two", "n3_" + random20: "three",
		"n9_" + random20: "one", random20: "one", "n2_": "one", "n2": "one",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if name := ask(t, client, method, front+handshake+"&sid="+sid); name != want {
				t.Errorf("%s with sid %s went to %s, want %s", method, sid, name, want)
			}
		}
	}
}

func TestFrontSkipsNodesThatAreAway(t *testing.T) {
	dead := fakeNode(t, "dead")
	dead.Close()
	draining := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(draining.Close)
	client := newClient(t)

	front := "http://" + startFront(t, dead, draining, fakeNode(t, "three"))
	for range 4 {
		for _, path := range []string{handshake, "/"} {
			if name := ask(t, client, http.MethodGet, front+path); name != "three" {
				t.Errorf("GET %s was answered by %s, want three", path, name)
			}
		}
	}
	if got := ask(t, client, http.MethodGet, front+handshake+"&sid=n1_"+random20); got != "502 Bad Gateway" {
		t.Errorf("a session of a dead node got %s, want 502", got)
	}
	if got := ask(t, client, http.MethodGet, "http://"+startFront(t, dead, draining)+handshake); got != "503 Service Unavailable" {
		t.Errorf("with every node away a handshake got %s, want 503", got)
	}
	if got := ask(t, client, http.MethodGet, "http://"+startFront(t, dead)+handshake); got != "502 Bad Gateway" {
		t.Errorf("with a dead node only a handshake got %s, want 502", got)
	}
}

func TestFrontPassesWebSockets(t *testing.T) {
	front := startFront(t, fakeNode(t, "one"), fakeNode(t, "two"))
	for _, want := range []string{"one", "two"} {
		header := http.Header{"Origin": {"http://" + front}} // the node compares it with the host that the client asked
		c, response, err := websocket.DefaultDialer.Dial("ws://"+front+"/socket.io/?EIO=4&transport=websocket", header)
		if err != nil {
			t.Fatalf("dial: %v", err)
		}
		response.Body.Close()
		if err := c.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.ReadMessage(); err != nil || string(got) != want+" hello" {
			t.Errorf("read %q, %v; want %q", got, err, want+" hello")
		}
		c.Close()
	}
}
