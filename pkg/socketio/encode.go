package socketio

import (
	"bytes"
	"fmt"
	"sync"

	"example.com/chorus/internal/binaryjson"
	"example.com/chorus/internal/frame"
	"example.com/chorus/pkg/socketio/parser"
)

// payload is the JSON array of a packet while it is written, and the binary values found on the way.
type payload struct {
	json        []byte
	attachments [][]byte
}

// payloads keeps the buffers in which arguments are written before their packet's size is known.
var payloads = sync.Pool{New: func() any { return &payload{json: make([]byte, 0, 512)} }}

func takePayload() *payload { return payloads.Get().(*payload) }

func (p *payload) release() {
	if cap(p.json) > 64<<10 {
		return
	}
	p.json = p.json[:0]
	p.attachments = nil
	payloads.Put(p)
}

// array writes `["name",args...]`, or only the arguments when event is nil.
func (p *payload) array(event *string, args []any) error {
	p.json = append(p.json, '[')
	if event != nil {
		p.json = parser.AppendString(p.json, *event)
	}
	for i, arg := range args {
		mark := len(p.json)
		if mark > 1 {
			p.json = append(p.json, ',')
		}
		before := len(p.json)
		if err := p.value(arg); err != nil {
			return fmt.Errorf("argument %d: %w", i, err)
		}
		if len(p.json) == before { // Args without arguments
			p.json = p.json[:mark]
		}
	}
	p.json = append(p.json, ']')
	if len(p.attachments) > 0 { // plain data that looks like a placeholder would end the connections of all receivers
		return parser.CheckPlaceholders(p.json, len(p.attachments))
	}
	return nil
}

// value writes one argument.
func (p *payload) value(v any) error {
	switch v := v.(type) {
	case nil:
		p.json = append(p.json, "null"...)
	case string:
		p.json = parser.AppendString(p.json, v)
	case bool:
		if v {
			p.json = append(p.json, "true"...)
		} else {
			p.json = append(p.json, "false"...)
		}
	case []byte:
		p.binary(v)
	case Args:
		return p.raw(v.elements, v.attachments)
	case Raw:
		if len(v.json) == 0 {
			p.json = append(p.json, "null"...)
			return nil
		}
		return p.raw(v.json, v.attachments)
	default:
		return p.any(v)
	}
	return nil
}

func (p *payload) binary(b []byte) {
	p.json = parser.AppendPlaceholder(p.json, len(p.attachments))
	p.attachments = append(p.attachments, b)
}

// raw writes text that came in a packet. Its placeholders get new numbers if others came before.
func (p *payload) raw(text []byte, attachments [][]byte) error {
	if len(attachments) == 0 {
		p.json = append(p.json, text...)
		return nil
	}
	last := 0
	known := make([]int, len(attachments)) // the new number, from 1
	err := parser.Placeholders(text, func(start, end, num int) error {
		if num >= len(attachments) {
			return fmt.Errorf("%w: number %d of %d", parser.ErrIllegalAttachments, num, len(attachments))
		}
		if known[num] == 0 {
			p.attachments = append(p.attachments, attachments[num])
			known[num] = len(p.attachments)
		}
		p.json = append(p.json, text[last:start]...)
		p.json = parser.AppendPlaceholder(p.json, known[num]-1)
		last = end
		return nil
	})
	p.json = append(p.json, text[last:]...)
	return err
}

// any is marshal for values whose MarshalJSON may panic: that must not end a process that emits in a goroutine of its
// own.
func (p *payload) any(v any) error {
	return guard(func() error { return p.marshal(v) })
}

// marshal writes a value by encoding/json, but []byte at any depth as a binary attachment.
func (p *payload) marshal(v any) (err error) {
	p.json, p.attachments, err = binaryjson.Append(p.json, p.attachments, v)
	return err
}

// args returns what was written as the arguments of an event, as listeners see them.
func (p *payload) args() Args {
	_, elements := parser.Split(p.json)
	return Args{elements: elements, attachments: p.attachments}
}

// packet makes the frame of a packet with the payload as its data, and returns that data for the adapter: JSON that
// nobody changes.
func (p *payload) packet(n *Namespace, t parser.Type, id uint64, hasID bool) (f *frame.Frame, data []byte, err error) {
	if limit := n.server.options.MaxAttachments; len(p.attachments) > limit {
		return nil, nil, fmt.Errorf("%w: the limit is %d, these are %d", ErrTooManyAttachments, limit, len(p.attachments))
	}
	if other := n.server.format; other != nil {
		data = bytes.Clone(p.json)
		f, err = other.encode(parser.Packet{Type: t, Namespace: []byte(n.name), ID: id, HasID: hasID, Data: data, Binary: p.attachments})
		return f, data, err
	}
	buf := frame.Begin(len(p.json) + len(n.name) + 24)
	buf = append(buf, '4') // Engine.IO message
	buf = parser.AppendHeader(buf, t, len(p.attachments), n.name, id, hasID)
	start := len(buf)
	buf = append(buf, p.json...)
	return frame.Text(buf, p.attachments...), buf[start:], nil
}

// control makes the frame of a packet with the given JSON, which may be empty.
func control(s *Server, t parser.Type, nsp string, data []byte) *frame.Frame {
	if s.format != nil {
		f, err := s.format.encode(parser.Packet{Type: t, Namespace: []byte(nsp), Data: data})
		if err == nil {
			return f
		}
		s.report("Parser.Encode", fmt.Errorf("%s packet: %w", t, err))
	}
	buf := append(frame.Begin(len(data)+len(nsp)+4), '4')
	return frame.Text(append(parser.AppendHeader(buf, t, 0, nsp, 0, false), data...))
}
