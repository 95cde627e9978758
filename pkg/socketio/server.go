package socketio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"example.com/chorus/internal/engineio"
	"example.com/chorus/internal/outbox"
	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// Server is a Socket.IO server. It is an http.Handler for its path; Shutdown stops it. All methods are safe for
// concurrent use. Its methods for namespaces apply to the main namespace "/".
type Server struct {
	*Namespace // the main one

	options  Options
	engine   *engineio.Engine
	bundle   *bundle
	limiter  *rate.Limiter // nil: no limit
	traces   atomic.Pointer[[]*Trace]
	draining atomic.Bool
	count    serverCounters
	cluster  clusterCounters
	workers  workers

	complaints complaints
	names      names

	alone   bool         // no other nodes: the adapter said so
	handler http.Handler // behind CORS and Options.Middleware
	cors    atomic.Pointer[corsPolicy]
	format  *format // nil: the default one
	limits  parser.Limits

	mu         sync.RWMutex
	closed     bool
	namespaces map[string]*Namespace
	made       uint64 // namespaces so far
	counted    []*namespaceCounters
	drain      *drain // under way
	parents    []*ParentNamespace
	created    []func(*Namespace)
}

var _ http.Handler = (*Server)(nil)

// NewServer makes a server. nil options are the defaults. It fails for options that cannot work; the error names
// the option, and the adapter stays the caller's. A server that is not needed any more must be stopped with Shutdown.
func NewServer(o *Options) (*Server, error) {
	options, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{options: options, workers: workers{idle: make(chan struct{}, 1)}, namespaces: make(map[string]*Namespace)}
	if lone, ok := options.Adapter.(adapter.Lone); ok {
		s.alone = lone.Lone()
	}
	if _, keeper := options.Adapter.(adapter.Keeper); options.Recovery != nil && !s.alone && !keeper {
		return nil, errors.New("socketio: Options.Recovery: the adapter cannot keep sessions for other nodes")
	}
	s.complaints.often = rate.Sometimes{First: 5, Interval: time.Second}
	s.format = newFormat(options.Parser, s.report)
	s.bundle = newBundle(options.Client)
	if n := options.MaxHandshakesPerSecond; n > 0 {
		s.limiter = rate.NewLimiter(rate.Limit(n), n)
	}
	if options.Trace != nil {
		s.AddTrace(options.Trace)
	}
	s.limits = parser.Limits{MaxAttachments: options.MaxAttachments}
	engine := engineio.Options{
		Path:           options.Path,
		PingInterval:   options.PingInterval,
		PingTimeout:    options.PingTimeout,
		UpgradeTimeout: options.UpgradeTimeout,
		WriteTimeout:   options.WriteTimeout,
		InboxTimeout:   options.InboxTimeout,
		MaxPayload:     options.MaxPayload,
		Polling:        slices.Contains(options.Transports, Polling),
		WebSocket:      slices.Contains(options.Transports, WebSocket),
		AllowUpgrades:  !options.DisableUpgrades,
		RouteTag:       options.RouteTag,
		Outbox:         outbox.Limits{Bytes: options.QueueBytes, Frames: options.QueueMessages, DropVolatile: options.QueuePolicy == DropVolatile},
		CheckOrigin:    options.CheckOrigin,
		MaxSessions:    options.MaxConnections,
		Admit:          s.admitRequest,
		Connect:        func(session *engineio.Session) engineio.Handler { return newConnection(s, session) },
		Trace:          s.engineTrace(),
	}
	if engine.CheckOrigin == nil {
		engine.CheckOrigin = s.originAllowed
	}
	s.options.engineHooks(&engine)
	s.guardHooks(&engine)
	if s.engine, err = engineio.New(engine); err != nil {
		return nil, fmt.Errorf("socketio: Options.NetLoop: %w", err)
	}
	s.handler = s.options.wrap(http.HandlerFunc(s.serve))
	s.SetCORS(options.CORS)
	if s.Namespace, _, err = s.newNamespace("/", nil); err != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // there is nothing to wait for
		_ = s.engine.Close(ctx, engineio.ServerShutdown)
		return nil, err
	}
	return s, nil
}

// Path returns the path below which the server answers, with slashes at both ends.
func (s *Server) Path() string { return s.options.Path }

// RouteTag returns Options.RouteTag, by which balancers and other nodes know the sessions of this one.
func (s *Server) RouteTag() string { return s.options.RouteTag }

// NetLoop tells how plain TCP connections are served: "epoll+io_submit" and "epoll" are the forms of NetLoopFast with
// many writes per system call and with one, "portable" is that of NetLoopPortable.
func (s *Server) NetLoop() string { return s.engine.NetLoop() }

