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
	ErrTooManyAttachments = errors.New("too many binary attachments: official clients accept 10")
	ErrTooManyAcks        = errors.New("too many outstanding acknowledgements: the limit is 1024")
	ErrNoAck              = errors.New("the client asked for no acknowledgement")
	ErrAcked              = errors.New("acknowledged before")
	ErrMissingArgument    = errors.New("missing argument")
)

// ConnectError is the refusal of a namespace by a middleware: the client gets Message and, unless it is nil,
// Data in its connect_error event. Any other error is sent with its text as message.
type ConnectError struct {
	Message string
	Data    any
}

// Error returns the message.
func (e *ConnectError) Error() string { return e.Message }

// PanicError is what a handler that panicked is reported with.
type PanicError struct {
	Value any
	Stack []byte
}

// Error describes the value of the panic.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// connectErrorJSON is the payload of a CONNECT_ERROR packet (protocol section "Connection to a namespace").
func connectErrorJSON(err error) []byte {
	payload := struct {
		Message string `json:"message"`
		Data    any    `json:"data,omitempty"`
	}{Message: err.Error()}
	if refusal, ok := errors.AsType[*ConnectError](err); ok {
		payload.Message, payload.Data = refusal.Message, refusal.Data
	}
	out, err := json.Marshal(payload)
	if err != nil { // Data cannot be written as JSON: the message alone says enough
		payload.Data = nil
		out, _ = json.Marshal(payload)
	}
	return out
}
