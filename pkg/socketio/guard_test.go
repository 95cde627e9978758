package socketio_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/parser"
)

// brokenParser is the default one until it is told to do something wrong.
type brokenParser struct {
	parser.Parser
	mode   atomic.Value // of string
	closed atomic.Int64
}

func (b *brokenParser) is(mode string) bool { return b.mode.Load() == mode }

func (b *brokenParser) Encode(p parser.Packet) ([]parser.Chunk, error) {
	switch {
	case b.is("encode"):
		panic("boom")
	case b.is("encode nothing"):
		return nil, nil
	case b.is("encode bytes"):
		return []parser.Chunk{{Data: []byte("\xff")}}, nil
	}
	return b.Parser.Encode(p)
}

func (b *brokenParser) NewDecoder() parser.Decoder {
	switch {
	case b.is("new"):
		panic("boom")
	case b.is("new nil"):
		return nil
	}
	return &brokenDecoder{b.Parser.NewDecoder(), b}
}

type brokenDecoder struct {
	parser.Decoder
	of *brokenParser
}

func (d *brokenDecoder) Add(c parser.Chunk) (*parser.Packet, error) {
	switch {
	case d.of.is("add"):
		panic("boom")
	case d.of.is("add text"):
		return &parser.Packet{Type: parser.Event, Data: []byte(`["a`)}, nil
	case d.of.is("add no array"):
		return &parser.Packet{Type: parser.Ack, HasID: true, Data: []byte(`1`)}, nil
	case d.of.is("add type"):
		return &parser.Packet{Type: 77}, nil
	case d.of.is("add placeholders"):
		return &parser.Packet{Type: parser.Event, Data: []byte(`["a",{"_placeholder":true,"num":7}]`), Binary: [][]byte{{1}}}, nil
	}
	return d.Decoder.Add(c)
}

func (d *brokenDecoder) Close() {
	d.of.closed.Add(1)
	if d.of.is("close") {
		panic("boom")
	}
	d.Decoder.Close()
}

// A parser of the application that is broken costs the connection at most.
func TestBrokenParser(t *testing.T) {
	for _, tt := range []struct {
		mode    string
		panics  uint64
		invalid uint64 // counted as violations
	}{
		{"new", 1, 0}, {"new nil", 1, 0},
		{"add", 1, 0}, {"add text", 0, 1}, {"add no array", 0, 1}, {"add type", 0, 1}, {"add placeholders", 0, 1},
		{"close", 1, 0},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			b := &brokenParser{Parser: parser.Default()}
			server, front := start(t, &socketio.Options{Parser: b})
			told := make(chan error, 2)
			server.OnError(func(_ context.Context, _ *socketio.Socket, err error) { told <- err })
			inNamespace := strings.HasPrefix(tt.mode, "add")
			if !inNamespace {
				b.mode.Store(tt.mode)
			}
			p := open(t, front)
			if tt.mode == "close" {
				p.ws.Close()
			} else {
				if inNamespace {
					p.join("/", "")
					b.mode.Store(tt.mode)
				}
				p.send(`42["event"]`)
				p.expectClosed()
			}
			if inNamespace {
				err := receive(t, told)
				_, panicked := errors.AsType[*socketio.PanicError](err)
				if _, violation := errors.AsType[*socketio.ProtocolError](err); panicked != (tt.panics > 0) || violation == panicked {
					t.Errorf("OnError was told %v", err)
				}
			}
			eventually(t, "panics and violations are counted", func() bool {
				st := server.Stats()
				return st.HandlerPanics == tt.panics && st.Violations == tt.invalid
			})
			if made := !strings.HasPrefix(tt.mode, "new"); made {
				eventually(t, "the decoder is closed once", func() bool { return b.closed.Load() == 1 })
			}
			b.mode.Store("")
			q := dial(t, front, "/")
			if err := server.Emit(t.Context(), "still here"); err != nil {
				t.Error(err)
			}
			q.expect(`42["still here"]`)
		})
	}
	for _, mode := range []string{"encode", "encode nothing", "encode bytes"} {
		t.Run(mode, func(t *testing.T) {
			b := &brokenParser{Parser: parser.Default()}
			server, front := start(t, &socketio.Options{Parser: b})
			server.On("ask", func(ctx context.Context, _ *socketio.Socket, args socketio.Args) error { return args.Ack(ctx) })
			p := dial(t, front, "/")
			b.mode.Store(mode)
			err := server.Emit(t.Context(), "lost")
			if _, panicked := errors.AsType[*socketio.PanicError](err); err == nil || panicked != (mode == "encode") {
				t.Errorf("Emit = %v", err)
			}
			open(t, front).send("40") // the answer cannot be written in the server's format
			p.send(`420["ask"]`)
			eventually(t, "the failed answer is counted", func() bool {
				return server.Stats().HandlerPanics >= 1 || mode != "encode"
			})
			b.mode.Store("")
			p.send(`421["ask"]`)
			for p.read() != `431[]` {
			}
		})
	}
}

