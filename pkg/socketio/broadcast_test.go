package socketio_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio"
)

// fullAdapter has a queue that is full until ctx ends.
type fullAdapter struct{ adapter.Adapter }

type fullLink struct{ adapter.Link }

func (a fullAdapter) Join(ctx context.Context, nsp string, local adapter.Local) (adapter.Link, error) {
	l, err := a.Adapter.Join(ctx, nsp, local)
	return fullLink{l}, err
}

func (fullLink) Publish(ctx context.Context, _ *adapter.Message) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// The clients of this node do not wait for the line to the others.
func TestLocalDeliveryDoesNotWaitForTheAdapter(t *testing.T) {
	server, front := start(t, &socketio.Options{Adapter: fullAdapter{adapter.NewMemory()}})
	p := dial(t, front, "/")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Emit(ctx, "now") }()
	p.expect(`42["now"]`)
	stop := errors.New("enough")
	cancel(stop)
	if err := receive(t, done); !errors.Is(err, stop) {
		t.Errorf("Emit = %v, want the context's cause", err)
	}
}

// otherNode is the line to another node: it keeps what is published and can deliver.
type otherNode struct {
	adapter.Adapter
	local     adapter.Local
	published []*adapter.Message
}

type otherLink struct {
	adapter.Link
	node *otherNode
}

func (n *otherNode) Join(ctx context.Context, nsp string, local adapter.Local) (adapter.Link, error) {
	l, err := n.Adapter.Join(ctx, nsp, local)
	n.local = local
	return otherLink{l, n}, err
}

func (l otherLink) Publish(_ context.Context, m *adapter.Message) error {
	l.node.published = append(l.node.published, m)
	return nil
}

// What the emitter says about compression counts on every node.
func TestCompressAcrossNodes(t *testing.T) {
	node := &otherNode{Adapter: adapter.NewMemory()}
	server, front := start(t, &socketio.Options{Adapter: node})
	poll := polling(t, front)
	poll("40")
	text := strings.Repeat("x", 4096)
	for _, compress := range []bool{true, false} {
		if err := server.Compress(compress).Emit(t.Context(), "here", text); err != nil {
			t.Fatal(err)
		}
		m := node.published[len(node.published)-1]
		if want := (adapter.Flags{Uncompressed: !compress}); m.Flags != want {
			t.Errorf("Compress(%t) publishes %+v, want %+v", compress, m.Flags, want)
		}
		_, here := poll("")
		node.local.Deliver(m)
		_, there := poll("")
		if want := map[bool]string{true: "gzip"}[compress]; here != want || there != want {
			t.Errorf("Compress(%t): encodings %q on the node of the emitter and %q on another, want %q", compress, here, there, want)
		}
	}
}

// polling opens a session and returns a function that posts packets, if any, and then polls: it returns the body and
// its encoding.
func polling(t *testing.T, front *httptest.Server) func(packets string) (body, encoding string) {
	t.Helper()
	url := front.URL + "/socket.io/?EIO=4&transport=polling"
	request := func(method, body string) (string, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", "gzip")
		response, err := front.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		b, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s %s = %d %q, %v", method, url, response.StatusCode, b, err)
		}
		return string(b), response.Header.Get("Content-Encoding")
	}
	opened, _ := request(http.MethodGet, "")
	_, sid, _ := strings.Cut(opened, `"sid":"`)
	sid, _, _ = strings.Cut(sid, `"`)
	url += "&sid=" + sid
	return func(packets string) (string, string) {
		if packets != "" {
			request(http.MethodPost, packets)
		}
		return request(http.MethodGet, "")
	}
}