// Adapter returns Options.Adapter, the line to the other nodes.
func (s *Server) Adapter() adapter.Adapter { return s.options.Adapter }

// Of returns the namespace of the given name and makes it if it does not exist; until then, clients cannot join
// it. It is a child of the first parent of OfMatch whose pattern its name matches. A missing slash in front is added.
// Names are literal: no patterns, no comma.
func (s *Server) Of(name string) *Namespace {
	name = "/" + strings.TrimPrefix(name, "/")
	if strings.Contains(name, ",") {
		panic(fmt.Sprintf("socketio: Of(%q): a name cannot have a comma", name))
	}
	if n := s.lookup(name); n != nil {
		return n
	}
	n, made, err := s.newNamespace(name, s.matching(name))
	if err != nil {
		s.options.Logger.Error("namespace is not connected to other nodes", "namespace", name, "error", err)
	}
	if made {
		s.announce(n)
	}
	return n
}

// OnNamespace adds a function that is told of every namespace that is made from now on, children of a ParentNamespace
// too, before a client is in it. A panic is logged.
func (s *Server) OnNamespace(f func(*Namespace)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.created = add(s.created, f)
}

func (s *Server) announce(n *Namespace) {
	s.mu.RLock()
	created := s.created
	s.mu.RUnlock()
	for _, f := range created {
		if err := guard(func() error { f(n); return nil }); err != nil {
			s.report("OnNamespace", fmt.Errorf("namespace %q: %w", n.name, err))
		}
	}
}

func (s *Server) lookup(name string) *Namespace {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.namespaces[name]
}

// list returns the namespaces in the order in which they were made.
func (s *Server) list() []*Namespace {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.SortedFunc(maps.Values(s.namespaces), byAge)
}

func byAge(a, b *Namespace) int { return cmp.Compare(a.number, b.number) }

// newNamespace makes a namespace unless it exists.
func (s *Server) newNamespace(name string, parent *ParentNamespace) (n *Namespace, made bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.namespaces[name]; n != nil {
		return n, false, nil
	}
	n, err = newNamespace(s, name, parent, s.countersLocked(name))
	s.made++
	n.number = s.made
	s.namespaces[name] = n
	if parent != nil {
		parent.mu.Lock()
		parent.children[n] = struct{}{}
		parent.mu.Unlock()
	}
	return n, true, err
}

// ServeHTTP answers requests below Path: the client bundle and Engine.IO. Others get 404.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.cors.Load().handler.ServeHTTP(w, s.options.fromClient(r))
}

// serve is ServeHTTP behind Options.Middleware and CORS.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.Path, s.options.Path)
	switch {
	case !ok:
		http.NotFound(w, r)
	case isBundleFile(rest):
		s.bundle.serve(w, r, rest)
	default:
		s.engine.ServeHTTP(w, r)
	}
}

// admitRequest decides about a handshake.
func (s *Server) admitRequest(r *http.Request) error {
	if s.draining.Load() {
		return engineio.ErrDraining
	}
	if s.limiter == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	if err := s.limiter.Wait(ctx); err != nil {
		return fmt.Errorf("more than %d handshakes per second", s.options.MaxHandshakesPerSecond)
	}
	return nil
}

// Shutdown refuses new handshakes and closes every connection after what waits in its outbox, without DISCONNECT
// packets, so that official clients come back, elsewhere; all at once, so Drain goes before it where there are many. Then it waits for handlers to return and closes the adapter. When
// ctx ends first, what is left is cut and the error says so. The http.Server in front is the caller's to stop, before
// or after.
func (s *Server) Shutdown(ctx context.Context) error {
	s.refuseHandshakes()
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return ErrServerClosed
	}
	for _, n := range s.list() {
		n.endJobs()
	}
	err := s.engine.Close(ctx, engineio.ServerShutdown)
	err = errors.Join(err, s.workers.wait(ctx))
	for _, n := range s.list() {
		if n.recovery != nil {
			n.recovery.stop()
		}
		err = errors.Join(err, n.link.Leave(ctx))
	}
	err = errors.Join(err, s.options.Adapter.Close(ctx))
	if err != nil {
		return fmt.Errorf("socketio: shutdown: %w", err)
	}
	return nil
}

// Hanging names what serves connections and has not done so for longer than limit although it was asked to; such a
// server is of no use any more. Call it again and again, every few seconds: a first call only asks.
func (s *Server) Hanging(limit time.Duration) []string { return s.engine.Hanging(limit) }

// Ready returns nil when the server takes part in its cluster; the error says what is missing. A server without
// other nodes is always ready until it drains.
func (s *Server) Ready() error {
	if s.draining.Load() {
		return engineio.ErrDraining
	}
	if a, ok := s.options.Adapter.(adapter.Status); ok {
		return a.Ready()
	}
	return nil
}
