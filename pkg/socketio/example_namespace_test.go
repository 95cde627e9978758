package socketio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/siotest"
)

// Namespaces are channels of their own over the same connection.
func ExampleServer_Of() {
	io := newServer(nil)
	news := io.Of("/news")

	ctx := context.Background()
	main := connect(io, nil)
	defer stop(io, main)
	reader, err := main.Of(ctx, "/news", nil)
	must(err)
	must(news.Emit(ctx, "headline", "for /news"))
	must(io.Emit(ctx, "headline", "for /"))
	show("/news", reader)
	show("/", main)
	// Output:
	// /news: "headline" ["for /news"]
	// /: "headline" ["for /"]
}

// The first client that asks makes the namespace.
func ExampleServer_OfMatch() {
	io := newServer(nil)
	tenants := io.OfMatch(regexp.MustCompile(`^/tenant-\d+$`))
	tenants.On("who?", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		return args.Ack(ctx, s.Namespace().Name())
	})

	ctx := context.Background()
	seven := connect(io, &siotest.Options{Namespace: "/tenant-7"})
	eight := connect(io, &siotest.Options{Namespace: "/tenant-8"})
	defer stop(io, seven, eight)
	answer, err := seven.EmitWithAck(ctx, "who?")
	must(err)
	fmt.Println(string(answer.Raw(0).JSON()))
	must(tenants.Emit(ctx, "maintenance", "at noon"))
	show("7", seven)
	show("8", eight)
	// Output:
	// "/tenant-7"
	// 7: "maintenance" ["at noon"]
	// 8: "maintenance" ["at noon"]
}

// A function may look at the credentials too.
func ExampleServer_OfFunc() {
	io := newServer(nil)
	io.OfFunc(func(ctx context.Context, name string, auth json.RawMessage) (bool, error) {
		var credentials struct{ Game string }
		if auth == nil || json.Unmarshal(auth, &credentials) != nil {
			return false, nil
		}
		return strings.TrimPrefix(name, "/game-") == credentials.Game, nil
	})

	player := connect(io, &siotest.Options{Namespace: "/game-chess", Auth: map[string]string{"game": "chess"}})
	defer stop(io, player)
	_, err := player.Of(context.Background(), "/game-go", map[string]string{"game": "chess"})
	if refusal, ok := errors.AsType[*socketio.ConnectError](err); ok {
		fmt.Println(refusal.Message)
	}
	// Output: Invalid namespace
}

func ExampleServer_OnNamespace() {
	io := newServer(nil)
	io.OnNamespace(func(n *socketio.Namespace) { fmt.Println("made", n.Name()) })
	io.Of("/chat")
	io.OfMatch(regexp.MustCompile(`^/room-`))
	visitor := connect(io, &siotest.Options{Namespace: "/room-1"})
	defer stop(io, visitor)
	// Output:
	// made /chat
	// made /room-1
}

// A middleware decides who may join.
func ExampleNamespace_Use() {
	io := newServer(nil)
	admin := io.Of("/admin")
	admin.Use(func(ctx context.Context, s *socketio.Socket) error {
		var auth struct{ Token string }
		if err := s.Handshake().DecodeAuth(&auth); err != nil {
			return err
		}
		if auth.Token != "secret" {
			return &socketio.ConnectError{Message: "not authorized", Data: "ask Ann"}
		}
		s.Set("role", "admin")
		return nil
	})
	admin.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		role, _ := s.Get("role")
		return s.Emit(ctx, "welcome", role)
	})

	ann := connect(io, &siotest.Options{Namespace: "/admin", Auth: map[string]string{"token": "secret"}})
	defer stop(io, ann)
	show("Ann", ann)
	_, err := siotest.Connect(context.Background(), io, &siotest.Options{Namespace: "/admin"})
	if refusal, ok := errors.AsType[*socketio.ConnectError](err); ok {
		fmt.Println("others:", refusal.Message, "-", refusal.Data)
	}
	// Output:
	// Ann: "welcome" ["admin"]
	// others: not authorized - ask Ann
}

func ExampleNamespace_OnError() {
	io := newServer(nil)
	io.On("divide", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		var a, b int
		if err := args.Decode(&a, &b); err != nil {
			return err
		}
		return args.Ack(ctx, a/b) // a panic ends this socket only
	})
	done := make(chan struct{})
	io.OnError(func(ctx context.Context, s *socketio.Socket, err error) {
		defer close(done)
		if p, ok := errors.AsType[*socketio.PanicError](err); ok {
			fmt.Println("panic:", p.Value)
		}
	})

	c := connect(io, nil)
	defer stop(io, c)
	must(c.Emit(context.Background(), "divide", 1, 0))
	<-done
	// Output: panic: runtime error: integer divide by zero
}
