package adaptertest_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/socketio"
)

// A cluster in memory whose nodes fail as a test needs it.
func ExampleBus() {
	bus := adaptertest.NewBus(&adaptertest.BusOptions{Timeout: 20 * time.Millisecond})
	var servers []*socketio.Server
	for _, name := range []string{"n1", "n2", "n3"} {
		io, err := socketio.NewServer(&socketio.Options{Adapter: bus.Add(name)})
		if err != nil {
			log.Fatal(err)
		}
		io.OnServerSide("ping", func(ctx context.Context, args socketio.Args) error { return args.Ack(ctx, name) })
		servers = append(servers, io)
	}
	ask := func() {
		answers, err := servers[0].ServerSideEmitWithAck(context.Background(), "ping")
		fmt.Println(len(answers), "answers:", err)
	}
	ask()
	bus.Answers(func(from, to adapter.Node, r *adapter.Response) []time.Duration {
		if from.Name == "n2" {
			return nil // lost
		}
		return []time.Duration{0, time.Millisecond} // twice
	})
	ask()
	for _, io := range servers {
		if err := io.Shutdown(context.Background()); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// 2 answers: <nil>
	// 1 answers: socketio: server-side emit "ping" with ack: no answer of 1 nodes (n2): request timeout: context deadline exceeded
}
