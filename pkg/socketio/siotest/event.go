package siotest

import (
	"context"
	"fmt"
	"sync/atomic"

	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/parser"
)

// Event is what a server emitted. Its arguments stay valid.
type Event struct {
	Name string
	socketio.Args

	client   *Client
	id       uint64
	wantsAck bool
	acked    atomic.Bool
}

// WantsAck reports whether the server waits for an acknowledgement.
func (e *Event) WantsAck() bool { return e.wantsAck }

// Ack sends the acknowledgement with the given values. It may be called once: see socketio.ErrNoAck and
// socketio.ErrAcked.
func (e *Event) Ack(ctx context.Context, values ...any) error {
	var err error
	switch {
	case !e.wantsAck:
		err = socketio.ErrNoAck
	case e.acked.Swap(true):
		err = socketio.ErrAcked
	default:
		err = e.client.send(ctx, parser.Packet{Type: parser.Ack, ID: e.id, HasID: true}, values)
	}
	if err != nil {
		return fmt.Errorf("siotest: ack of %q: %w", e.Name, err)
	}
	return nil
}

// String returns the name and the JSON of the arguments, shortened.
func (e *Event) String() string {
	args, _ := e.Encode()
	return fmt.Sprintf("%q %.200s", e.Name, args)
}

// Reason says why a client was disconnected, in the words of official clients.
type Reason string

// The reasons.
const (
	ServerDisconnect Reason = "io server disconnect" // the server took it out of the namespace
	ClientDisconnect Reason = "io client disconnect" // Client.Disconnect
	TransportClose   Reason = "transport close"      // the connection ended, by either side
	ParseError       Reason = "parse error"          // the server sent what is no packet
	Overflow         Reason = "too many events wait" // nobody called Next: no reason of official clients
)

// DisconnectError is the error of a client that is not in its namespace any more.
type DisconnectError struct{ Reason Reason }

// Error tells the reason.
func (e *DisconnectError) Error() string { return "disconnected: " + string(e.Reason) }
