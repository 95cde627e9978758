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

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/redisadapter"
	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/parser"
	"example.com/chorus/pkg/socketio/promsio"
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

// flags of the command line.
type flags struct {
	tag, redis, adapter, mode, parser string
	cluster, specific, eio3, deflate  bool
	streams                           int
	recovery, pingInterval            time.Duration
	pingTimeout, requestTimeout       time.Duration
}

func readFlags() (f flags) {
	flag.StringVar(&f.tag, "tag", "", "route tag and name")
	flag.StringVar(&f.redis, "redis", "", "URL of Redis, of Sentinels if it names a master; without it the node is alone")
	flag.BoolVar(&f.cluster, "cluster", false, "it is one of a Redis Cluster")
	flag.StringVar(&f.adapter, "adapter", "classic", "classic, sharded or streams")
	flag.StringVar(&f.mode, "mode", "dynamic", "subscription mode of the sharded adapter")
	flag.BoolVar(&f.specific, "specific", false, "answer on a channel of who asked")
	flag.IntVar(&f.streams, "streams", 1, "number of streams")
	flag.BoolVar(&f.eio3, "eio3", false, "serve clients of Engine.IO protocol 3")
	flag.StringVar(&f.parser, "parser", "default", "default or msgpack")
	flag.DurationVar(&f.recovery, "recovery", 0, "how long lost sessions can be recovered")
	flag.BoolVar(&f.deflate, "deflate", false, "compress WebSocket messages")
	flag.DurationVar(&f.pingInterval, "ping-interval", 0, "time between pings")
	flag.DurationVar(&f.pingTimeout, "ping-timeout", 0, "time in which a ping must be answered")
	flag.DurationVar(&f.requestTimeout, "request-timeout", 0, "how long a request to the other nodes waits for answers")
	flag.Parse()
	return f
}

func (f *flags) options(log *slog.Logger) (o *socketio.Options, closeRedis func() error, err error) {
	o = &socketio.Options{
		RouteTag: f.tag, AllowEIO3: f.eio3, PingInterval: f.pingInterval, PingTimeout: f.pingTimeout, Client: web.Client(), Logger: log,
	}
	switch f.parser {
	case "default":
	case "msgpack":
		o.Parser = parser.Msgpack()
	default:
		return nil, nil, fmt.Errorf("unknown parser %q", f.parser)
	}
	if f.recovery > 0 {
		o.Recovery = &socketio.Recovery{Window: f.recovery}
	}
	if f.deflate {
		o.PerMessageDeflate = &socketio.PerMessageDeflate{}
	}
	if f.redis == "" {
		return o, func() error { return nil }, nil
	}
	rdb, err := f.client()
	if err != nil {
		return nil, nil, err
	}
	common := redisadapter.Options{
		Logger: log, PublishOnSpecificResponseChannel: f.specific, RequestTimeout: f.requestTimeout,
		Node: adapter.Node{Name: f.tag, Tag: f.tag},
	}
	switch f.adapter {
	case "classic":
		o.Adapter = redisadapter.NewPubSub(rdb, &common)
	case "sharded":
		o.Adapter = redisadapter.NewSharded(rdb, &redisadapter.ShardedOptions{Options: common, SubscriptionMode: redisadapter.SubscriptionMode(f.mode)})
	case "streams":
		o.Adapter = redisadapter.NewStreams(rdb, &redisadapter.StreamsOptions{Options: common, StreamCount: f.streams})
	default:
		return nil, nil, errors.Join(fmt.Errorf("unknown adapter %q", f.adapter), rdb.Close())
	}
	return o, rdb.Close, nil
}

func (f *flags) client() (redis.UniversalClient, error) {
	if f.cluster {
		at, err := redis.ParseClusterURL(f.redis)
		if err != nil {
			return nil, err
		}
		return redis.NewClusterClient(at), nil
	}
	if strings.Contains(f.redis, "master_name=") {
		at, err := redis.ParseFailoverURL(f.redis)
		if err != nil {
			return nil, err
		}
		return redis.NewFailoverClient(at), nil
	}
	at, err := redis.ParseURL(f.redis)
	if err != nil {
		return nil, err
	}
	return redis.NewClient(at), nil
}

func run(ctx context.Context, log *slog.Logger) (err error) {
	f := readFlags()
	options, closeRedis, err := f.options(log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeRedis()) }()

	server, err := socketio.NewServer(options)
	if err != nil {
		return err
	}
	for _, name := range []string{"/", "/other"} {
		routes(server.Of(name))
		clusterRoutes(server.Of(name))
		serverRoutes(server.Of(name), f.tag)
	}
	guarded(server.Of("/guarded"))
	routes(server.OfMatch(regexp.MustCompile(`^/team-\d+$`)))
	routes(server.OfFunc(func(_ context.Context, name string, auth json.RawMessage) (bool, error) {
		return strings.HasPrefix(name, "/club-") && guard(socketio.Handshake{Auth: auth}) == nil, nil
	}))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, shutdown(server))
	}
	web := &http.Server{Handler: withMetrics(server), ReadHeaderTimeout: 5 * time.Second}
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

// withMetrics serves the server's metrics beside it.
func withMetrics(server *socketio.Server) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(promsio.New(server))
	mux := http.NewServeMux()
	mux.Handle("/", server)
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

func shutdown(server *socketio.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}
