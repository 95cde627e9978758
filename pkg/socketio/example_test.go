package socketio_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/siotest"
)

// The chat of the Socket.IO tutorial: whatever one client says, everyone hears.
func Example() {
	io, err := socketio.NewServer(nil)
	if err != nil {
		log.Fatal(err)
	}
	io.On("chat message", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		return io.Emit(ctx, "chat message", args)
	})
	http.Handle(io.Path(), io)
	// log.Fatal(http.ListenAndServe(":3000", nil))

	ann, bob := connect(io, nil), connect(io, nil) // in place of browsers
	defer stop(io, ann, bob)
	must(ann.Emit(context.Background(), "chat message", "hello"))
	show("Ann", ann)
	show("Bob", bob)
	// Output:
	// Ann: "chat message" ["hello"]
	// Bob: "chat message" ["hello"]
}

type joinRequest struct{ Room string }

type message struct {
	Room, Text string
}

// Typed events: the compiler checks what travels.
func Example_typed() {
	const (
		joinRoom    socketio.Call[joinRequest, int] = "join"         // with acknowledgement
		chatMessage socketio.Event[message]         = "chat message" // client <-> server
	)
	io := newServer(nil)
	chat := io.Of("/chat")
	joinRoom.Handle(chat, func(ctx context.Context, s *socketio.Socket, r joinRequest) (int, error) {
		return len(s.Rooms()) + 1, s.Join(ctx, r.Room) // the first result is the acknowledgement
	})
	chatMessage.Handle(chat, func(ctx context.Context, s *socketio.Socket, m message) error {
		return chatMessage.Emit(ctx, s.To(m.Room), m) // everyone in the room but s, on every node
	})

	ctx := context.Background()
	ann := connect(io, &siotest.Options{Namespace: "/chat"})
	bob := connect(io, &siotest.Options{Namespace: "/chat"})
	defer stop(io, ann, bob)
	answer, err := bob.EmitWithAck(ctx, "join", joinRequest{Room: "kitchen"})
	must(err)
	var rooms int
	must(answer.Decode(&rooms))
	fmt.Println("Bob is in", rooms, "rooms, one of them his own")
	must(ann.Emit(ctx, "chat message", message{"kitchen", "hello"}))
	show("Bob", bob)
	// Output:
	// Bob is in 2 rooms, one of them his own
	// Bob: "chat message" [{"Room":"kitchen","Text":"hello"}]
}

// newServer makes a server for an example.
func newServer(o *socketio.Options) *socketio.Server {
	io, err := socketio.NewServer(o)
	must(err)
	return io
}

// connect connects a client to it.
func connect(io *socketio.Server, o *siotest.Options) *siotest.Client {
	c, err := siotest.Connect(context.Background(), io, o)
	must(err)
	return c
}

// show prints the next event of a client.
func show(name string, c *siotest.Client) {
	e, err := c.Next(context.Background())
	must(err)
	fmt.Printf("%s: %v\n", name, e)
}

// stop ends an example.
func stop(io *socketio.Server, clients ...*siotest.Client) {
	for _, c := range clients {
		c.Close()
	}
	must(io.Shutdown(context.Background()))
}

func must(err error) {
	if err != nil {
		log.Panic(err)
	}
}
