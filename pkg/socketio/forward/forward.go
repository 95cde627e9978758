package forward

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"example.com/chorus/pkg/adapter"
)

// Options of a Forwarder. A field left zero has the default that its comment ends with.
type Options struct {
	// Members knows the other nodes. Default the adapter of the handler, if it is a *socketio.Server.
	Members adapter.Member
	// Secret is what all nodes of the cluster share and nobody else knows, at least MinSecret bytes. Without one nothing
	// is passed on and no forward is taken until SetSecret gives it. Default none.
	Secret []byte
	// Path below which the server answers. Default that of the handler, if it is a *socketio.Server, else "/socket.io/".
	Path string
	// Tag is this node's: socketio.Options.RouteTag. Default that of the handler, if it is a *socketio.Server.
	Tag string
	// DialTimeout is how long connecting to another node may take. Default 1 s.
	DialTimeout time.Duration
	// UpgradeTimeout is how long another node may take to answer an upgrade. Default 10 s.
	UpgradeTimeout time.Duration
	// WriteTimeout is how long a client may take no bytes of an answer or of a relayed WebSocket. Default 10 s.
	WriteTimeout time.Duration
	// Doubt is called, at most once a second, when a signature did not fit, here or at another node: perhaps there is
	// another secret. It must return quickly. Default none.
	Doubt func()
	// Logger gets what has no other way to be told. Default slog.Default().
	Logger *slog.Logger
}

// A Forwarder is the http.Handler of the public listener. Close ends it. All methods are safe for concurrent use.
type Forwarder struct {
	next    http.Handler
	options Options
	dial    func(ctx context.Context, network, address string) (net.Conn, error)

	secrets   atomic.Pointer[secrets]
	seen      nonces
	forwarded counters
	refused   counters
	complain  rate.Sometimes
	doubt     rate.Sometimes

	byTag atomic.Pointer[map[string]*peer] // never changed once it is stored

	mu       sync.Mutex
	peers    map[string]*peer // by node id
	arrivals uint64           // of peers
	told     bool             // the membership has called
	sealed   bool             // relays nothing new
	draining bool
	closing  bool
	closed   bool
	relays   map[*relay]struct{}
	leaving  int           // relays that were told to close
	active   int           // requests that are passed on
	idle     chan struct{} // closed when closing and nothing is active
	pumping  sync.WaitGroup
}

var _ http.Handler = (*Forwarder)(nil)

// New puts a Forwarder before next, which serves what is not passed on: as a rule a *socketio.Server. It fails for
// options that cannot work; the error names the option.
func New(next http.Handler, o *Options) (*Forwarder, error) {
	f := &Forwarder{
		next: next, forwarded: newCounters(results), refused: newCounters(reasons),
		complain: rate.Sometimes{First: 3, Interval: 10 * time.Second}, doubt: rate.Sometimes{Interval: time.Second},
		peers: make(map[string]*peer), relays: make(map[*relay]struct{}), idle: make(chan struct{}),
	}
	if o != nil {
		f.options = *o
	}
	if err := f.options.setDefaults(next); err != nil {
		return nil, err
	}
	if f.options.Secret != nil {
		if err := f.SetSecret(f.options.Secret); err != nil {
			return nil, err
		}
	}
	f.dial = (&net.Dialer{Timeout: f.options.DialTimeout}).DialContext
	f.byTag.Store(&map[string]*peer{})
	f.follow(f.options.Members)
	return f, nil
}

