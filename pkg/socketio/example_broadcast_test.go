package socketio_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/siotest"
)

// joining lets clients choose their rooms.
func joining(io *socketio.Server) {
	io.On("join", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		var rooms []string
		if err := args.Decode(&rooms); err != nil {
			return err
		}
		if err := s.Join(ctx, rooms...); err != nil {
			return err
		}
		return args.Ack(ctx)
	})
}

// in connects a client that is in rooms.
func in(io *socketio.Server, rooms ...string) *siotest.Client {
	c := connect(io, nil)
	_, err := c.EmitWithAck(context.Background(), "join", rooms)
	must(err)
	return c
}

// Who gets an event is chosen step by step.
func ExampleBroadcast() {
	io := newServer(nil)
	joining(io)
	ctx := context.Background()
	red, blue, both := in(io, "red"), in(io, "blue"), in(io, "red", "blue")
	defer stop(io, red, blue, both)

	must(io.To("red", "blue").Emit(ctx, "all", 1))           // each once
	must(io.To("red").Except("blue").Emit(ctx, "red only"))  // not for both
	must(io.To(blue.ID()).Emit(ctx, "private"))              // an id is a room
	must(io.Local().Volatile().Emit(ctx, "cursor", 12, 34))  // this node, and only who is ready
	must(io.Except("red").Compress(false).Emit(ctx, "last")) // everyone who is not red
	for range 3 {
		show("red", red)
	}
	for range 4 {
		show("blue", blue)
	}
	for range 2 {
		show("both", both)
	}
	// Output:
	// red: "all" [1]
	// red: "red only" []
	// red: "cursor" [12,34]
	// blue: "all" [1]
	// blue: "private" []
	// blue: "cursor" [12,34]
	// blue: "last" []
	// both: "all" [1]
	// both: "cursor" [12,34]
}

// Everyone is asked; who does not answer in time is missed by name of the error.
func ExampleBroadcast_EmitWithAck() {
	io := newServer(nil)
	ann, bob := connect(io, nil), connect(io, nil)
	defer stop(io, ann, bob)
	go func() {
		question, err := ann.Next(context.Background())
		must(err)
		must(question.Ack(context.Background(), "here"))
	}()

	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	answers, err := io.EmitWithAck(ctx, "still there?")
	for _, a := range answers {
		fmt.Println(string(a.Raw(0).JSON()))
	}
	if missing, ok := errors.AsType[*socketio.MissingAcksError](err); ok {
		fmt.Println(missing.Received, "of", missing.Expected)
	}
	// Output:
	// "here"
	// 1 of 2
}

// To everyone in a room but the sender.
func ExampleSocket_To() {
	io := newServer(nil)
	joining(io)
	io.On("say", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		if err := s.To("kitchen").Emit(ctx, "said", args); err != nil {
			return err
		}
		return args.Ack(ctx, "said")
	})

	ann, bob := in(io, "kitchen"), in(io, "kitchen")
	defer stop(io, ann, bob)
	_, err := ann.EmitWithAck(context.Background(), "say", "hello")
	must(err)
	show("Bob", bob)
	fmt.Println("Ann:", ann.Pending()) // what comes before an acknowledgement was sent before it
	// Output:
	// Bob: "said" ["hello"]
	// Ann: 0
}

func ExampleSocket_Join() {
	io := newServer(nil)
	io.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		if err := s.Join(ctx, "lobby", "news"); err != nil {
			return err
		}
		s.Leave("lobby")
		rooms := slices.DeleteFunc(s.Rooms(), func(room string) bool { return room == s.ID() })
		return s.Emit(ctx, "rooms", rooms)
	})
	c := connect(io, nil)
	defer stop(io, c)
	show("the client", c)
	// Output: the client: "rooms" [["news"]]
}
