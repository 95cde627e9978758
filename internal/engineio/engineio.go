// Package engineio terminates Engine.IO, protocols 4 and 3: handshake, sessions, heartbeat, long polling, WebSocket
// and the upgrade from one to the other. gorilla/websocket answers the handshakes of WebSockets here; wsread has the rest of it.
package engineio

import (
	"compress/flate"
	"errors"
	"net/http"
	"time"

	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/netloop"
	"example.com/chorus/internal/outbox"
)

// Options of an engine. Every field down to Connect must be set but Admit; the public defaults are those of
// pkg/socketio. Functions may be called by many goroutines at once.
type Options struct {
	Path           string        // with slashes at both ends, matched as a prefix of the request's path
	PingInterval   time.Duration // between a pong (or the opening) and the next ping
	PingTimeout    time.Duration // from a ping to the close when nothing comes back
	UpgradeTimeout time.Duration // from the 101 of a candidate to its commit
	WriteTimeout   time.Duration // how long a connection whose kernel buffer is full may take nothing
	InboxTimeout   time.Duration // how long a handler may refuse further messages (see Handler.Message)
	MaxPayload     int           // bytes of one inbound message or polling body
	Polling        bool          // transport enabled
	WebSocket      bool          // transport enabled
	AllowUpgrades  bool
	RouteTag       string                    // put in front of every session id as "tag_", and in the header of handshakes; may be empty
	Outbox         outbox.Limits             // bound of each session's outbox
	CheckOrigin    func(*http.Request) bool  // asked for each WebSocket request (handshake or upgrade)
	Admit          func(*http.Request) error // asked for each handshake; an error is answered 503 with Retry-After: 1 (see ErrDraining)
	Connect        func(*Session) Handler    // a session opened; called before the client hears of it
	Trace          Trace
	NetLoop        netloop.Mode // how connections are served
	MaxSessions    int          // handshakes beyond are answered 503 with Retry-After: 1; 0 means no limit

	AllowEIO3 bool // protocol 3, which clients of Socket.IO 2 speak

	// AllowRequest is asked for each handshake after Admit and CheckOrigin. An error refuses it with code 4; the
	// client gets the error's text.
	AllowRequest func(*http.Request) error

	// InitialHeaders may change the headers of a handshake's answer, Headers those of every answer, refusals
	// among them. What middlewares put into the response writer's header is there, also in an answer 101.
	InitialHeaders func(http.Header, *http.Request)
	Headers        func(http.Header, *http.Request)

	ConnectionError func(ConnectionError) // told of each request that is refused with a code of the protocol

	// GenerateID replaces the random part of session ids: 1 to 64 characters of A-Z, a-z, 0-9, "-" and "_". Ids are
	// secrets, so they must be hard to guess. An error, another character or an id that is in use refuses the
	// handshake with code 3.
	GenerateID func(*http.Request) (string, error)

	InitialPacket *frame.Frame // sent right after the open packet
	Cookie        *http.Cookie // of a polling handshake's answer, with the session id for its value

	HTTPCompression   HTTPCompression
	PerMessageDeflate *Deflate // nil: WebSockets are not compressed
}

// HTTPCompression says when polling answers are compressed, with gzip or deflate as the client prefers.
type HTTPCompression struct {
	Disabled  bool
	Threshold int // bytes below which an answer stays as it is; 0 means 1024
}

// Deflate has the settings of permessage-deflate. There is no context takeover, so that a broadcast is compressed
// once for all, by the goroutine that sends it first.
type Deflate struct {
	Threshold int // bytes below which a message stays as it is; 0 means 1024
	Level     int // of compress/flate, -2 to 9; 0 means 1, the fastest
}

// ConnectionError tells of a refused request.
type ConnectionError struct {
	Request *http.Request
	Code    int            // of the protocol, 0 to 5
	Message string         // what the client is told
	Context map[string]any // particulars by the names of the reference server; code 3 has a "name"
}

// defaultThreshold is the size from which on something is compressed.
const defaultThreshold = 1024

// setDefaults fills in what compression leaves open.
func (o *Options) setDefaults() {
	if o.HTTPCompression.Threshold == 0 {
		o.HTTPCompression.Threshold = defaultThreshold
	}
	if o.PerMessageDeflate != nil {
		d := *o.PerMessageDeflate
		if d.Threshold == 0 {
			d.Threshold = defaultThreshold
		}
		if d.Level == 0 {
			d.Level = flate.BestSpeed
		}
		o.PerMessageDeflate = &d
	}
}

// Reason says why a session ended, in the protocol's words.
type Reason string

// The reasons of the protocol, and two of our own for clients and handlers that do not keep up.
const (
	TransportClose Reason = "transport close"
	TransportError Reason = "transport error"
	ParseError     Reason = "parse error"
	PingTimeout    Reason = "ping timeout"
	ForcedClose    Reason = "forced close"
	ServerShutdown Reason = "server shutting down"
	SlowConsumer   Reason = "slow consumer"
	SlowHandler    Reason = "slow handler"
)

// Errors of Send.
var (
	ErrClosed  = errors.New("engineio: session is closed")
	ErrDropped = errors.New("engineio: volatile message dropped") // not writable now, or the policy drops it
	ErrSlow    = errors.New("engineio: session closed: outbox is full")
)

// ErrDraining is what Options.Admit returns when the server goes away, so that the refusal is counted as
// draining and not as limit.
var ErrDraining = errors.New("engineio: server is going away")

// errFull refuses handshakes beyond Options.MaxSessions.
var errFull = errors.New("as many connections as the limit allows")

// Handler receives what the client of one session sends.
type Handler interface {
	// Message hands over one Engine.IO message (the packet without its type digit), in the order of arrival and
	// never two at a time. data is valid until it returns. It must not block. When it returns false the handler
	// can take no more for now: the engine stops reading until Session.Resume is called, and closes the session
	// with SlowHandler after InboxTimeout. While reading is stopped the pong deadline does not run.
	Message(binary bool, data []byte) bool
	// Closed is called exactly once, from any goroutine, possibly while Message runs; a Message that still comes
	// afterwards must be ignored. detail may be nil.
	Closed(reason Reason, detail error)
}
