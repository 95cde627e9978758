// Package siotest tests Socket.IO handlers without a network, as net/http/httptest tests HTTP handlers.
//
// A [Client] speaks to an http.Handler, such as a socketio.Server or the mux in front of it, over a WebSocket in
// memory:
//
//	client, err := siotest.Connect(ctx, server, nil)
//	if err != nil {
//		t.Fatal(err)
//	}
//	defer client.Close()
//	if err := client.Emit(ctx, "chat message", "hello"); err != nil {
//		t.Error(err)
//	}
//	var text string
//	if err := client.Expect(ctx, "chat message", &text); err != nil {
//		t.Error(err)
//	}
//
// Everything from the HTTP handshake to the bytes of packets is what an official client sends and receives, but it
// never reconnects by itself. The server must have the WebSocket transport enabled, as it has by default.
//
// # Time
//
// A wait whose context has no deadline ends after [Options].Timeout. In a bubble of testing/synctest that costs no
// time, and synctest.Wait returns when everything that was sent has arrived and was handled, so that one can tell that
// nothing came:
//
//	synctest.Test(t, func(t *testing.T) {
//		// make the server, connect ann and bob, who is not in the room
//		if err := ann.Emit(t.Context(), "say", "kitchen", "hello"); err != nil {
//			t.Error(err)
//		}
//		synctest.Wait()
//		if n := bob.Pending(); n != 0 {
//			t.Errorf("Bob got %d events", n)
//		}
//		// close the clients and shut the server down
//	})
package siotest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"example.com/chorus/pkg/socketio/parser"
)

// Options of a client. nil and the zero value work.
type Options struct {
	// Namespace to join. Default "/".
	Namespace string
	// Auth is the payload of the CONNECT packet: what encoding/json writes as an object. Default none.
	Auth any
	// Path of the server. Default "/socket.io/".
	Path string
	// Header is sent with the handshake. Host is the request's host; its default is example.com.
	Header http.Header
	// Query is added to that of the protocol.
	Query url.Values
	// Parser is that of the server. Default parser.Default().
	Parser parser.Parser
	// Timeout ends waits whose context has no deadline. Default 10 s.
	Timeout time.Duration
}

func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	out.Namespace = withSlash(out.Namespace)
	if out.Path == "" {
		out.Path = "/socket.io/"
	}
	if out.Parser == nil {
		out.Parser = parser.Default()
	}
	if out.Timeout == 0 {
		out.Timeout = 10 * time.Second
	}
	return out
}

func withSlash(namespace string) string { return "/" + strings.TrimPrefix(namespace, "/") }

// request is the handshake.
func (o *Options) request() (*http.Request, error) {
	q := url.Values{"EIO": {"4"}, "transport": {"websocket"}}
	maps.Copy(q, o.Query)
	u := url.URL{Scheme: "http", Host: "example.com", Path: o.Path, RawQuery: q.Encode()}
	r, err := http.NewRequest(http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if o.Header != nil {
		r.Header = o.Header.Clone()
		if host := r.Header.Get("Host"); host != "" {
			r.Host = host
		}
	}
	return r, nil
}

// Connect opens a connection and joins a namespace. A server that refuses the handshake is a HandshakeError, one
// that refuses the namespace a socketio.ConnectError: use errors.As. The client must be closed.
func Connect(ctx context.Context, h http.Handler, o *Options) (*Client, error) {
	return connect(ctx, h, o.withDefaults(), session{})
}

func connect(ctx context.Context, h http.Handler, o Options, s session) (*Client, error) {
	ctx, cancel := o.limit(ctx)
	defer cancel()
	r, err := o.request()
	if err != nil {
		return nil, fmt.Errorf("siotest: connect: %w", err)
	}
	ws, err := dial(ctx, h, r)
	if err != nil {
		return nil, fmt.Errorf("siotest: connect: %w", err)
	}
	conn := newConnection(ws, o.Parser)
	c, err := conn.join(ctx, h, o, s)
	if err != nil {
		conn.close()
		return nil, err
	}
	return c, nil
}

// limit gives a context without a deadline one.
func (o *Options) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, limited := ctx.Deadline(); limited {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("nothing came within %v: %w", o.Timeout, context.DeadlineExceeded))
}

// session is what connection state recovery needs to find a session again.
type session struct{ pid, offset string }

// payload is the data of a CONNECT packet.
func (s session) payload(auth any) ([]byte, error) {
	if auth == nil && (s.pid == "" || s.offset == "") {
		return nil, nil
	}
	b := []byte("{}")
	if auth != nil {
		var err error
		if b, err = json.Marshal(auth); err != nil {
			return nil, err
		}
	}
	if b[0] != '{' {
		return nil, fmt.Errorf("auth is %.40s, want an object", b)
	}
	if s.pid == "" || s.offset == "" {
		return b, nil
	}
	keys := map[string]json.RawMessage{"pid": quote(s.pid), "offset": quote(s.offset)}
	if err := json.Unmarshal(b, &keys); err != nil { // the user's keys win
		return nil, err
	}
	return json.Marshal(keys)
}

func quote(s string) json.RawMessage { return parser.AppendString(nil, s) }
