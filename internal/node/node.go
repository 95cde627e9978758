// Package node is the program around the library: configuration, Redis connection, listeners, readiness,
// orderly end, and the chat application that a node serves.
package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/forward"
	"example.com/chorus/web"
)

// identity tells nodes apart.
type identity struct {
	id  string // in logs and metrics
	tag string // in front of session ids; may be empty
}

// addresses are where a node listens, and the flags that say so.
type addresses struct {
	public     []string
	publicFlag string

	internal     string // empty: no internal listener
	internalFlag string

	certificate *certificate // of the public listener; nil: no TLS
	forwarding  forwarding
	drainable   bool // POST /drain is served: somebody waits for node.drain
}

// node is one running node.
type node struct {
	identity
	config  *config
	log     *slog.Logger
	started time.Time

	server  *socketio.Server
	forward *forward.Forwarder // before server; nil: requests are not passed on
	adapter adapter.Adapter
	redis   redis.UniversalClient // nil in memory

	public, internal *endpoint
	certificate      *certificate // nil: no TLS
	reloads          *prometheus.CounterVec

	draining  atomic.Bool
	drain     *drainState     // nil: cannot be asked to drain
	joined    chan struct{}   // closed when the node has heard its cluster for the first time
	watch     context.Context // of the goroutines of watching
	stopWatch context.CancelFunc
	watching  sync.WaitGroup
	asking    sync.WaitGroup // goroutines that wait for Redis, which may not end before its client is closed
}

// startNode listens, connects and serves. It does not wait for Redis. A listener that ends by itself later is
// reported to failed.
func startNode(c *config, who identity, at addresses, failed failures, log *slog.Logger) (*node, error) {
	n := &node{
		identity: who, config: c, log: log, started: time.Now(), joined: make(chan struct{}),
		certificate: at.certificate, reloads: newReloadsMetric(),
	}
	var err error
	if n.public, err = listen(at.publicFlag, at.public...); err != nil {
		return nil, err
	}
	if at.internal != "" {
		if n.internal, err = listen(at.internalFlag, at.internal); err != nil {
			n.public.close()
			return nil, err
		}
	}
	n.watch, n.stopWatch = context.WithCancel(context.Background())
	if err := n.connect(at.forwarding); err != nil {
		n.stopWatch()
		n.public.close()
		n.internal.close()
		return nil, err
	}
	if at.drainable {
		n.drain = newDrainState()
	}
	registerChat(n.server.Of("/"), c.Events, log)
	if n.internal != nil { // first, because metrics begin to count here
		n.internal.serve(n.internalHandler(), nil, log, failed)
	}
	n.public.serve(n.publicHandler(), n.certificate, log, failed)
	n.watchRedis()
	n.watchCertificate()
	n.watchLoops()
	if c.Client.Serve && !c.Client.complete() {
		log.Warn("the Socket.IO client is missing: pages cannot load socket.io.js",
			"remedy", "build with make, or name a folder such as node_modules/socket.io-client/dist with --client.dir")
	}
	log.Info("listening", "addr", n.public.addrs(), "internal_addr", n.internal.addrs(), "path", c.Path, "netloop", n.server.NetLoop(),
		"tls", n.certificate != nil, "adapter", c.adapterName(), "route_tag", n.tag)
	return n, nil
}

// connect makes the adapter and the server.
func (n *node) connect(f forwarding) error {
	n.adapter = adapter.NewMemory()
	if n.config.adapterName() != adapterMemory {
		var err error
		if n.redis, err = n.config.redisClient(); err != nil {
			return err
		}
		n.adapter = n.config.redisAdapter(n.redis, n.self(f), n.log)
	}
	var err error
	if n.server, err = socketio.NewServer(n.serverOptions()); err != nil {
		return errors.Join(err, n.adapter.Close(context.Background()), n.disconnect())
	}
	if err := n.startForwarding(f); err != nil {
		return errors.Join(err, n.server.Shutdown(context.Background()), n.disconnect())
	}
	return nil
}