// bomb is a value that cannot be written as JSON.
type bomb struct{ Data []byte }

func (bomb) MarshalJSON() ([]byte, error) { panic("boom") }

// badError is an error that cannot even say what it is.
type badError struct{ text *string }

func (e badError) Error() string { return *e.text }

func TestPanickingValues(t *testing.T) {
	server, front := start(t, nil)
	refusals := map[string]error{
		"data":  &socketio.ConnectError{Message: "no", Data: bomb{}},
		"error": badError{},
		"nil":   (*socketio.ConnectError)(nil),
	}
	server.Of("/refusing").Use(func(_ context.Context, s *socketio.Socket) error {
		var auth struct{ As string }
		_ = s.Handshake().DecodeAuth(&auth)
		return refusals[auth.As]
	})
	p := dial(t, front, "/")
	for as, want := range map[string]string{"data": "no", "error": "internal server error", "nil": "internal server error"} {
		p.send(`40/refusing,{"as":"` + as + `"}`)
		p.expect(`44/refusing,{"message":"` + want + `"}`)
	}
	if n := server.Stats().HandlerPanics; n != 3 {
		t.Errorf("HandlerPanics = %d, want 3", n)
	}
	told := make(chan error, 1)
	server.OnError(func(_ context.Context, _ *socketio.Socket, err error) { told <- err })
	server.On("emit", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		return s.Emit(ctx, "x", bomb{})
	})
	server.On("ack", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		return args.Ack(ctx, map[string]any{"bytes": []byte{1}, "bomb": bomb{}})
	})
	for _, send := range []string{`42["emit"]`, `421["ack"]`} {
		p.send(send)
		if _, ok := errors.AsType[*socketio.PanicError](receive(t, told)); !ok {
			t.Errorf("%s: no PanicError", send)
		}
	}
	// Outside of a handler nobody else would stop it.
	for name, emit := range map[string]func() error{
		"broadcast": func() error { return server.Emit(t.Context(), "x", bomb{}) },
		"ack":       func() error { _, err := server.EmitWithAck(t.Context(), "x", &bomb{}); return err },
		"args":      func() error { _, err := socketio.NewArgs([]any{bomb{}}); return err },
	} {
		if _, ok := errors.AsType[*socketio.PanicError](emit()); !ok {
			t.Errorf("%s: no PanicError", name)
		}
	}
	_ = server.Emit(t.Context(), "still here") // p too: what its handlers emitted was broken, not they
	p.expect(`42["still here"]`)
}

