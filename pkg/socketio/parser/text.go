package parser

import (
	"bytes"
	"fmt"
)

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
