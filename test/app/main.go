// Command app is the server behind the tests with official clients: every part of the library that a client can
// see, under an event name each. node.mjs is the same on the Node server.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter/redisadapter"
	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/parser"
	"example.com/chorus/web"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, log); err != nil {
		log.Error("failed", "error", err)
		os.Exit(1)
	}
}

// options reads the flags.
func options(log *slog.Logger) (o *socketio.Options, closeRedis func() error, err error) {
	var (
		tag          = flag.String("tag", "", "route tag")
		redisURL     = flag.String("redis", "", "URL of Redis; without it the node is alone")
		streams      = flag.Int("streams", 0, "number of Redis streams between the nodes; 0 is Pub/Sub")
		eio3         = flag.Bool("eio3", false, "serve clients of Engine.IO protocol 3")
		format       = flag.String("parser", "default", "default or msgpack")
		recovery     = flag.Duration("recovery", 0, "how long lost sessions can be recovered")
		deflate      = flag.Bool("deflate", false, "compress WebSocket messages")
		pingInterval = flag.Duration("ping-interval", 0, "time between pings")
		pingTimeout  = flag.Duration("ping-timeout", 0, "time in which a ping must be answered")
	)
	flag.Parse()
	o = &socketio.Options{
		RouteTag: *tag, AllowEIO3: *eio3, PingInterval: *pingInterval, PingTimeout: *pingTimeout, Client: web.Client(), Logger: log,
	}
	switch *format {
	case "default":
	case "msgpack":
		o.Parser = parser.Msgpack()
	default:
		return nil, nil, fmt.Errorf("unknown parser %q", *format)
	}
	if *recovery > 0 {
		o.Recovery = &socketio.Recovery{Window: *recovery}
	}
	if *deflate {
		o.PerMessageDeflate = &socketio.PerMessageDeflate{}
	}
	if *redisURL == "" {
		return o, func() error { return nil }, nil
	}
	at, err := redis.ParseURL(*redisURL)
	if err != nil {
		return nil, nil, err
	}
	at.MaxRetries = -1
	rdb := redis.NewClient(at)
	common := redisadapter.Options{Logger: log}
	if *streams > 0 {
		o.Adapter = redisadapter.NewStreams(rdb, &redisadapter.StreamsOptions{Options: common, StreamCount: *streams})
	} else {
		o.Adapter = redisadapter.NewPubSub(rdb, &common)
	}
	return o, rdb.Close, nil
}

func run(ctx context.Context, log *slog.Logger) (err error) {
	options, closeRedis, err := options(log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeRedis()) }()

	server, err := socketio.NewServer(options)
	if err != nil {
		return err
	}
	routes(server.Of("/"))
	routes(server.Of("/other"))
	guarded(server.Of("/guarded"))
	routes(server.OfMatch(regexp.MustCompile(`^/team-\d+$`)))
	routes(server.OfFunc(func(_ context.Context, name string, auth json.RawMessage) (bool, error) {
		return strings.HasPrefix(name, "/club-") && guard(socketio.Handshake{Auth: auth}) == nil, nil
	}))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, shutdown(server))
	}
	web := &http.Server{Handler: server, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	log.Info("listening", "addr", listener.Addr().String())
	for server.Ready() != nil && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	log.Info("ready")
	select {
	case <-ctx.Done():
	case err = <-served:
	}
	return errors.Join(err, shutdown(server), web.Close())
}

func shutdown(server *socketio.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}
