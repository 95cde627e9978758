package parser

import (
	"bytes"
	"fmt"
)

// Parser is a wire format of packets. Both sides of a connection must use the same. All methods are safe for
// concurrent use.
type Parser interface {
	// Encode returns the messages of a packet, the header first. They go to the peer in this order with no other
	// message between them. The chunks may share memory with p.Data and p.Binary, which the caller must not change
	// afterwards. p.Attachments is ignored: len(p.Binary) counts.
	Encode(p Packet) ([]Chunk, error)
	// NewDecoder returns the decoder of one connection.
	NewDecoder() Decoder
}

// Decoder puts the messages of one connection together to packets. It is used by one goroutine at a time.
type Decoder interface {
	// Add takes the next message. It returns nil, nil while the packet is not complete. The packet and its slices
	// are valid until the next call, and may be parts of c.Data. After an error the connection must be closed.
	Add(c Chunk) (*Packet, error)
	// Close drops what is not complete. The decoder must not be used afterwards.
	Close()
}

// Chunk is one message of a packet: Engine.IO text or binary.
type Chunk struct {
	Binary bool
	Data   []byte
}

// Default returns the parser of the default form (protocol section "Packets"), within the default limits. A server
// without a parser of its own uses the same form by the functions of this package.
func Default() Parser { return Limits{}.Default() }

// Default is the function Default within these limits.
func (l Limits) Default() Parser { return textParser{l} }

type textParser struct{ limits Limits }

var _ Parser = textParser{}

func (t textParser) NewDecoder() Decoder { return &textDecoder{limits: t.limits} }

func (t textParser) Encode(p Packet) ([]Chunk, error) {
	if limit := t.limits.attachments(); len(p.Binary) > limit {
		return nil, fmt.Errorf("encode: %w: %d, limit %d", ErrTooManyAttachments, len(p.Binary), limit)
	}
	text := make([]byte, 0, len(p.Data)+len(p.Namespace)+24)
	text = AppendHeader(text, p.Type.plain(), len(p.Binary), string(p.Namespace), p.ID, p.HasID)
	chunks := append(make([]Chunk, 0, 1+len(p.Binary)), Chunk{Data: append(text, p.Data...)})
	for _, b := range p.Binary {
		chunks = append(chunks, Chunk{Binary: true, Data: b})
	}
	return chunks, nil
}

// textDecoder holds one packet. Its memory is bounded by the number of attachments and the size of one message.
type textDecoder struct {
	limits  Limits
	packet  Packet
	waiting bool // for attachments
}

func (d *textDecoder) Add(c Chunk) (*Packet, error) {
	if c.Binary {
		if !d.waiting {
			return nil, fmt.Errorf("decode: %w", ErrBinary)
		}
		d.packet.Binary = append(d.packet.Binary, bytes.Clone(c.Data))
		return d.complete()
	}
	if d.waiting {
		return nil, fmt.Errorf("decode: %w", ErrPlaintext)
	}
	p, err := d.limits.Decode(c.Data)
	if err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	if d.packet = p; p.Attachments == 0 {
		return &d.packet, nil
	}
	if err := CheckPlaceholders(p.Data, p.Attachments); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	d.waiting = true
	d.packet.Namespace, d.packet.Data = bytes.Clone(p.Namespace), bytes.Clone(p.Data)
	return nil, nil
}

func (d *textDecoder) complete() (*Packet, error) {
	if len(d.packet.Binary) < d.packet.Attachments {
		return nil, nil
	}
	d.waiting = false
	return &d.packet, nil
}

func (d *textDecoder) Close() { d.packet, d.waiting = Packet{}, false }

// CheckPlaceholders refuses placeholders in valid JSON that stand for none of the attachments, and more placeholders
// than attachments: no encoder writes the same number twice, and a receiver that fills in copies would multiply one
// attachment by the length of the text.
func CheckPlaceholders(data []byte, attachments int) error {
	seen := 0
	return Placeholders(data, func(_, _, num int) error {
		if num >= attachments {
			return fmt.Errorf("%w: number %d of %d", ErrIllegalAttachments, num, attachments)
		}
		if seen++; seen > attachments {
			return fmt.Errorf("%w: more placeholders than the %d attachments", ErrIllegalAttachments, attachments)
		}
		return nil
	})
}
