package socketio

import (
	"time"

	"example.com/chorus/internal/engineio"
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
	// HandshakeDone is called when the handshake of a new connection was answered, so long after it came.
	HandshakeDone func(transport string, d time.Duration)
	// Upgraded is called when a connection has changed its transport, so long after the new one was accepted.
	Upgraded func(to string, d time.Duration)
	// Pong is called when a client has answered a ping: the time from where the ping was queued.
	Pong func(transport string, rtt time.Duration)
	// Compressed is called when a message to clients, or a polling answer, was compressed, with the part of its size that is
	// left. A broadcast is compressed once for all that get it.
	Compressed func(transport string, ratio float64)
	// Queued is called for a sample of what is sent, one receiver of each broadcast and every 16th event to a single socket:
	// the time in the outbox, until its bytes were handed to the kernel.
	Queued func(wait time.Duration)
	// EventReceived is called for each event of a client, before its handlers. Namespace is as in Stats.Namespaces. The name
	// of the event is whatever the client says.
	EventReceived func(namespace, event string)
	// HandlerDone is called when the handler of an event returned. A handler that panicked has a *PanicError.
	HandlerDone func(event string, d time.Duration, err error)
	// Acked is called when a client has acknowledged an event, so long after it was asked to. Namespace is as in
	// Stats.Namespaces.
	Acked func(namespace string, d time.Duration)
	// Recovered is called when a client has its session again: how many events it had missed.
	Recovered func(events int)
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

// tracesWrites reports whether somebody wants to know when samples were written.
func (s *Server) tracesWrites() bool {
	for _, t := range s.traceList() {
		if t.Delivered != nil || t.Queued != nil {
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
			s.told("HandlerDone", func() { t.HandlerDone(s.names.remember(rawName), d, err) })
		}
	}
}

// traceReceived gets the JSON text of the event's name.
func (s *Server) traceReceived(namespace string, rawName []byte) {
	for _, t := range s.traceList() {
		if t.EventReceived != nil {
			s.told("EventReceived", func() { t.EventReceived(namespace, s.names.of(rawName)) })
		}
	}
}

func (s *Server) traceQueued(wait time.Duration) {
	for _, t := range s.traceList() {
		if t.Queued != nil {
			s.told("Queued", func() { t.Queued(wait) })
		}
	}
}

func (s *Server) traceAcked(namespace string, d time.Duration) {
	for _, t := range s.traceList() {
		if t.Acked != nil {
			s.told("Acked", func() { t.Acked(namespace, d) })
		}
	}
}

func (s *Server) traceRecovered(events int) {
	for _, t := range s.traceList() {
		if t.Recovered != nil {
			s.told("Recovered", func() { t.Recovered(events) })
		}
	}
}

// engineTrace passes on what the engine tells.
func (s *Server) engineTrace() engineio.Trace {
	return engineio.Trace{
		Closed: func(transport string, reason engineio.Reason, age time.Duration) {
			s.traceSession(transport, Reason(reason), age)
		},
		Opened: func(transport string, d time.Duration) {
			for _, t := range s.traceList() {
				if t.HandshakeDone != nil {
					s.told("HandshakeDone", func() { t.HandshakeDone(transport, d) })
				}
			}
		},
		Upgraded: func(to string, d time.Duration) {
			for _, t := range s.traceList() {
				if t.Upgraded != nil {
					s.told("Upgraded", func() { t.Upgraded(to, d) })
				}
			}
		},
		Pong: func(transport string, rtt time.Duration) {
			for _, t := range s.traceList() {
				if t.Pong != nil {
					s.told("Pong", func() { t.Pong(transport, rtt) })
				}
			}
		},
		Compressed: func(transport string, ratio float64) {
			for _, t := range s.traceList() {
				if t.Compressed != nil {
					s.told("Compressed", func() { t.Compressed(transport, ratio) })
				}
			}
		},
	}
}
