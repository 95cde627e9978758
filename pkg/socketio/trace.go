package socketio

import (
	"time"

	"example.com/chorus/pkg/adapter"
)

// Reason says why a socket or a connection ended: the protocol's words (section "Disconnection"), and two of our
// own for clients and handlers that do not keep up.
type Reason string

// The reasons.
const (
	TransportClose            Reason = "transport close"             // the peer closed it
	TransportError            Reason = "transport error"             // the network or HTTP failed, or a message was too big
	PingTimeout               Reason = "ping timeout"                // no pong came
	ParseError                Reason = "parse error"                 // bad Engine.IO packet
	ForcedClose               Reason = "forced close"                // protocol violation, or closed by the server
	ForcedServerClose         Reason = "forced server close"         // protocol violation, and the transport could not be closed at once
	ServerShutdown            Reason = "server shutting down"        // Server.Shutdown
	ServerNamespaceDisconnect Reason = "server namespace disconnect" // Socket.Disconnect
	ClientNamespaceDisconnect Reason = "client namespace disconnect" // DISCONNECT packet
	SlowConsumer              Reason = "slow consumer"               // its outbox was full
	SlowHandler               Reason = "slow handler"                // its inbox was full for InboxTimeout
)

// Where a broadcast came from.
const (
	OriginLocal  = "local"  // emitted on this node
	OriginRemote = "remote" // emitted on another one
)

// Trace has functions that a server calls when something happens; nil ones are skipped. They may be called from
// any goroutine, some of them while locks are held: they must return quickly and not call the server.
type Trace struct {
	// SessionClosed is called when a connection ended.
	SessionClosed func(transport string, reason Reason, age time.Duration)
	// BroadcastDone is called when a broadcast is in the last outbox of this node.
	BroadcastDone func(origin string, recipients int, fanout time.Duration)
	// Delivered is called for one receiver of a broadcast: the time from Emit, on whatever node, until its bytes were
	// handed to the kernel here. It can be negative when the clocks of two nodes differ.
	Delivered func(origin string, latency time.Duration)
	// HandlerDone is called when the handler of an event returned.
	HandlerDone func(event string, d time.Duration, err error)
	// RequestDone is called when a request to the other nodes has ended; RequestKey lists types and results.
	RequestDone func(requestType, result string, d time.Duration)
	// Adapter is passed on to the adapter.
	Adapter adapter.Trace
}

// AddTrace adds t to those who are told. It may be called at any time.
func (s *Server) AddTrace(t *Trace) {
	s.mu.Lock()
	next := add(s.traceList(), t)
	s.traces.Store(&next)
	s.mu.Unlock()
	if a, ok := s.options.Adapter.(adapter.Traced); ok {
		a.AddTrace(s.guardTrace(&t.Adapter))
	}
}

// guardTrace puts told around the functions that the adapter calls.
func (s *Server) guardTrace(t *adapter.Trace) *adapter.Trace {
	guarded := *t
	if f := t.Published; f != nil {
		guarded.Published = func(messages int, wait time.Duration, err error) {
			s.told("Adapter.Published", func() { f(messages, wait, err) })
		}
	}
	if f := t.Gap; f != nil {
		guarded.Gap = func(d time.Duration) { s.told("Adapter.Gap", func() { f(d) }) }
	}
	if f := t.Reconnected; f != nil {
		guarded.Reconnected = func(role adapter.Role, cause string) {
			s.told("Adapter.Reconnected", func() { f(role, cause) })
		}
	}
	return &guarded
}

func (s *Server) traceList() []*Trace {
	if l := s.traces.Load(); l != nil {
		return *l
	}
	return nil
}

func (s *Server) traceBroadcast(origin string, recipients int, d time.Duration) {
	for _, t := range s.traceList() {
		if t.BroadcastDone != nil {
			s.told("BroadcastDone", func() { t.BroadcastDone(origin, recipients, d) })
		}
	}
}

func (s *Server) tracesDelivery() bool {
	for _, t := range s.traceList() {
		if t.Delivered != nil {
			return true
		}
	}
	return false
}

func (s *Server) traceDelivered(origin string, latency time.Duration) {
	for _, t := range s.traceList() {
		if t.Delivered != nil {
			s.told("Delivered", func() { t.Delivered(origin, latency) })
		}
	}
}

func (s *Server) traceSession(transport string, reason Reason, age time.Duration) {
	for _, t := range s.traceList() {
		if t.SessionClosed != nil {
			s.told("SessionClosed", func() { t.SessionClosed(transport, reason, age) })
		}
	}
}

// traceHandler gets the JSON text of the event's name.
func (s *Server) traceHandler(rawName []byte, d time.Duration, err error) {
	for _, t := range s.traceList() {
		if t.HandlerDone != nil {
			s.told("HandlerDone", func() { t.HandlerDone(trimQuotes(rawName), d, err) })
		}
	}
}

func trimQuotes(b []byte) string {
	if len(b) >= 2 && b[0] == '"' {
		b = b[1 : len(b)-1]
	}
	return string(b)
}
