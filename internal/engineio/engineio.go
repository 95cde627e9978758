// Package engineio terminates Engine.IO protocol 4: handshake, sessions, heartbeat, long polling, WebSocket
// and the upgrade from one to the other. gorilla/websocket appears only here.
package engineio

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/outbox"
)

// Options of an engine. Every field must be set; the public defaults are those of pkg/socketio.
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
	RouteTag       string                    // put in front of every session id as "tag_"; may be empty
	Outbox         outbox.Limits             // bound of each session's outbox
	CheckOrigin    func(*http.Request) bool  // asked for each WebSocket request (handshake or upgrade)
	Admit          func(*http.Request) error // asked for each handshake; an error is answered 503 with Retry-After: 1
	Connect        func(*Session) Handler    // a session opened; called before the client hears of it
	Logger         *slog.Logger
	Trace          Trace
}

// Trace has functions that the engine calls; nil ones are skipped. They must return quickly.
type Trace struct {
	Closed func(transport string, reason Reason, age time.Duration)
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

// Handshake is what the first request of a session said.
type Handshake struct {
	Header     http.Header
	URL        string // the request target, as sent
	Query      map[string]string
	RemoteAddr string
	Secure     bool // over TLS
	Time       time.Time
}

// Stats are totals since the start and the state now. Index 0 is polling, 1 is websocket.
type Stats struct {
	Open                    [2]int64
	Opened                  [2]uint64         // sessions by their first transport
	Upgrades                map[string]uint64 // by result: ok, timeout, probe_failed, closed
	Closed                  [2]map[Reason]uint64
	Handshakes              [2]map[string]uint64 // by result: ok, bad_request, unknown_transport, forbidden, limit, draining
	Rejected                map[string]uint64    // requests refused: unknown_sid, bad_method, too_large, overlap
	BytesIn                 [2]uint64
	BytesOut                [2]uint64
	Deliveries              [2]uint64         // messages handed to the kernel or to a polling answer
	Flushes                 [2]uint64         // writes or polling answers that carried them
	Dropped                 map[string]uint64 // frames that were not sent: volatile, queue_full, closed
	QueueBytes, QueueFrames int64             // waiting in all outboxes
}

var _ http.Handler = (*Engine)(nil)

// Engine is an http.Handler for everything below its path.
type Engine struct{}

// New makes an engine. Close must be called to end its goroutines.
func New(o Options) *Engine { panic("stub") }

// ServeHTTP answers handshakes, polls, posts and upgrades.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {}

// Close closes every session with reason, waits until what they had queued left or ctx ended, and ends all
// goroutines of the engine. Handshakes are refused from the beginning.
func (e *Engine) Close(ctx context.Context, reason Reason) error { return nil }

// Stats returns the engine's figures. It may be called at any time.
func (e *Engine) Stats() Stats { return Stats{} }

// Session is one Engine.IO connection. All methods are safe for concurrent use.
type Session struct{}

// ID returns the session id, which is a secret of the client.
func (s *Session) ID() string { return "" }

// Transport returns "polling" or "websocket".
func (s *Session) Transport() string { return "" }

// Handshake returns what the first request said.
func (s *Session) Handshake() *Handshake { return nil }

// Send queues a frame and never blocks. A volatile frame is dropped (ErrDropped) when the client is not ready
// for it: no GET pending on polling, kernel buffer full on WebSocket. A frame that is not volatile and does not
// fit makes room by dropping queued volatile ones; if that is not enough the session is closed as SlowConsumer
// (ErrSlow), or the frame is dropped when Limits.DropVolatile... is set.
func (s *Session) Send(f *frame.Frame, volatile bool) error { return nil }

// SendWait is Send for one receiver: it waits for room until ctx ends.
func (s *Session) SendWait(ctx context.Context, f *frame.Frame) error { return nil }

// Resume lets reading go on after Message returned false.
func (s *Session) Resume() {}

// Close ends the session: what is queued is sent first, then the transport is closed. Closed is called with
// the reason at once; later Sends return ErrClosed.
func (s *Session) Close(reason Reason, detail error) {}
