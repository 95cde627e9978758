package socketio_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"example.com/chorus/pkg/socketio"
)

// The chat of the Socket.IO tutorial: whatever one client says, everyone hears.
func Example() {
	io, err := socketio.NewServer(nil)
	if err != nil {
		log.Fatal(err)
	}
	io.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		log.Println("a user connected")
		return nil
	})
	io.On("chat message", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		return io.Emit(ctx, "chat message", args)
	})
	http.Handle("/socket.io/", io)
	fmt.Println("listening below", io.Path())
	// log.Fatal(http.ListenAndServe(":3000", nil))

	_ = io.Shutdown(context.Background())
	// Output: listening below /socket.io/
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
	io, err := socketio.NewServer(&socketio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = io.Shutdown(context.Background()) }()

	chat := io.Of("/chat")
	chat.Use(func(ctx context.Context, s *socketio.Socket) error {
		if len(s.Handshake().Auth) == 0 {
			return &socketio.ConnectError{Message: "who are you?"}
		}
		return nil
	})
	joinRoom.Handle(chat, func(ctx context.Context, s *socketio.Socket, r joinRequest) (int, error) {
		return len(s.Rooms()) + 1, s.Join(ctx, r.Room) // the first result is the acknowledgement
	})
	chatMessage.Handle(chat, func(ctx context.Context, s *socketio.Socket, m message) error {
		return chatMessage.Emit(ctx, s.To(m.Room), m) // everyone in the room but s, on every node
	})
	fmt.Println(chat.Name())
	// Output: /chat
}

func ExampleBroadcast() {
	io, err := socketio.NewServer(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = io.Shutdown(context.Background()) }()
	ctx := context.Background()

	_ = io.Emit(ctx, "news", "for everyone")
	_ = io.To("a", "b").Except("c").Emit(ctx, "news", "for those in a or b, but not in c")
	_ = io.Local().Volatile().Emit(ctx, "cursor", 12, 34) // this node, and only who is ready
	fmt.Println("sent")
	// Output: sent
}

func ExampleSocket_EmitWithAck() {
	io, err := socketio.NewServer(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = io.Shutdown(context.Background()) }()
	io.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		answer, err := s.EmitWithAck(ctx, "what is your name?")
		if err != nil {
			return err
		}
		var name string
		if err := answer.Decode(&name); err != nil {
			return err
		}
		return s.Broadcast().Emit(ctx, "joined", name)
	})
	fmt.Println("asks every client")
	// Output: asks every client
}
