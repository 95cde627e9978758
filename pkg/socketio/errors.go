package socketio

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Errors of the package. They are wrapped with the operation that failed; use errors.Is.
var (
	ErrServerClosed       = errors.New("server is closed")
	ErrDisconnected       = errors.New("socket is disconnected")
	ErrDropped            = errors.New("volatile message dropped: the client is not ready for it")
	ErrSlowConsumer       = errors.New("connection closed: its outbox is full")
	ErrReservedEvent      = errors.New("reserved event name")
	ErrTooManyAttachments = errors.New("too many binary attachments")
	ErrTooManyAcks        = errors.New("too many outstanding acknowledgements: the limit is 1024")
	ErrTooManyRooms       = errors.New("too many rooms: see Options.MaxRoomsPerSocket")
	ErrNoAck              = errors.New("the client asked for no acknowledgement")
	ErrAcked              = errors.New("acknowledged before")
	ErrMissingArgument    = errors.New("missing argument")
	ErrLocalOnly          = errors.New("only possible on this node: use Local, the adapter has no answers of others")
	ErrParentNamespace    = errors.New("not supported on parent namespaces: use their children")
)

// ConnectError is the refusal of a namespace by a middleware: the client gets Message and, unless it is nil,
// Data in its connect_error event. Any other error is sent with its text as message.
type ConnectError struct {
	Message string
	Data    any
}

// Error returns the message.
func (e *ConnectError) Error() string { return e.Message }

// ProtocolError is what OnError is told when a client broke the protocol and was closed for it.
type ProtocolError struct{ Err error }

// Error says what was wrong.
func (e *ProtocolError) Error() string { return "socketio: protocol violation: " + e.Err.Error() }

// Unwrap returns what was wrong, such as parser.ErrInvalidPayload.
func (e *ProtocolError) Unwrap() error { return e.Err }

// MissingAcksError says that not all receivers of a broadcast acknowledged it.
type MissingAcksError struct {
	Expected int // receivers
	Received int // acknowledgements
	// Cause is why the others are missing, all causes together for errors.Is: that of the context, ErrDisconnected,
	// ErrDropped of a volatile broadcast, ErrSlowConsumer, ErrTooManyAcks.
	Cause error
}

// Error counts.
func (e *MissingAcksError) Error() string {
	return fmt.Sprintf("%d of %d acknowledgements: %v", e.Received, e.Expected, e.Cause)
}

// Unwrap returns the cause.
func (e *MissingAcksError) Unwrap() error { return e.Cause }

// PanicError is what a function of the application that panicked is reported with: a handler or a hook, a parser, the
// MarshalJSON of a value. The process goes on.
type PanicError struct {
	Value any
	Stack []byte
}

// Error describes the value of the panic.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// connectErrorJSON is the payload of a CONNECT_ERROR packet (protocol section "Connection to a namespace"). Protocol 3
// has the data alone, or the text. failed tells that the data, or even the text, could not be written; the client gets
// what could.
func connectErrorJSON(err error, protocol int) (out []byte, failed error) {
	refusal := ConnectError{Message: "internal server error"}
	failed = guard(func() error { // Error, Unwrap and MarshalJSON are the application's
		refusal.Message = err.Error()
		if r, ok := errors.AsType[*ConnectError](err); ok {
			refusal = *r
		}
		out, err = refusal.json(protocol)
		return err
	})
	if failed != nil {
		refusal.Data = nil
		out, _ = refusal.json(protocol) // strings always can
	}
	return out, failed
}

func (e *ConnectError) json(protocol int) ([]byte, error) {
	switch {
	case protocol != 3:
		return json.Marshal(struct {
			Message string `json:"message"`
			Data    any    `json:"data,omitempty"`
		}{e.Message, e.Data})
	case e.Data != nil:
		return json.Marshal(e.Data)
	}
	return json.Marshal(e.Message)
}