// A hook that panics is reported, and refuses what it was to decide about.
func TestPanickingHooks(t *testing.T) {
	boom := func() { panic("secret") }
	for name, tt := range map[string]struct {
		options socketio.Options
		status  int // of a polling handshake
		panics  uint64
		refused bool
	}{
		"AllowRequest":       {socketio.Options{AllowRequest: func(*http.Request) error { boom(); return nil }}, 403, 2, true},
		"AllowRequest error": {socketio.Options{AllowRequest: func(*http.Request) error { return badError{} }}, 403, 2, true},
		"CheckOrigin":        {socketio.Options{CheckOrigin: func(*http.Request) bool { boom(); return true }}, 200, 1, true},
		"AllowOrigin": {socketio.Options{CORS: &socketio.CORS{
			AllowOrigin: func(*http.Request, string) bool { boom(); return true }}}, 200, 3, true},
		"GenerateID":     {socketio.Options{GenerateID: func(*http.Request) (string, error) { boom(); return "", nil }}, 400, 2, true},
		"InitialHeaders": {socketio.Options{InitialHeaders: func(http.Header, *http.Request) { boom() }}, 200, 2, false},
		"Headers":        {socketio.Options{Headers: func(http.Header, *http.Request) { boom() }}, 200, 2, false},
		"ConnectionError": {socketio.Options{
			AllowRequest:    func(*http.Request) error { return errors.New("no") },
			ConnectionError: func(socketio.RefusedRequest) { boom() }}, 403, 2, true},
		"abort": {socketio.Options{AllowRequest: func(*http.Request) error { panic(http.ErrAbortHandler) }}, 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			server, front := start(t, &tt.options)
			url := front.URL + "/socket.io/?EIO=4&transport="
			header := http.Header{"Origin": {"https://other.example"}}
			req, _ := http.NewRequest(http.MethodGet, url+"polling", nil)
			req.Header = header
			status, body := 0, []byte(nil)
			if resp, err := http.DefaultClient.Do(req); err == nil {
				status = resp.StatusCode
				body, _ = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if status != tt.status || strings.Contains(string(body), "secret") {
				t.Errorf("polling handshake = %d %s, want %d", status, body, tt.status)
			}
			if name != "CheckOrigin" && name != "AllowOrigin" { // of another origin it would be refused before
				header = nil
			}
			ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"websocket", header)
			if err == nil {
				ws.Close()
			}
			if (err != nil) != tt.refused {
				t.Errorf("WebSocket handshake: %v", err)
			}
			if n := server.Stats().HandlerPanics; n != tt.panics {
				t.Errorf("HandlerPanics = %d, want %d", n, tt.panics)
			}
		})
	}
}

func TestPanickingTrace(t *testing.T) {
	var log strings.Builder
	var mu sync.Mutex
	handler := slog.NewTextHandler(writer(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(b)
	}), nil)
	server, front := start(t, &socketio.Options{Logger: slog.New(handler), Trace: &socketio.Trace{
		SessionClosed: func(string, socketio.Reason, time.Duration) { panic("boom") },
		BroadcastDone: func(string, int, time.Duration) { panic("boom") },
		Delivered:     func(string, time.Duration) { panic("boom") },
		HandlerDone:   func(string, time.Duration, error) { panic("boom") },
	}})
	server.On("event", func(context.Context, *socketio.Socket, socketio.Args) error { return nil })
	left := make(chan struct{})
	server.OnDisconnect(func(context.Context, *socketio.Socket, socketio.Reason) { close(left) })
	p := dial(t, front, "/")
	p.send(`42["event"]`)
	if err := server.Emit(t.Context(), "news"); err != nil {
		t.Error(err)
	}
	p.expect(`42["news"]`)
	p.ws.Close()
	receive(t, left)
	eventually(t, "all four are counted", func() bool { return server.Stats().HandlerPanics == 4 })
	eventually(t, "all four are logged", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, name := range []string{"SessionClosed", "BroadcastDone", "Delivered", "HandlerDone"} {
			if !strings.Contains(log.String(), "function=Trace."+name) {
				return false
			}
		}
		return true
	})

	var bad adapter.Trace
	fields := reflect.ValueOf(&bad).Elem()
	for _, field := range fields.Fields() {
		field.Set(reflect.MakeFunc(field.Type(), func([]reflect.Value) []reflect.Value { panic("boom") }))
	}
	good := reflect.ValueOf(socketio.GuardTrace(server, &bad)).Elem()
	for _, field := range good.Fields() {
		in := make([]reflect.Value, field.Type().NumIn())
		for j := range in {
			in[j] = reflect.Zero(field.Type().In(j))
		}
		field.Call(in)
	}
	if empty := *socketio.GuardTrace(server, &adapter.Trace{}); !reflect.ValueOf(empty).IsZero() {
		t.Errorf("the guard of nothing has functions: %+v", empty)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
