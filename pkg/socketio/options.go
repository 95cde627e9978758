package socketio

import (
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// Names of the transports, for Options.Transports and Socket.Transport.
const (
	Polling   = "polling"
	WebSocket = "websocket"
)

// QueuePolicy says what becomes of a broadcast that does not fit into the outbox of a connection.
type QueuePolicy int

const (
	// CloseSlow closes the connection with the reason SlowConsumer: its client learns that it missed something
	// and comes back.
	CloseSlow QueuePolicy = iota
	// DropVolatile drops the message for that receiver and counts it.
	DropVolatile
)

// NetLoop is how connections are read and written.
type NetLoop string

// The values of Options.NetLoop.
const (
	NetLoopAuto     NetLoop = "auto"
	NetLoopFast     NetLoop = "fast"
	NetLoopPortable NetLoop = "portable"
)

// Options of a Server. nil and the zero value work; a field left zero has the default that its comment ends with.
// Names and defaults are those of the Node server where it has the option. A function that panics is logged and
// counted; if it was to decide about a request, that is refused. Middlewares are ordinary handlers of net/http.
type Options struct {
	// Path below which the server answers. Slashes at its ends are added. Default "/socket.io/".
	Path string
	// PingInterval is the time from a pong, or from the opening, to the next ping. Default 25 s.
	PingInterval time.Duration
	// PingTimeout is the time after a ping in which the client must answer. Default 20 s.
	PingTimeout time.Duration
	// UpgradeTimeout is the time in which a begun transport upgrade must end. Default 10 s.
	UpgradeTimeout time.Duration
	// ConnectTimeout is the time in which a client must join a first namespace. Default 45 s.
	ConnectTimeout time.Duration
	// WriteTimeout is how long a connection may take nothing of what waits for it. Default 10 s.
	WriteTimeout time.Duration
	// InboxTimeout is how long a handler may keep a full inbox from draining before the connection is closed with
	// the reason SlowHandler. Default 10 s.
	InboxTimeout time.Duration
	// AckTimeout ends the wait for an acknowledgement when the context has no deadline. Default 30 s.
	AckTimeout time.Duration
	// MaxPayload is the limit of one inbound message or polling body in bytes. Default 1 000 000.
	MaxPayload int
	// Transports that are enabled. Default Polling and WebSocket.
	Transports []string
	// DisableUpgrades keeps connections on the transport that they began with. Default no: polling clients change to
	// WebSocket where they can.
	DisableUpgrades bool
	// CheckOrigin decides about WebSocket requests by their Origin header. Default: requests without the header and
	// those of the same host. Browsers do not restrict WebSockets, so this is the protection of users' sessions.
	CheckOrigin func(*http.Request) bool
	// Adapter is the line to the other nodes. Default adapter.NewMemory(), a node that is alone. The server closes
	// it in Shutdown.
	Adapter adapter.Adapter
	// RouteTag is put in front of every session id as "tag_", so that a balancer can route by it. The answer of a
	// handshake has it in the header Chorus-Node, from which a balancer can learn whose it is. Letters and digits, at
	// most 32. Default none.
	RouteTag string
	// Client is the dist folder of the npm package socket.io-client, whose bundles are served below Path. Default
	// none: such requests are answered 404 with the remedy.
	Client fs.FS
	// QueueBytes and QueueMessages bound what waits for one connection. Default 1 MiB and 4 096. An empty queue takes
	// one message of any size.
	QueueBytes    int
	QueueMessages int
	// QueuePolicy is applied to broadcasts that do not fit. Default CloseSlow.
	QueuePolicy QueuePolicy
	// TrustedProxies are the networks of balancers whose X-Forwarded-For is believed: Handshake.RemoteAddr is then the
	// client's address with port 0, which is the last one in the header that is not theirs. Default none.
	TrustedProxies []netip.Prefix
	// MaxConnections bounds the connections of this server, as a handshake at the limit is answered 503. Default no limit.
	MaxConnections int
	// MaxEventsPerSecond bounds the events of one connection, all its namespaces together: one that sends more, after a
	// burst of a second's, is read no faster. Nothing is lost, and it is not closed for that. Default no limit.
	MaxEventsPerSecond int
	// MaxRoomsPerSocket bounds the rooms of one socket besides its own: Join returns ErrTooManyRooms, and a join by a
	// broadcast or by another server leaves that socket out. Default no limit.
	MaxRoomsPerSocket int
	// MaxHandshakesPerSecond paces new connections: those above wait up to a second, then are answered 503. Default
	// no limit.
	MaxHandshakesPerSecond int
	// Parser is the wire format of packets, which clients must use too. Default the text form; parser.Msgpack is that of
	// socket.io-msgpack-parser.
	Parser parser.Parser
	// MaxAttachments is the limit of binary values in one packet, in both directions. Official clients accept 10 unless
	// they are told otherwise. Default 10.
	MaxAttachments int
	// AllowEIO3 serves clients of Socket.IO 2, which speak Engine.IO protocol 3. Default no.
	AllowEIO3 bool
	// Recovery keeps sessions over short interruptions. An adapter with other nodes must be an adapter.Keeper, as that of
	// redisadapter.NewStreams; others are an error of NewServer. Default none.
	Recovery *Recovery
	// CleanupEmptyChildNamespaces removes a child of a ParentNamespace when its last socket has left. Default no.
	CleanupEmptyChildNamespaces bool
	// CORS sets the headers for pages of other origins; Server.SetCORS changes it. Default none.
	CORS *CORS
	// Middleware is put around everything that the server answers but what CORS answers, the first outermost. What one
	// writes into the header of the response is in the answer to a WebSocket handshake too. Default none.
	Middleware []func(http.Handler) http.Handler
	// AllowRequest decides about handshakes, after CheckOrigin; a request of an existing connection is not asked about.
	// The client gets the text of the error. Default all are allowed.
	AllowRequest func(r *http.Request) error
	// InitialHeaders may change the headers of a handshake's answer, Headers those of every answer. Default none.
	InitialHeaders func(h http.Header, r *http.Request)
	Headers        func(h http.Header, r *http.Request)
	// ConnectionError is told of refused requests. It must return quickly. Default none.
	ConnectionError func(RefusedRequest)
	// GenerateID makes the random part of the connections' ids, which are secrets: 1 to 64 characters of A-Z, a-z, 0-9,
	// "-" and "_". Default 20 random characters.
	GenerateID func(r *http.Request) (string, error)
	// InitialPacket is the text of a message that every client gets with the opening of its connection, for clients
	// that speak Engine.IO without Socket.IO. Default none.
	InitialPacket string
	// Cookie is set by the answer to a polling handshake, with the connection's id for its value, for balancers that
	// route by cookies: &Cookie{} is Node's "cookie: true". The server never reads it. Default none.
	Cookie *Cookie
	// HTTPCompression compresses polling answers. Default on, from 1 024 bytes.
	HTTPCompression HTTPCompression
	// PerMessageDeflate compresses WebSocket messages. Default none.
	PerMessageDeflate *PerMessageDeflate
	// NetLoop chooses how connections are read and written. NetLoopFast serves plain TCP connections on Linux with a few
	// goroutines for all of them; others, such as those of a server with TLS, are always served as with NetLoopPortable, by
	// a goroutine each. Server.NetLoop tells what came of it. Default NetLoopAuto: fast where the system can, which
	// NetLoopFast insists on.
	NetLoop NetLoop
	// Logger gets what has no other way to be told. Default slog.Default().
	Logger *slog.Logger
	// Trace is told of single happenings. Default none.
	Trace *Trace
}

// withDefaults returns a copy in which every field is set.
func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Path == "" {
		c.Path = "/socket.io/"
	}
	c.Path = strings.TrimSuffix("/"+strings.Trim(c.Path, "/"), "/") + "/"
	for _, d := range []struct {
		name  string
		value *time.Duration
		unset time.Duration
	}{
		{"PingInterval", &c.PingInterval, 25 * time.Second},
		{"PingTimeout", &c.PingTimeout, 20 * time.Second},
		{"UpgradeTimeout", &c.UpgradeTimeout, 10 * time.Second},
		{"ConnectTimeout", &c.ConnectTimeout, 45 * time.Second},
		{"WriteTimeout", &c.WriteTimeout, 10 * time.Second},
		{"InboxTimeout", &c.InboxTimeout, 10 * time.Second},
		{"AckTimeout", &c.AckTimeout, 30 * time.Second},
	} {
		if *d.value < 0 {
			return c, fmt.Errorf("socketio: Options.%s is %v, must be positive", d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.unset
		}
	}
	for _, n := range []struct {
		name  string
		value *int
		unset int
	}{
		{"MaxPayload", &c.MaxPayload, 1_000_000},
		{"QueueBytes", &c.QueueBytes, 1 << 20},
		{"QueueMessages", &c.QueueMessages, 4096},
		{"MaxHandshakesPerSecond", &c.MaxHandshakesPerSecond, 0},
		{"MaxConnections", &c.MaxConnections, 0},
		{"MaxEventsPerSecond", &c.MaxEventsPerSecond, 0},
		{"MaxRoomsPerSocket", &c.MaxRoomsPerSocket, 0},
		{"MaxAttachments", &c.MaxAttachments, parser.MaxAttachments},
	} {
		if *n.value < 0 {
			return c, fmt.Errorf("socketio: Options.%s is %d, must be positive", n.name, *n.value)
		}
		if *n.value == 0 {
			*n.value = n.unset
		}
	}
	if c.Recovery != nil {
		r, err := c.Recovery.withDefaults()
		if err != nil {
			return c, err
		}
		c.Recovery = &r
	}
	if c.Adapter == nil {
		c.Adapter = adapter.NewMemory()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, c.check()
}

func (o *Options) check() error {
	if len(o.Transports) == 0 {
		o.Transports = []string{Polling, WebSocket}
	}
	for _, t := range o.Transports {
		if t != Polling && t != WebSocket {
			return fmt.Errorf("socketio: Options.Transports has %q, must be %q or %q", t, Polling, WebSocket)
		}
	}
	if o.QueuePolicy != CloseSlow && o.QueuePolicy != DropVolatile {
		return fmt.Errorf("socketio: Options.QueuePolicy is %d, must be CloseSlow or DropVolatile", o.QueuePolicy)
	}
	if len(o.RouteTag) > 32 || strings.ContainsFunc(o.RouteTag, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return fmt.Errorf("socketio: Options.RouteTag is %q, must be at most 32 letters and digits", o.RouteTag)
	}
	if o.Cookie != nil {
		_, err := o.Cookie.cookie()
		return err
	}
	return nil
}