func (n *node) serverOptions() *socketio.Options {
	c := n.config
	o := &socketio.Options{
		Path:                   c.Path,
		PingInterval:           c.PingInterval,
		PingTimeout:            c.PingTimeout,
		UpgradeTimeout:         c.UpgradeTimeout,
		ConnectTimeout:         c.ConnectTimeout,
		WriteTimeout:           c.WriteTimeout,
		MaxPayload:             int(c.MaxPayload),
		Transports:             c.AllowTransports,
		Adapter:                n.adapter,
		RouteTag:               n.tag,
		Client:                 c.Client.files(),
		QueueBytes:             int(c.Queue.Bytes),
		QueueMessages:          c.Queue.Messages,
		TrustedProxies:         c.proxies(),
		MaxConnections:         c.Limits.Connections,
		MaxHandshakesPerSecond: c.Limits.HandshakesPerSecond,
		MaxEventsPerSecond:     c.Limits.EventsPerSecond,
		MaxRoomsPerSocket:      c.Limits.RoomsPerSocket,
		NetLoop:                socketio.NetLoop(c.NetLoop),
		Logger:                 n.log,
		AllowEIO3:              c.AllowEIO3,
		CORS:                   c.CORS.policy(),
		HTTPCompression:        socketio.HTTPCompression{Disabled: !c.Compression.HTTP, Threshold: int(c.Compression.Threshold)},
	}
	if c.Compression.WebSocket {
		o.PerMessageDeflate = &socketio.PerMessageDeflate{Threshold: int(c.Compression.Threshold)}
	}
	if c.recovers() {
		o.Recovery = &socketio.Recovery{Window: c.Recovery.Window, MaxMessages: c.Recovery.MaxMessages}
	}
	if c.Queue.Policy == "drop_volatile" {
		o.QueuePolicy = socketio.DropVolatile
	}
	return o
}

// policy returns what pages of other origins may do; nil: nothing.
func (c *corsConfig) policy() *socketio.CORS {
	if len(c.Origins) == 0 {
		return nil
	}
	return &socketio.CORS{Origins: c.Origins, Credentials: c.Credentials}
}

// files returns the client's bundle, or nil if there is none to serve.
func (c *clientConfig) files() fs.FS {
	switch {
	case !c.Serve:
		return nil
	case c.Dir != "":
		return os.DirFS(c.Dir)
	case !web.Built():
		return nil
	}
	return web.Client()
}

// complete reports whether there is a client's bundle to serve.
func (c *clientConfig) complete() bool {
	files := c.files()
	if files == nil {
		return false
	}
	_, err := fs.Stat(files, "socket.io.min.js")
	return err == nil
}

func (n *node) publicHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(n.config.Path, n.clients())
	if n.config.Page {
		mux.Handle("/", web.Page(n.config.Path))
	}
	if n.config.PublicReadyz {
		mux.HandleFunc("GET /readyz", n.serveReady)
	}
	return mux
}

func (n *node) internalHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", n.metricsHandler())
	mux.HandleFunc("GET /healthz", n.serveHealth)
	mux.HandleFunc("GET /readyz", n.serveReady)
	mux.HandleFunc("GET /version", serveVersion)
	if n.config.Debug.Pprof {
		handlePprof(mux)
	}
	if n.drain != nil {
		mux.HandleFunc("POST /drain", n.serveDrain)
	}
	if n.forward == nil {
		return mux
	}
	clients := n.forward.Internal()
	mux.Handle(n.config.Path, clients)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if forward.IsForwarded(r) { // from outside, whatever its path is: with the path "/" it could be that of a command
			clients.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// shutdown closes all connections and everything else in order, at the latest when ctx ends. The internal
// listener is the last to go, so that a probe hears of the draining until the end.
func (n *node) shutdown(ctx context.Context) error {
	n.draining.Store(true)
	n.stopWatch()
	n.watching.Wait()
	err := errors.Join(n.shutdownServer(ctx), n.disconnect())
	n.asking.Wait()
	n.internal.shutdown(ctx)
	n.log.Info("stopped")
	return err
}

// disconnect closes the Redis client.
func (n *node) disconnect() error {
	if n.redis == nil {
		return nil
	}
	if err := n.redis.Close(); err != nil {
		return fmt.Errorf("redis: close: %w", err)
	}
	return nil
}
