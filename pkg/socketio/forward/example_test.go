package forward_test

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/redisadapter"
	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/forward"
)

// One of several nodes behind a balancer that sends every request anywhere.
func Example() {
	line := redisadapter.NewPubSub(redis.NewClient(&redis.Options{Addr: "redis:6379"}), &redisadapter.Options{
		Node: adapter.Node{Tag: "n1", Address: "10.0.0.1:9464"},
	})
	io, err := socketio.NewServer(&socketio.Options{Adapter: line, RouteTag: "n1"})
	if err != nil {
		log.Fatal(err)
	}
	f, err := forward.New(io, &forward.Options{Secret: []byte(os.Getenv("SECRET"))})
	if err != nil {
		log.Fatal(err)
	}
	public := &http.Server{Addr: ":3000", Handler: f, ReadHeaderTimeout: 10 * time.Second}
	internal := &http.Server{Addr: "10.0.0.1:9464", Handler: f.Internal(), ReadHeaderTimeout: 10 * time.Second}
	go func() { log.Print(internal.ListenAndServe()) }()
	go func() { log.Print(public.ListenAndServe()) }()

	<-context.Background().Done() // whatever ends the program

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	f.Drain() // WebSockets of other nodes' clients; their polls are passed on to the end
	err = errors.Join(io.Shutdown(ctx), public.Shutdown(ctx), f.Close(ctx), internal.Shutdown(ctx))
	log.Print(err)
}
