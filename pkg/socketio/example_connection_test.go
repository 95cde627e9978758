package socketio_test

import (
	"context"
	"errors"
	"fmt"
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

// Before a node stops, balancers send newcomers elsewhere, while its clients are served.
func ExampleServer_Drain() {
	io := newServer(nil)
	c := connect(io, nil)
	defer stop(io, c)
	fmt.Println("ready:", io.Ready() == nil)
	io.Drain()
	fmt.Println("ready:", io.Ready() == nil)
	_, err := siotest.Connect(context.Background(), io, nil)
	if refused, ok := errors.AsType[*siotest.HandshakeError](err); ok {
		fmt.Println("newcomers:", refused.Status)
	}
	must(io.Emit(context.Background(), "still here"))
	show("the client", c)
	// Output:
	// ready: true
	// ready: false
	// newcomers: 503
	// the client: "still here" []
}
