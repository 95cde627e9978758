// Package parser reads and writes Socket.IO packets.
//
// In the default form a packet is one text message, followed by as many binary messages as it has attachments:
// Decode and AppendHeader are functions on bytes without I/O, state or allocation. Parser is the contract of every
// wire format; Default and Msgpack implement it, and a server's users may bring their own.
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

// plain returns the type of the same packet without attachments.
func (t Type) plain() Type {
	switch t {
	case BinaryEvent:
		return Event
	case BinaryAck:
		return Ack
	}
	return t
}

// Packet is a decoded header and the JSON text behind it. Its slices are parts of the decoded message.
type Packet struct {
	Type        Type
	Attachments int    // binary values of the packet; in the default form, the binary messages that follow the header
	Namespace   []byte // empty for the main namespace "/"
	ID          uint64 // of the acknowledgement, if HasID
	HasID       bool
	// Data is JSON text of the shape that Type asks for; empty if absent. {"_placeholder":true,"num":i} stands in the
	// place of Binary[i]. Without attachments such an object is plain data.
	Data []byte
	// Binary are the attachments of a complete packet. Decode, which sees the header alone, leaves it nil.
	Binary [][]byte
}

// Check tells whether a complete packet is what the contract of Decoder asks for. A server checks those of parsers that
// are not of this package, since what is not valid JSON would harm others.
func (p *Packet) Check() error {
	if p.Type > BinaryAck {
		return fmt.Errorf("%w %d", ErrUnknownType, p.Type)
	}
	if p.ID > MaxID {
		return fmt.Errorf("%w: above %d", ErrInvalidID, uint64(MaxID))
	}
	if len(p.Data) == 0 { // as in Node it reaches no handler, whatever is attached
		return nil
	}
	if err := checkData(p.Type, p.Data); err != nil {
		return err
	}
	if len(p.Binary) > 0 {
		return CheckPlaceholders(p.Data, len(p.Binary))
	}
	return nil
}

// Limits of one packet.
const (
	// MaxAttachments is the default limit, that of Socket.IO parser 4.2.7 on both sides: official clients close the
	// connection when a packet has more.
	MaxAttachments = 10
	// MaxDepth is how deeply arrays and objects may be nested: far beyond what is of use, and what every adapter and
	// client can take.
	MaxDepth = 1000
	// MaxID is the largest acknowledgement id that JavaScript can hold exactly.
	MaxID = 1<<53 - 1
)

// Limits bounds what a packet may hold. The zero value has the defaults.
type Limits struct {
	// MaxAttachments is the number of binary values in one packet; 0 means the constant MaxAttachments. Official
	// clients accept no more than that from a server, unless they were given another limit too.
	MaxAttachments int
}

func (l Limits) attachments() int {
	if l.MaxAttachments <= 0 {
		return MaxAttachments
	}
	return l.MaxAttachments
}

// Errors of decoding, wrapped with what was found. The texts of the first ones are those of the JavaScript parser.
var (
	ErrUnknownType        = errors.New("unknown packet type")
	ErrIllegalAttachments = errors.New("illegal attachments")
	ErrTooManyAttachments = errors.New("too many attachments")
	ErrPlaintext          = errors.New("got plaintext data when reconstructing a packet")
	ErrBinary             = errors.New("got binary data when not reconstructing a packet")
	ErrInvalidPayload     = errors.New("invalid payload")
	ErrTooDeep            = fmt.Errorf("nested deeper than %d levels", MaxDepth)
	ErrInvalidID          = errors.New("invalid acknowledgement id")
	ErrReservedEvent      = errors.New("reserved event name")
	ErrMalformed          = errors.New("malformed MessagePack")
	ErrInvalidNamespace   = errors.New("invalid namespace")
)

// Reserved reports whether an application may not emit an event of this name (protocol section 1).
func Reserved(event string) bool {
	switch event {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return true
	}
	return false
}
