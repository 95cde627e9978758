package socketio_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing/fstest"
	"time"

	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/parser"
	"example.com/chorus/pkg/socketio/siotest"
)

// handshake asks for a polling session.
func handshake(io *socketio.Server, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/socket.io/?EIO=4&transport=polling", nil)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	io.ServeHTTP(w, r)
	return w
}

// Requests can be refused, and reported, and answers can get headers.
func ExampleOptions_handshake() {
	io := newServer(&socketio.Options{
		AllowRequest: func(r *http.Request) error {
			if r.Header.Get("X-Api-Version") == "1" {
				return errors.New("version 1 has ended")
			}
			return nil
		},
		InitialHeaders: func(h http.Header, r *http.Request) { h.Set("X-Node", "n1") },
		ConnectionError: func(e socketio.RefusedRequest) {
			fmt.Println("refused:", e.Code, e.Message)
		},
	})
	defer stop(io)
	old := handshake(io, func(r *http.Request) { r.Header.Set("X-Api-Version", "1") })
	fmt.Println(old.Code, old.Body)
	fmt.Println(handshake(io, nil).Header().Get("X-Node"))
	// Output:
	// refused: 4 version 1 has ended
	// 403 {"code":4,"message":"version 1 has ended"}
	// n1
}

// Middlewares are those of net/http.
func ExampleOptions_middleware() {
	count := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Println(r.Method, r.URL.Path)
			next.ServeHTTP(w, r)
		})
	}
	io := newServer(&socketio.Options{Middleware: []func(http.Handler) http.Handler{count}})
	defer stop(io)
	handshake(io, nil)
	// Output: GET /socket.io/
}

// Pages of another origin may speak to the server.
// A server that lets a burst of newcomers wait in the kernel: when a node is gone, all of its clients come at once.
func ExamplePaced() {
	io, err := socketio.NewServer(nil)
	if err != nil {
		log.Fatal(err)
	}
	web := &http.Server{Handler: io}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() { _ = web.Serve(socketio.Paced(listener, web)) }()

	res, err := http.Get("http://" + listener.Addr().String() + "/socket.io/?EIO=4&transport=polling")
	if err != nil {
		log.Fatal(err)
	}
	_ = res.Body.Close()
	fmt.Println(res.Status)
	_ = io.Shutdown(context.Background())
	_ = web.Close()
	http.DefaultClient.CloseIdleConnections()
	// Output: 200 OK
}

func ExampleCORS() {
	io := newServer(&socketio.Options{
		CORS: &socketio.CORS{Origins: []string{"https://app.example"}, Credentials: true},
	})
	defer stop(io)
	for _, origin := range []string{"https://app.example", "https://evil.example"} {
		w := handshake(io, func(r *http.Request) { r.Header.Set("Origin", origin) })
		fmt.Printf("%s: %q\n", origin, w.Header().Get("Access-Control-Allow-Origin"))
	}
	// Output:
	// https://app.example: "https://app.example"
	// https://evil.example: ""
}

// Browsers do not restrict WebSockets: the server must.
func ExampleOptions_checkOrigin() {
	io := newServer(&socketio.Options{
		CheckOrigin: func(r *http.Request) bool { return strings.HasSuffix(r.Header.Get("Origin"), ".app.example") },
	})
	defer stop(io)
	for _, origin := range []string{"https://one.app.example", "https://evil.example"} {
		c, err := siotest.Connect(context.Background(), io, &siotest.Options{Header: http.Header{"Origin": {origin}}})
		if err == nil {
			c.Close()
		}
		fmt.Println(origin, err == nil)
	}
	// Output:
	// https://one.app.example true
	// https://evil.example false
}

// A cookie for balancers that route by cookies.
func ExampleOptions_cookie() {
	io := newServer(&socketio.Options{
		Cookie:     &socketio.Cookie{},
		GenerateID: func(*http.Request) (string, error) { return "not-for-production", nil },
	})
	defer stop(io)
	fmt.Println(handshake(io, nil).Header().Get("Set-Cookie"))
	// Output: io=not-for-production; Path=/; HttpOnly; SameSite=Lax
}

// A tag in front of every session's id, for balancers that route by it.
func ExampleOptions_routeTag() {
	io := newServer(&socketio.Options{RouteTag: "n1"})
	defer stop(io)
	body := handshake(io, nil).Body.String()
	fmt.Println(strings.HasPrefix(body, `0{"sid":"n1_`))
	// Output: true
}

