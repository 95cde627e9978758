package socketio_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/siotest"
)

// Arguments are decoded when the handler asks, into what it asks for.
func ExampleArgs_Decode() {
	io := newServer(nil)
	io.On("order", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		var (
			id   int
			item struct {
				Name   string
				Amount int `json:"amount"`
			}
		)
		if err := args.Decode(&id, &item); err != nil {
			return err
		}
		return args.Ack(ctx, fmt.Sprintf("%d: %d x %s", id, item.Amount, item.Name))
	})

	c := connect(io, nil)
	defer stop(io, c)
	answer, err := c.EmitWithAck(context.Background(), "order", 12, map[string]any{"name": "tea", "amount": 2})
	must(err)
	var text string
	must(answer.Decode(&text))
	fmt.Println(text)
	// Output: 12: 2 x tea
}

// The client asks, the server answers.
func ExampleArgs_Ack() {
	io := newServer(nil)
	io.On("add", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		var a, b int
		if err := args.Decode(&a, &b); err != nil {
			return args.Ack(ctx, "two numbers, please")
		}
		return args.Ack(ctx, nil, a+b)
	})

	c := connect(io, nil)
	defer stop(io, c)
	for _, b := range []any{2, "two"} {
		answer, err := c.EmitWithAck(context.Background(), "add", 1, b)
		must(err)
		data, _ := answer.Encode()
		fmt.Println(string(data))
	}
	// Output:
	// [null,3]
	// ["two numbers, please"]
}

// The server asks, the client answers.
func ExampleSocket_EmitWithAck() {
	io := newServer(nil)
	io.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		answer, err := s.EmitWithAck(ctx, "what is your name?")
		if err != nil {
			return err
		}
		var name string
		if err := answer.Decode(&name); err != nil {
			return err
		}
		return s.Emit(ctx, "welcome", name)
	})

	c := connect(io, nil)
	defer stop(io, c)
	question, err := c.Next(context.Background())
	must(err)
	must(question.Ack(context.Background(), "Ann"))
	show("the client", c)
	// Output: the client: "welcome" ["Ann"]
}

// A Handler can be called like any function.
func ExampleNewArgs() {
	greet := func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		var name string
		if err := args.Decode(&name); err != nil {
			return err
		}
		fmt.Println("hello", name)
		return nil
	}
	args, err := socketio.NewArgs("Ann")
	must(err)
	must(greet(context.Background(), nil, args))
	// Output: hello Ann
}

// One argument with a type, []byte in it as binary.
func ExampleEvent() {
	type file struct {
		Name string `json:"name"`
		Data []byte `json:"data"`
	}
	const upload socketio.Event[file] = "upload"

	io := newServer(nil)
	upload.Handle(io, func(ctx context.Context, s *socketio.Socket, f file) error {
		f.Name = "copy of " + f.Name
		return upload.Emit(ctx, s, f)
	})

	c := connect(io, nil)
	defer stop(io, c)
	must(c.Emit(context.Background(), "upload", file{"a.bin", []byte{1, 2, 3}}))
	var back file
	must(c.Expect(context.Background(), "upload", &back))
	fmt.Println(back.Name, back.Data)
	// Output: copy of a.bin [1 2 3]
}

// Several arguments with types, there and back.
func ExampleSeveral() {
	type division struct {
		socketio.Several
		A, B int
	}
	type result struct {
		socketio.Several
		Quotient, Rest int
	}
	const divide socketio.Call[division, result] = "divide"

	io := newServer(nil)
	divide.Handle(io, func(_ context.Context, _ *socketio.Socket, d division) (result, error) {
		return result{Quotient: d.A / d.B, Rest: d.A % d.B}, nil
	})

	c := connect(io, nil)
	defer stop(io, c)
	answer, err := c.EmitWithAck(context.Background(), "divide", 17, 5)
	must(err)
	var quotient, rest int
	must(answer.Decode(&quotient, &rest))
	fmt.Println(quotient, rest)
	// Output: 3 2
}

// A question to one client, typed on both sides.
func ExampleCall_Call() {
	const roll socketio.Call[int, []int] = "roll dice"

	io := newServer(nil)
	io.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		dice, err := roll.Call(ctx, s, 2)
		if err != nil {
			return err
		}
		return s.Emit(ctx, "sum", dice[0]+dice[1])
	})

	c := connect(io, nil)
	defer stop(io, c)
	question, err := c.Next(context.Background())
	must(err)
	must(question.Ack(context.Background(), []int{5, 6}))
	show("the client", c)
	// Output: the client: "sum" [11]
}

// A question to many clients: what came is there even if somebody is missing.
func ExampleCall_CallAll() {
	const ready socketio.Call[string, bool] = "ready?"

	io := newServer(nil)
	a, b := connect(io, nil), connect(io, nil)
	defer stop(io, a, b)
	for i, c := range []*siotest.Client{a, b} {
		go func() {
			question, err := c.Next(context.Background())
			must(err)
			must(question.Ack(context.Background(), i == 0))
		}()
	}
	answers, err := ready.CallAll(context.Background(), io, "round 2")
	yes := 0
	for _, answer := range answers {
		if answer {
			yes++
		}
	}
	fmt.Println(yes, "of", len(answers), err)
	// Output: 1 of 2 <nil>
}

