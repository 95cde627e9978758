package redisadapter_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/adapter/redisadapter"
)

// Two nodes on one Redis. A server does with its adapter what main does here; a program only hands
// redisadapter.NewPubSub(rdb, nil) to socketio.Options.
func ExampleNewPubSub() {
	server, err := miniredis.Run() // a Redis in memory, for the example
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	here, there := redisadapter.NewPubSub(rdb, nil), redisadapter.NewPubSub(rdb, nil)
	defer func() { _ = here.Close(ctx) }()
	defer func() { _ = there.Close(ctx) }()
	link, err := here.Join(ctx, "/", adaptertest.NewLocal())
	if err != nil {
		log.Fatal(err)
	}
	heard := make(chan string)
	if _, err := there.Join(ctx, "/", printer{heard}); err != nil {
		log.Fatal(err)
	}
	for there.(adapter.Status).Ready() != nil {
		time.Sleep(time.Millisecond)
	}

	if err := link.Publish(ctx, &adapter.Message{Packet: adapter.Packet{Data: []byte(`["chat message","hi"]`)}}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-heard)
	// Output: ["chat message","hi"]
}

// A server on a Redis Cluster: one pair of connections for each master, found from two of them. A single Redis 7 is
// given with redis.NewClient.
func ExampleNewSharded() {
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"redis-1:6379", "redis-2:6379"}})
	defer func() { _ = rdb.Close() }()
	line := redisadapter.NewSharded(rdb, &redisadapter.ShardedOptions{
		Options:          redisadapter.Options{Node: adapter.Node{Name: "node-1"}},
		SubscriptionMode: redisadapter.SubscriptionDynamic, // the same on all nodes, Node's among them
	})
	line.(adapter.Traced).AddTrace(&adapter.Trace{
		Gap: func(d time.Duration) { log.Printf("some channels could not be heard for %v", d) },
	})
	// socketio.Options{Adapter: line} is all that a server needs.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := line.Close(ctx); err != nil {
		log.Print(err)
	}
}

type printer struct{ heard chan<- string }

func (p printer) Deliver(m *adapter.Message)                       { p.heard <- string(m.Packet.Data) }
func (p printer) Answer(*adapter.Message, func(*adapter.Response)) {}
func (p printer) HasRoom(string) bool                              { return false }

// A process without sockets, such as a job that is done, tells the clients of the cluster.
func ExampleNewEmitter() {
	server, err := miniredis.Run() // a Redis in memory, for the example
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()
	ctx := context.Background()

	emitter, err := redisadapter.NewEmitter(rdb, nil) // with EmitterOptions.Streams for the nodes of NewStreams
	if err != nil {
		log.Fatal(err)
	}
	orders := emitter.Of("/orders")
	fmt.Println(orders.To("customer 7").Emit(ctx, "shipped", map[string]any{"order": 4711}))
	fmt.Println(orders.In("customer 7").Join(ctx, "shipped"))
	// Output:
	// <nil>
	// <nil>
}

// Nodes that keep what they say in a stream, and the sessions of their clients with socketio.Options.Recovery.
func ExampleNewStreams() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer func() { _ = rdb.Close() }()
	line := redisadapter.NewStreams(rdb, &redisadapter.StreamsOptions{MaxLen: 100_000})
	_, keepsSessions := line.(adapter.Keeper)
	fmt.Println(keepsSessions)
	// Output: true
}