func (o *Options) setDefaults(next http.Handler) error {
	if server, ok := next.(interface {
		Path() string
		RouteTag() string
		Adapter() adapter.Adapter
	}); ok {
		if o.Members == nil {
			o.Members, _ = server.Adapter().(adapter.Member)
		}
		o.Path = cmp.Or(o.Path, server.Path())
		o.Tag = cmp.Or(o.Tag, server.RouteTag())
	}
	o.Path = strings.TrimSuffix("/"+strings.Trim(cmp.Or(o.Path, "/socket.io/"), "/"), "/") + "/"
	switch {
	case o.Members == nil:
		return errors.New("forward: Options.Members is missing: the adapter does not know the other nodes by name")
	case o.Tag == "":
		return errors.New("forward: Options.Tag is missing: without a tag in front of its session ids no other node can tell that they are this node's")
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		unset time.Duration
	}{
		{"DialTimeout", &o.DialTimeout, time.Second},
		{"UpgradeTimeout", &o.UpgradeTimeout, 10 * time.Second},
		{"WriteTimeout", &o.WriteTimeout, 10 * time.Second},
	} {
		if *d.value < 0 {
			return fmt.Errorf("forward: Options.%s is %v, must be positive", d.name, *d.value)
		}
		*d.value = cmp.Or(*d.value, d.unset)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}

// secretOverlap is how long the secret before the last one is still accepted.
const secretOverlap = 30 * time.Second

// SetSecret changes the secret. What is signed with the one before is still accepted for 30 s, since not all nodes
// change at once.
func (f *Forwarder) SetSecret(secret []byte) error {
	if len(secret) < MinSecret {
		return fmt.Errorf("forward: a secret has %d bytes, must have at least %d", len(secret), MinSecret)
	}
	s := &secrets{current: append([]byte(nil), secret...)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if old := f.secrets.Load(); old != nil {
		if string(old.current) == string(s.current) {
			return nil
		}
		s.previous, s.until = old.current, time.Now().Add(secretOverlap)
	}
	f.secrets.Store(s)
	return nil
}

// ServeHTTP passes a request on to the node that has its session, or serves it here.
func (f *Forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, forged := r.Header[header]; forged {
		f.refused.add(refusedOutside)
		r = without(r)
	}
	p, sid := f.owner(r)
	switch {
	case p == nil:
		f.next.ServeHTTP(w, r)
	case isUpgrade(r):
		f.serveUpgrade(w, r, p, sid)
	default:
		f.pass(w, r, p, sid)
	}
}

// owner returns the other node that has the session of a request; nil if there is none, or no way to it.
func (f *Forwarder) owner(r *http.Request) (p *peer, sid string) {
	if !strings.HasPrefix(r.URL.Path, f.options.Path) || r.Method != http.MethodGet && r.Method != http.MethodPost {
		return nil, ""
	}
	if !strings.ContainsAny(r.URL.RawQuery, "_%") { // no tag in it
		return nil, ""
	}
	sid = sessionID(r.URL)
	tag, _, tagged := strings.Cut(sid, "_")
	if !tagged || tag == f.options.Tag || f.secrets.Load() == nil {
		return nil, ""
	}
	return (*f.byTag.Load())[tag], sid
}

// sessionID returns the session that a request is for, as the engine reads it: the last one wins.
func sessionID(u *url.URL) string {
	if all := u.Query()["sid"]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// isUpgrade reports whether a request wants to become a WebSocket.
func isUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoMajor == 1 && hasToken(r.Header["Connection"], "upgrade") && hasToken(r.Header["Upgrade"], "websocket")
}

func hasToken(values []string, token string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// without returns a request without our header; what the http.Server made is not changed.
func without(r *http.Request) *http.Request {
	c := new(http.Request)
	*c = *r
	c.Header = make(http.Header, len(r.Header))
	for name, values := range r.Header {
		if name != header {
			c.Header[name] = values
		}
	}
	return c
}

// unknown answers that there is no such session, in the words of the own server, which does not have it: with its
// headers for other origins, its middlewares, its counters.
func (f *Forwarder) unknown(w http.ResponseWriter, r *http.Request) {
	c := *r
	c.Body, c.ContentLength, c.TransferEncoding = http.NoBody, 0, nil // perhaps it is still being read
	f.next.ServeHTTP(w, &c)
}

// begin counts a request that is passed on, unless the Forwarder is closed.
func (f *Forwarder) begin() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.active++
	return true
}

func (f *Forwarder) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active--
	f.idleLocked()
}

func (f *Forwarder) idleLocked() {
	if f.closing && !f.closed && f.active == 0 {
		f.closed = true
		close(f.idle)
	}
}

// Relays returns how many WebSockets are relayed, without those that were told to close.
func (f *Forwarder) Relays() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.relays) - f.leaving
}

// HandOver tells n of the relayed WebSockets, or all, to close between two messages, and returns how many these are. Their clients
// come back through another node, while the sessions of those that poll stay. From the first call on, also with 0, no upgrade is relayed
// any more but answered 503, so that a balancer asks another node. It is for socketio.DrainOptions.Relays, which calls it before Drain.
func (f *Forwarder) HandOver(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sealed = true
	told := 0
	for r := range f.relays { // in random order
		if told >= n {
			break
		}
		if f.farewellLocked(r) {
			told++
		}
	}
	return told
}

// Drain prepares the end: no upgrade is relayed any more but answered 503, so that a balancer asks another node; relayed WebSockets are told to close
// between two messages. GET and POST are passed on until Close, since their sessions live on elsewhere. Changes of the membership do
// not matter any more, since the adapter may close.
func (f *Forwarder) Drain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.draining {
		return
	}
	f.draining, f.sealed = true, true
	for r := range f.relays {
		f.farewellLocked(r)
	}
}

// Close drains the Forwarder and waits for the requests and relays that are under way. When ctx ends first, what is left is cut and the
// error says so. Requests for other nodes' sessions are then served here, where nobody knows them, so end the http.Server in
// front before: Drain, then Shutdown of the socketio.Server, of the http.Server, and Close.
func (f *Forwarder) Close(ctx context.Context) error {
	f.Drain()
	f.mu.Lock()
	if f.closing {
		f.mu.Unlock()
		return errors.New("forward: close: is closed")
	}
	f.closing = true
	f.idleLocked()
	f.mu.Unlock()

	done := make(chan struct{})
	go func() {
		<-f.idle
		f.pumping.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		f.mu.Lock()
		if f.active > 0 || len(f.relays) > 0 {
			err = fmt.Errorf("forward: close: %d requests and %d relays: %w", f.active, len(f.relays), context.Cause(ctx))
		}
		f.mu.Unlock()
		f.dropAll()
		<-done
	}
	f.dropAll()
	return err
}
