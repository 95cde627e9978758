package socketio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/siotest"
)

// servers makes the nodes of a cluster in memory; with redisadapter they would be on several machines.
func servers(names ...string) (list []*socketio.Server) {
	bus := adaptertest.NewBus(nil)
	for _, name := range names {
		list = append(list, newServer(&socketio.Options{Adapter: bus.Add(name)}))
	}
	return list
}

// Who is in a room, on any node.
func ExampleBroadcast_Sockets() {
	nodes := servers("n1", "n2")
	for _, io := range nodes {
		io.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
			var auth struct{ Name string }
			if err := s.Handshake().DecodeAuth(&auth); err != nil {
				return err
			}
			s.Set("name", auth.Name)
			if err := s.Join(ctx, "kitchen"); err != nil {
				return err
			}
			return s.Emit(ctx, "ready")
		})
	}
	ann := connect(nodes[0], &siotest.Options{Auth: map[string]string{"name": "Ann"}})
	bob := connect(nodes[1], &siotest.Options{Auth: map[string]string{"name": "Bob"}})
	defer stop(nodes[1], bob)
	defer stop(nodes[0], ann)
	must(ann.Expect(context.Background(), "ready"))
	must(bob.Expect(context.Background(), "ready"))

	ctx := context.Background()
	for s, err := range nodes[0].To("kitchen").Sockets(ctx) { // those of this node first
		if err != nil {
			fmt.Println("incomplete:", err)
			break
		}
		var data struct{ Name string }
		must(s.DecodeData(&data))
		_, here := s.Local()
		fmt.Println(data.Name, here, len(s.Rooms()))
	}
	n, err := nodes[0].To("kitchen").Count(ctx) // only the number travels
	fmt.Println(n, err)
	// Output:
	// Ann true 2
	// Bob false 2
	// 2 <nil>
}

// Sockets of all nodes are moved and thrown out.
func ExampleBroadcast_Join() {
	nodes := servers("n1", "n2")
	ann, bob := connect(nodes[0], nil), connect(nodes[1], nil)
	defer stop(nodes[1], bob)
	defer stop(nodes[0], ann)

	ctx := context.Background()
	must(nodes[0].To(bob.ID()).Join(ctx, "red", "blue"))
	must(nodes[0].In("red").Leave(ctx, "blue"))
	must(nodes[0].In("blue").Disconnect(ctx, true)) // nobody is left in it
	red, err := nodes[0].To("red").Count(ctx)
	must(err)
	blue, err := nodes[0].To("blue").Count(ctx)
	must(err)
	fmt.Println("red:", red, "blue:", blue)

	must(nodes[0].In("red").Disconnect(ctx, false))
	reason, err := bob.Wait(ctx)
	must(err)
	fmt.Println("Bob:", reason)
	// Output:
	// red: 1 blue: 0
	// Bob: io server disconnect
}

// A socket of another node is used much like one of this node.
func ExampleRemoteSocket() {
	nodes := servers("n1", "n2")
	ann := connect(nodes[1], nil)
	defer stop(nodes[0])
	defer stop(nodes[1], ann)
	go func() {
		question, err := ann.Next(context.Background())
		must(err)
		must(question.Ack(context.Background(), "Ann"))
	}()

	const whoAreYou socketio.Call[string, string] = "who are you?"
	ctx := context.Background()
	for s, err := range nodes[0].To(ann.ID()).Sockets(ctx) {
		must(err)
		name, err := whoAreYou.Call(ctx, s, "please")
		must(err)
		fmt.Println(name, "came to", s.Handshake().Header.Get("Host"))
	}
	// Output: Ann came to example.com
}

// Servers talk to each other.
func ExampleNamespace_ServerSideEmit() {
	nodes := servers("n1", "n2", "n3")
	defer stop(nodes[0])
	for i, io := range nodes[1:] {
		io.OnServerSide("clients?", func(ctx context.Context, args socketio.Args) error {
			return args.Ack(ctx, 10*(i+1))
		})
		defer stop(io)
	}
	reloaded := make(chan string)
	nodes[1].OnServerSide("reload", func(ctx context.Context, args socketio.Args) error {
		var what string
		err := args.Decode(&what)
		reloaded <- what
		return err
	})

	ctx := context.Background()
	must(nodes[0].ServerSideEmit(ctx, "reload", "prices"))
	fmt.Println("n2 reloads", <-reloaded)

	answers, err := nodes[0].ServerSideEmitWithAck(ctx, "clients?") // of each other server
	must(err)
	sum := 0
	for _, a := range answers {
		var n int
		must(a.Decode(&n))
		sum += n
	}
	fmt.Println(len(answers), "answers, sum", sum)
	// Output:
	// n2 reloads prices
	// 2 answers, sum 30
}

// Names with types serve between servers too.
func ExampleCall_CallServerSide() {
	const load socketio.Call[string, float64] = "load"
	nodes := servers("n1", "n2")
	defer stop(nodes[0])
	defer stop(nodes[1])
	load.HandleServerSide(nodes[1], func(ctx context.Context, of string) (float64, error) {
		return 0.5, nil
	})
	loads, err := load.CallServerSide(context.Background(), nodes[0], "cpu")
	fmt.Println(loads, err)
	// Output: [0.5] <nil>
}

// What came is there although a node did not answer, and the error has its name.
func ExampleBroadcast_Count_silentNodes() {
	bus := adaptertest.NewBus(&adaptertest.BusOptions{Timeout: 10 * time.Millisecond})
	io := newServer(&socketio.Options{Adapter: bus.Add("n1")})
	frozen := bus.Add("n2")
	other := newServer(&socketio.Options{Adapter: frozen})
	ann := connect(io, nil)
	defer stop(other)
	defer stop(io, ann)
	frozen.Silence(true)

	n, err := io.Count(context.Background())
	if silent, ok := errors.AsType[*adapter.SilentNodesError](err); ok {
		fmt.Println("at least", n, "- silent:", silent.Nodes[0].Name)
	}
	// Output: at least 1 - silent: n2
}

func ExampleNamespace_Nodes() {
	nodes := servers("n1", "n2", "n3")
	defer stop(nodes[0])
	defer stop(nodes[1])
	defer stop(nodes[2])
	list, err := nodes[1].Nodes(context.Background())
	must(err)
	fmt.Println("this one:", list[0])
	slices.SortFunc(list, func(a, b adapter.Node) int { return len(a.ID) - len(b.ID) })
	fmt.Println(len(list), "in all")
	// Output:
	// this one: n2
	// 3 in all
}

// The application's own operation for each child of a parent, which has no sockets itself.
func ExampleParentNamespace_Children() {
	io := newServer(nil)
	rooms := io.OfFunc(func(context.Context, string, json.RawMessage) (bool, error) { return true, nil })
	visitor := connect(io, &siotest.Options{Namespace: "/room-1"})
	defer stop(io, visitor)
	ctx := context.Background()
	if _, err := rooms.Count(ctx); errors.Is(err, socketio.ErrParentNamespace) {
		for _, child := range rooms.Children() {
			n, err := child.Count(ctx)
			must(err)
			fmt.Println(child.Name(), n)
		}
	}
	// Output: /room-1 1
}
