package parser

// Parser is a wire format of packets. Both sides of a connection must use the same. All methods are safe for
// concurrent use. A server survives one that panics, or that returns what is not as written here: an Encode that fails
// is the error of who emitted, a Decoder that fails ends its connection.
type Parser interface {
	// Encode returns the messages of a packet, the header first. They go to the peer in this order with no other
	// message between them. The chunks may share memory with p.Data and p.Binary, which the caller must not change
	// afterwards. p.Attachments is ignored: len(p.Binary) counts.
	Encode(p Packet) ([]Chunk, error)
	// NewDecoder returns the decoder of one connection.
	NewDecoder() Decoder
}

// Decoder puts the messages of one connection together to packets. It is used by one goroutine at a time, which may read
// many connections: all of them wait while a method runs.
type Decoder interface {
	// Add takes the next message. It returns nil, nil while the packet is not complete. The packet and its slices
	// are valid until the next call, and may be parts of c.Data. After an error the connection must be closed. The
	// packet must pass Packet.Check.
	Add(c Chunk) (*Packet, error)
	// Close drops what is not complete, at the end of the connection. The decoder must not be used afterwards.
	Close()
}

// Chunk is one message of a packet: Engine.IO text, which must be valid UTF-8, or binary.
type Chunk struct {
	Binary bool
	Data   []byte
}