// Long polling answers are compressed for clients that accept it.
func ExampleHTTPCompression() {
	io := newServer(&socketio.Options{
		HTTPCompression: socketio.HTTPCompression{Threshold: 64},
	})
	defer stop(io)
	w := handshake(io, func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip, deflate") })
	fmt.Println(w.Header().Get("Content-Encoding"))
	// Output: gzip
}

// Packets as MessagePack, for clients that use socket.io-msgpack-parser.
func ExampleOptions_parser() {
	io := newServer(&socketio.Options{Parser: parser.Msgpack()})
	io.On("echo", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error { return args.Ack(ctx, args) })
	c := connect(io, &siotest.Options{Parser: parser.Msgpack()})
	defer stop(io, c)
	answer, err := c.EmitWithAck(context.Background(), "echo", "text", []byte{1, 2})
	must(err)
	var (
		text string
		data []byte
	)
	must(answer.Decode(&text, &data))
	fmt.Println(text, data)
	// Output: text [1 2]
}

// Clients of Socket.IO 2 speak protocol 3 of Engine.IO.
func ExampleOptions_allowEIO3() {
	for _, allowed := range []bool{false, true} {
		io := newServer(&socketio.Options{AllowEIO3: allowed})
		w := handshake(io, func(r *http.Request) { r.URL.RawQuery = "EIO=3&transport=polling" })
		fmt.Println(allowed, w.Code)
		stop(io)
	}
	// Output:
	// false 400
	// true 200
}

// The browser's script comes from the npm package socket.io-client, here from memory.
func ExampleOptions_client() {
	dist := fstest.MapFS{"socket.io.min.js": {Data: []byte("/*! Socket.IO v4.8.4 */")}}
	io := newServer(&socketio.Options{Client: dist}) // os.DirFS("node_modules/socket.io-client/dist")
	defer stop(io)
	w := httptest.NewRecorder()
	io.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/socket.io/socket.io.min.js", nil))
	fmt.Println(w.Code, w.Header().Get("ETag"), w.Body)
	// Output: 200 "4.8.4" /*! Socket.IO v4.8.4 */
}

// A broadcast is compressed once for all receivers that understand it; others get it as it is.
func ExamplePerMessageDeflate() {
	io := newServer(&socketio.Options{PerMessageDeflate: &socketio.PerMessageDeflate{Threshold: 512}})
	c := connect(io, nil)
	defer stop(io, c)
	must(io.Emit(context.Background(), "page", strings.Repeat("text ", 1000)))
	var text string
	must(c.Expect(context.Background(), "page", &text))
	fmt.Println(len(text))
	// Output: 5000
}

func ExampleServer_Stats() {
	io := newServer(nil)
	c := connect(io, nil)
	defer stop(io, c)
	must(io.Emit(context.Background(), "news"))
	stats := io.Stats()
	main := stats.Namespaces[0]
	fmt.Println(main.Name, main.Sockets, main.Broadcasts[socketio.BroadcastKey{Origin: socketio.OriginLocal, Scope: "all"}])
	// Output: / 1 1
}

// A trace is told of single happenings, for metrics and tracing.
func ExampleTrace() {
	handled := make(chan string, 1)
	io := newServer(&socketio.Options{Trace: &socketio.Trace{
		HandlerDone: func(event string, d time.Duration, err error) { handled <- event },
	}})
	io.On("work", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error { return nil })
	c := connect(io, nil)
	defer stop(io, c)
	must(c.Emit(context.Background(), "work"))
	fmt.Println(<-handled)
	// Output: work
}

// A parser of one's own wraps another one, or replaces it.
type countingParser struct {
	parser.Parser
	chunks *int
}

func (p countingParser) Encode(packet parser.Packet) ([]parser.Chunk, error) {
	chunks, err := p.Parser.Encode(packet)
	*p.chunks += len(chunks)
	return chunks, err
}

func ExampleOptions_customParser() {
	chunks := 0
	io := newServer(&socketio.Options{Parser: countingParser{parser.Default(), &chunks}})
	c := connect(io, nil)
	must(io.Emit(context.Background(), "binary", []byte{1}, []byte{2}))
	var a, b []byte
	must(c.Expect(context.Background(), "binary", &a, &b))
	stop(io, c)
	fmt.Println(chunks, bytes.Equal(a, []byte{1})) // the answer to CONNECT, a header, two attachments
	// Output: 4 true
}
