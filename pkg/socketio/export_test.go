package socketio

import "example.com/chorus/pkg/socketio/parser"

// NewArgs makes Args of the data of a packet.
func NewArgs(data []byte, attachments ...[]byte) Args {
	_, elements := parser.Split(data)
	return Args{elements: elements, attachments: attachments}
}
