// Package parser reads and writes Socket.IO protocol 5 packets in the default text form: functions on bytes
// without I/O, state or allocation.
//
// A packet is one text message, followed by as many binary messages as it has attachments.
package parser

import (
	"errors"
	"fmt"
)

// Type is the packet type, the first character of a packet (protocol section "Packet format").
type Type byte

// The packet types.
const (
	Connect Type = iota
	Disconnect
	Event
	Ack
	ConnectError
	BinaryEvent
	BinaryAck
)

var typeNames = [...]string{"CONNECT", "DISCONNECT", "EVENT", "ACK", "CONNECT_ERROR", "BINARY_EVENT", "BINARY_ACK"}

// String returns the protocol's name of the type.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("Type(%d)", byte(t))
}

// Packet is a decoded header and the JSON text behind it. Its slices are parts of the decoded message.
type Packet struct {
	Type        Type
	Attachments int    // binary messages that follow
	Namespace   []byte // empty for the main namespace "/"
	ID          uint64 // of the acknowledgement, if HasID
	HasID       bool
	Data        []byte // JSON text, valid JSON of the shape that Type asks for; empty if absent
}

// Limits of one packet.
const (
	// MaxAttachments is the limit of Socket.IO parser 4.2.7 on both sides: official clients close the connection
	// when a packet has more.
	MaxAttachments = 10
	// MaxDepth is how deeply arrays and objects may be nested: far beyond what is of use, and what every adapter and
	// client can take.
	MaxDepth = 1000
	// MaxID is the largest acknowledgement id that JavaScript can hold exactly.
	MaxID = 1<<53 - 1
)

// Errors of Decode. The texts of the first ones are those of the JavaScript parser.
var (
	ErrUnknownType        = errors.New("unknown packet type")
	ErrIllegalAttachments = errors.New("illegal attachments")
	ErrTooManyAttachments = fmt.Errorf("too many attachments: the limit is %d", MaxAttachments)
	ErrInvalidPayload     = errors.New("invalid payload")
	ErrTooDeep            = fmt.Errorf("nested deeper than %d levels", MaxDepth)
	ErrInvalidID          = errors.New("invalid acknowledgement id")
	ErrReservedEvent      = errors.New("reserved event name")
)

// Reserved reports whether an application may not emit an event of this name (protocol section 1).
func Reserved(event string) bool {
	switch event {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return true
	}
	return false
}
