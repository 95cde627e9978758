package siotest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"
	"testing/synctest"

	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/siotest"
)

// chat is what the examples test: rooms, and a nickname for everyone who comes in.
func chat(server *socketio.Server) {
	server.Use(func(ctx context.Context, s *socketio.Socket) error {
		var auth struct{ Name string }
		if err := s.Handshake().DecodeAuth(&auth); err != nil || auth.Name == "" {
			return &socketio.ConnectError{Message: "a name, please"}
		}
		s.Set("name", auth.Name)
		return nil
	})
	server.On("join", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		var room string
		if err := args.Decode(&room); err != nil {
			return err
		}
		if err := s.Join(ctx, room); err != nil {
			return err
		}
		return args.Ack(ctx, "welcome to "+room)
	})
	server.On("say", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		var room, text string
		if err := args.Decode(&room, &text); err != nil {
			return err
		}
		name, _ := s.Get("name")
		return server.To(room).Emit(ctx, "said", name, text)
	})
}

func Example() {
	server, err := socketio.NewServer(nil)
	if err != nil {
		log.Fatal(err)
	}
	chat(server)
	ctx := context.Background()
	defer func() { _ = server.Shutdown(ctx) }()

	ann, err := siotest.Connect(ctx, server, &siotest.Options{Auth: map[string]string{"name": "Ann"}})
	if err != nil {
		log.Fatal(err)
	}
	defer ann.Close()
	welcome, err := ann.EmitWithAck(ctx, "join", "kitchen")
	if err != nil {
		log.Fatal(err)
	}
	var greeting string
	if err := welcome.Decode(&greeting); err != nil {
		log.Fatal(err)
	}
	fmt.Println(greeting)

	if err := ann.Emit(ctx, "say", "kitchen", "hello"); err != nil {
		log.Fatal(err)
	}
	var name, text string
	if err := ann.Expect(ctx, "said", &name, &text); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %s\n", name, text)
	// Output:
	// welcome to kitchen
	// Ann: hello
}

// A middleware's refusal is the error of Connect.
func ExampleConnect_refused() {
	server, err := socketio.NewServer(nil)
	if err != nil {
		log.Fatal(err)
	}
	chat(server)
	ctx := context.Background()
	defer func() { _ = server.Shutdown(ctx) }()

	_, err = siotest.Connect(ctx, server, nil)
	if refusal, ok := errors.AsType[*socketio.ConnectError](err); ok {
		fmt.Println(refusal.Message)
	}
	// Output: a name, please
}

// The server asks, the test answers as the client.
func ExampleEvent_Ack() {
	server, err := socketio.NewServer(nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer func() { _ = server.Shutdown(ctx) }()
	server.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		answer, err := s.EmitWithAck(ctx, "what time is it?")
		if err != nil {
			return err
		}
		return server.Emit(ctx, "it is", answer)
	})

	client, err := siotest.Connect(ctx, server, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	question, err := client.Next(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := question.Ack(ctx, "noon"); err != nil {
		log.Fatal(err)
	}
	answer, err := client.Next(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(question.Name, answer)
	// Output: what time is it? "it is" ["noon"]
}

// In a bubble of testing/synctest, Pending proves that somebody got nothing: kept in step with the package's
// documentation.
func TestRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := start(t, nil)
		chat(server)
		ann := connect(t, server, &siotest.Options{Auth: map[string]string{"name": "Ann"}})
		bob := connect(t, server, &siotest.Options{Auth: map[string]string{"name": "Bob"}})
		if _, err := ann.EmitWithAck(t.Context(), "join", "kitchen"); err != nil {
			t.Error(err)
		}
		if err := ann.Emit(t.Context(), "say", "kitchen", "hello"); err != nil {
			t.Error(err)
		}

		synctest.Wait() // everything has arrived
		if ann.Pending() != 1 || bob.Pending() != 0 {
			t.Errorf("Ann got %d events and Bob, who is not in the kitchen, %d", ann.Pending(), bob.Pending())
		}
	})
}
