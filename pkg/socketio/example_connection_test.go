package socketio_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/siotest"
)

// Rooms are still known while a socket is disconnecting.
func ExampleNamespace_OnDisconnecting() {
	io := newServer(nil)
	joining(io)
	io.OnDisconnecting(func(ctx context.Context, s *socketio.Socket, reason socketio.Reason) {
		if err := s.To(s.Rooms()...).Emit(ctx, "left", string(reason)); err != nil {
			fmt.Println(err)
		}
	})
	ann, bob := in(io, "kitchen"), in(io, "kitchen")
	defer stop(io, bob)
	ann.Close()
	show("Bob", bob)
	// Output: Bob: "left" ["transport close"]
}

// Official clients that the server disconnects do not come back by themselves.
func ExampleSocket_Disconnect() {
	io := newServer(nil)
	io.On("quit", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		s.Disconnect(false) // true: and close the connection, with all its namespaces
		return nil
	})
	io.OnDisconnect(func(ctx context.Context, s *socketio.Socket, reason socketio.Reason) {
		fmt.Println("server:", reason)
	})
	c := connect(io, nil)
	must(c.Emit(context.Background(), "quit"))
	reason, err := c.Wait(context.Background())
	must(err)
	stop(io, c) // waits for the handlers
	fmt.Println("client:", reason)
	// Output:
	// server: server namespace disconnect
	// client: io server disconnect
}

// A client that was away for a moment has missed nothing.
func ExampleRecovery() {
	io := newServer(&socketio.Options{Recovery: &socketio.Recovery{Window: time.Minute}})
	joining(io)
	io.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		fmt.Println("recovered:", s.Recovered())
		return s.Emit(ctx, "hello")
	})
	ctx := context.Background()
	ann := in(io, "kitchen")
	must(ann.Expect(ctx, "hello")) // a client that has received nothing cannot be recovered

	ann.Close()
	must(io.To("kitchen").Emit(ctx, "dinner"))
	back, err := ann.Reconnect(ctx)
	must(err)
	must(back.Expect(ctx, "dinner"))
	must(back.Expect(ctx, "hello"))
	fmt.Println("same id:", back.ID() == ann.ID())
	stop(io, back)
	// Output:
	// recovered: false
	// recovered: true
	// same id: true
}

// Cleaning up can wait until it is certain that nobody comes back.
func ExampleNamespace_OnSessionExpired() {
	io := newServer(&socketio.Options{Recovery: &socketio.Recovery{Window: 10 * time.Millisecond}})
	expired := make(chan socketio.ExpiredSession)
	io.OnSessionExpired(func(ctx context.Context, e socketio.ExpiredSession) { expired <- e })
	io.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		s.Set("name", "Ann")
		return nil
	})
	c := connect(io, nil)
	defer stop(io)
	c.Close()
	e := <-expired
	fmt.Println(e.Data["name"], "is gone, the same id:", e.ID == c.ID())
	// Output: Ann is gone, the same id: true
}

// Clients of a server that stops come back, elsewhere.
func ExampleServer_Shutdown() {
	io := newServer(nil)
	c := connect(io, nil)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	must(io.Emit(ctx, "bye")) // is still sent
	must(io.Shutdown(ctx))

	show("the client", c)
	reason, err := c.Wait(ctx)
	must(err)
	fmt.Println("the client:", reason)
	_, err = siotest.Connect(ctx, io, nil)
	if refused, ok := errors.AsType[*siotest.HandshakeError](err); ok {
		fmt.Println("newcomers:", refused.Status)
	}
	// Output:
	// the client: "bye" []
	// the client: transport close
	// newcomers: 503
}

// The end of a node: newcomers are refused, the balancer has its time to notice, the clients go over to the other nodes bit by
// bit, and only then everything is closed.
func ExampleServer_Drain() {
	io := newServer(nil)
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", io)
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := io.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	front := &http.Server{Handler: mux}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go front.Serve(listener)
	c := connect(io, nil)
	defer c.Close()

	// On SIGTERM:
	ctx, cancel := context.WithTimeout(context.Background(), 35*time.Second)
	defer cancel()
	err = io.Drain(ctx, &socketio.DrainOptions{
		LameDuck: 50 * time.Millisecond, // in production as long as the balancer needs, 5 s for example
		OnProgress: func(p socketio.DrainProgress) {
			fmt.Println(p.Phase, p.Open)
		},
	})
	if err != nil {
		fmt.Println(err) // the time is up: Shutdown cuts what is left
	}
	must(io.Shutdown(ctx))
	must(front.Shutdown(ctx))

	reason, err := c.Wait(ctx)
	must(err)
	fmt.Println("the client:", reason)
	// Output:
	// lame_duck 1
	// closing 1
	// done 0
	// the client: transport close
}
