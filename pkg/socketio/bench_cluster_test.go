package socketio_test

import (
	"context"
	"fmt"
	"testing"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/siotest"
)

// twoNodes makes a cluster in memory whose second node has the given number of clients.
func twoNodes(b *testing.B, clients int) (one *socketio.Server, two *rawNode) {
	b.Helper()
	bus := adaptertest.NewBus(nil)
	one = newServer(&socketio.Options{Adapter: bus.Add("one")})
	two = &rawNode{Adapter: bus.Add("two")}
	server := newServer(&socketio.Options{Adapter: two})
	server.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		s.Set("user", map[string]any{"id": 12345, "name": "Ann"})
		return s.Join(ctx, "room")
	})
	list := make([]*siotest.Client, clients)
	for i := range list {
		list[i] = connect(server, nil)
		go func() {
			for {
				e, err := list[i].Next(context.Background())
				if err != nil {
					return
				}
				if e.WantsAck() {
					_ = e.Ack(context.Background(), "ok")
				}
			}
		}()
	}
	eventually(b, "all are in the room", func() bool {
		n, err := server.To("room").Local().Count(b.Context())
		return err == nil && n == clients
	})
	b.Cleanup(func() {
		stop(server, list...)
		stop(one)
	})
	return one, two
}

// BenchmarkCount is a count of both nodes, through a line in memory.
func BenchmarkCount(b *testing.B) {
	one, _ := twoNodes(b, 100)
	b.ReportAllocs()
	for b.Loop() {
		if n, err := one.To("room").Count(b.Context()); n != 100 || err != nil {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkSockets is all of a fetch but the wire format: figures are for all clients together.
func BenchmarkSockets(b *testing.B) {
	for _, clients := range []int{1, 100} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			one, _ := twoNodes(b, clients)
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for _, err := range one.To("room").Sockets(b.Context()) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != clients {
					b.Fatal(n)
				}
			}
		})
	}
}

// BenchmarkDescribe is what one node does to answer a fetch of 100 sockets.
func BenchmarkDescribe(b *testing.B) {
	_, two := twoNodes(b, 100)
	done := make(chan struct{})
	b.ReportAllocs()
	for b.Loop() {
		two.local.Answer(&adapter.Message{Kind: adapter.Fetch}, func(*adapter.Response) { done <- struct{}{} })
		<-done
	}
}

// BenchmarkAckAcrossNodes is a question to one client of another node, clients and line in memory.
func BenchmarkAckAcrossNodes(b *testing.B) {
	one, _ := twoNodes(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		if answers, err := one.EmitWithAck(b.Context(), "q"); len(answers) != 1 || err != nil {
			b.Fatal(answers, err)
		}
	}
}

// BenchmarkServerSideEmit is a question to the other server.
func BenchmarkServerSideEmit(b *testing.B) {
	bus := adaptertest.NewBus(nil)
	one := newServer(&socketio.Options{Adapter: bus.Add("one")})
	two := newServer(&socketio.Options{Adapter: bus.Add("two")})
	two.OnServerSide("q", func(ctx context.Context, args socketio.Args) error { return args.Ack(ctx, args) })
	b.Cleanup(func() { stop(one); stop(two) })
	b.ReportAllocs()
	for b.Loop() {
		if answers, err := one.ServerSideEmitWithAck(b.Context(), "q", 1); len(answers) != 1 || err != nil {
			b.Fatal(answers, err)
		}
	}
}