// Middlewares of a socket see its events before the handlers.
func ExampleSocket_Use() {
	io := newServer(nil)
	io.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		s.Use(func(ctx context.Context, event string, args socketio.Args) error {
			if args.Size() > 100 {
				return fmt.Errorf("%s with %d bytes", event, args.Size())
			}
			return nil
		})
		return nil
	})
	refused := make(chan struct{})
	io.OnError(func(ctx context.Context, s *socketio.Socket, err error) {
		fmt.Println("refused")
		close(refused)
	})
	io.On("say", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		return args.Ack(ctx, "heard")
	})

	c := connect(io, nil)
	defer stop(io, c)
	answer, err := c.EmitWithAck(context.Background(), "say", "hello")
	must(err)
	fmt.Println(string(answer.Raw(0).JSON()))
	must(c.Emit(context.Background(), "say", make([]byte, 200)))
	<-refused
	// Output:
	// "heard"
	// refused
}

// Catch-all handlers see everything that comes and goes.
func ExampleSocket_OnAny() {
	io := newServer(nil)
	io.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		s.OnAny(func(ctx context.Context, event string, args socketio.Args) {
			fmt.Println("in:", event, args.Len())
		})
		s.OnAnyOutgoing(func(ctx context.Context, event string, args socketio.Args) {
			fmt.Println("out:", event, args.Len())
		})
		return nil
	})
	io.On("ping me", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		return s.Emit(ctx, "ping", "for", "you")
	})

	c := connect(io, nil)
	must(c.Emit(context.Background(), "ping me"))
	must(c.Expect(context.Background(), "ping"))
	stop(io, c) // waits for the handlers
	// Output:
	// in: ping me 0
	// out: ping 2
}

// For all sockets of a namespace, also for events that nobody handles.
func ExampleNamespace_OnAny() {
	io := newServer(nil)
	io.OnAny(func(ctx context.Context, s *socketio.Socket, event string, args socketio.Args) {
		fmt.Println(event, args.Len())
	})
	c := connect(io, nil)
	must(c.Emit(context.Background(), "nobody listens", 1, 2))
	must(c.Emit(context.Background(), "nor here"))
	stop(io, c) // waits for the handlers
	// Output:
	// nobody listens 2
	// nor here 0
}

// What belongs to a client stays with its socket.
func ExampleSocket_Set() {
	io := newServer(nil)
	io.On("count", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		seen, _ := s.Get("count")
		count, _ := seen.(int)
		s.Set("count", count+1) // handlers of one socket run one at a time
		return args.Ack(ctx, count+1)
	})
	c := connect(io, nil)
	defer stop(io, c)
	for range 2 {
		answer, err := c.EmitWithAck(context.Background(), "count")
		must(err)
		fmt.Println(string(answer.Raw(0).JSON()))
	}
	// Output:
	// 1
	// 2
}

// The event "message", by its short name.
func ExampleNamespace_Send() {
	io := newServer(nil)
	c := connect(io, nil)
	defer stop(io, c)
	must(io.Send(context.Background(), "hello"))
	show("the client", c)
	// Output: the client: "message" ["hello"]
}

// Once is for the next event only, and for this socket.
func ExampleSocket_Once() {
	io := newServer(nil)
	io.On("ready", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		return args.Ack(ctx)
	})
	io.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		s.Once("ready", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
			fmt.Println("ready for the first time")
			return nil
		})
		return nil
	})

	c := connect(io, nil)
	for range 3 {
		_, err := c.EmitWithAck(context.Background(), "ready")
		must(err)
	}
	stop(io, c)
	// Output: ready for the first time
}

// What a client is not ready for is dropped.
func ExampleSocket_Volatile() {
	io := newServer(nil)
	io.On("where?", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		err := s.Volatile().Emit(ctx, "position", 12.5, 7)
		if errors.Is(err, socketio.ErrDropped) {
			return nil // the next one will do
		}
		return err
	})

	c := connect(io, nil)
	defer stop(io, c)
	must(c.Emit(context.Background(), "where?"))
	show("the client", c)
	// Output: the client: "position" [12.5,7]
}

// Numbers, text, nested values and binary in one event; what a client sent is passed on as it came.
func ExampleSocket_Emit() {
	io := newServer(nil)
	io.On("repeat", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		return s.Emit(ctx, "repeated", "you said", args, map[string]any{"data": []byte{1, 2}})
	})

	c := connect(io, &siotest.Options{Query: map[string][]string{"lang": {"en"}}})
	defer stop(io, c)
	must(c.Emit(context.Background(), "repeat", 1, []string{"two"}))
	e, err := c.Next(context.Background())
	must(err)
	var object struct{ Data []byte }
	must(e.Raw(3).Decode(&object))
	fmt.Println(e.Len(), string(e.Raw(2).JSON()), object.Data)
	// Output: 4 ["two"] [1 2]
}
