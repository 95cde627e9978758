package socketio

import (
	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// GuardTrace is what AddTrace gives to the adapter.
func GuardTrace(s *Server, t *adapter.Trace) *adapter.Trace { return s.guardTrace(t) }

// EventArgs makes Args of the data of an event.
func EventArgs(data []byte, attachments ...[]byte) Args {
	_, elements := parser.Split(data)
	return Args{elements: elements, attachments: attachments}
}

// Receive hands a packet to the connection of a socket, as its reader does.
func Receive(s *Socket, packet []byte) { s.conn.Message(false, packet) }

// DecodeHandshake reads what another node says of a handshake.
func DecodeHandshake(raw []byte) Handshake { return decodeHandshake(raw) }
