package parser

import (
	"bytes"
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// Msgpack returns the parser of the npm package socket.io-msgpack-parser 3, within the default limits: each packet is
// one binary message, a MessagePack map with the keys type, nsp, data and id. Binary values stand in their places, so
// EVENT and ACK have no binary forms, and a decoded packet has the type Event or Ack also when Binary is not empty.
//
// Clients must use the same parser. Some of JavaScript's values have no JSON form, so they do not survive: a Date
// becomes a string, undefined becomes null or is left out, a number that is not finite becomes null. Binary values
// may stand in events and acknowledgements only. What would harm receivers that use the default form is refused, also
// where the npm package lets it pass: events without a name or with a reserved one, and, beside binary values, objects
// that look like placeholders.
func Msgpack() Parser { return Limits{}.Msgpack() }

// Msgpack is the function Msgpack within these limits. MaxAttachments counts the binary values of a packet, of which
// this format itself knows no limit.
func (l Limits) Msgpack() Parser { return msgpackParser{l} }

type msgpackParser struct{ limits Limits }

var _ Parser = msgpackParser{}

func (m msgpackParser) NewDecoder() Decoder { return &msgpackDecoder{limits: m.limits} }

func (m msgpackParser) Encode(p Packet) ([]Chunk, error) {
	size := len(p.Data) + len(p.Namespace) + 48
	for _, b := range p.Binary {
		size += len(b) + 5
	}
	keys := uint32(2)
	if len(p.Data) > 0 {
		keys++
	}
	if p.HasID {
		keys++
	}
	out := msgp.AppendMapHeader(make([]byte, 0, size), keys)
	out = msgp.AppendString(out, "type")
	out = msgp.AppendUint8(out, byte(p.Type.plain()))
	if len(p.Data) > 0 {
		out = msgp.AppendString(out, "data")
		var err error
		if out, err = m.limits.AppendMsgpack(out, p.Data, p.Binary); err != nil {
			return nil, fmt.Errorf("encode: %w", err)
		}
	}
	if p.HasID {
		out = msgp.AppendString(out, "id")
		out = msgp.AppendUint64(out, p.ID)
	}
	out = msgp.AppendString(out, "nsp")
	if len(p.Namespace) == 0 {
		out = msgp.AppendString(out, "/")
	} else {
		out = msgp.AppendStringFromBytes(out, p.Namespace)
	}
	return []Chunk{{Binary: true, Data: out}}, nil
}

type msgpackDecoder struct {
	limits Limits
	packet Packet
}

func (d *msgpackDecoder) Close() { d.packet = Packet{} }

func (d *msgpackDecoder) Add(c Chunk) (*Packet, error) {
	if !c.Binary {
		return nil, fmt.Errorf("decode: %w: text message", ErrMalformed)
	}
	d.packet = Packet{}
	if err := d.decode(c.Data); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return &d.packet, nil
}

// fields are the values of a packet's map, not decoded; nil for those that are absent or undefined. Other keys, such
// as the options that clients add, mean nothing.
type fields struct{ typ, nsp, id, data []byte }

func (d *msgpackDecoder) decode(msg []byte) error {
	f, err := readFields(msg)
	if err != nil {
		return err
	}
	p := &d.packet
	typ, err := readUint(f.typ)
	if err != nil || typ > uint64(ConnectError) {
		return fmt.Errorf("%w: no number from 0 to 4", ErrUnknownType)
	}
	p.Type = Type(typ)
	if p.Namespace, err = readNamespace(f.nsp); err != nil {
		return err
	}
	if f.id != nil {
		if p.ID, err = readUint(f.id); err != nil || p.ID > MaxID {
			return fmt.Errorf("%w: no integer from 0 to %d", ErrInvalidID, uint64(MaxID))
		}
		p.HasID = true
	}
	if f.data == nil {
		if p.Type != Connect && p.Type != Disconnect {
			return fmt.Errorf("%w: %s packet without data", ErrInvalidPayload, p.Type)
		}
		return nil
	}
	return d.data(f.data)
}

// texts keeps the buffers in which data becomes JSON before its length is known.
var texts = sync.Pool{New: func() any { return new([]byte) }}

// data reads what the packet carries and checks its shape.
func (d *msgpackDecoder) data(b []byte) error {
	p := &d.packet
	buf := texts.Get().(*[]byte)
	text, binary, _, err := d.limits.AppendJSON((*buf)[:0], b)
	if err != nil {
		return fmt.Errorf("data of %s packet: %w", p.Type, err)
	}
	p.Data, p.Binary, p.Attachments = bytes.Clone(text), binary, len(binary)
	if cap(text) <= 64<<10 { // what one huge packet grew is not kept for the small ones
		*buf = text
		texts.Put(buf)
	}
	if !shapeFits(p.Type, p.Data) || p.Attachments > 0 && p.Type != Event && p.Type != Ack {
		return fmt.Errorf("%w of %s packet", ErrInvalidPayload, p.Type)
	}
	if p.Type == Event {
		return checkName(p.Data)
	}
	return nil
}

// readFields takes the map of a packet apart. Of a key that comes twice the last value counts, as in JavaScript.
func readFields(msg []byte) (f fields, err error) {
	n, b, err := msgp.ReadMapHeaderBytes(msg)
	if err != nil {
		return f, malformed(err)
	}
	for range n {
		key, rest, err := msgp.ReadStringZC(b)
		if err != nil {
			return f, malformed(err)
		}
		if b, err = SkipMsgpack(rest); err != nil {
			return f, err
		}
		value := rest[:len(rest)-len(b)]
		if isUndefined(value) {
			value = nil
		}
		switch string(key) {
		case "type":
			f.typ = value
		case "nsp":
			f.nsp = value
		case "id":
			f.id = value
		case "data":
			f.data = value
		}
	}
	if len(b) > 0 {
		return f, fmt.Errorf("%w: %d bytes behind the packet", ErrMalformed, len(b))
	}
	return f, nil
}

// SkipMsgpack returns what follows the MessagePack value at the start of b, without looking into it. It does not
// recurse, however deep the value is. The error wraps ErrMalformed.
func SkipMsgpack(b []byte) (rest []byte, err error) {
	for pending := uint64(1); pending > 0; pending-- {
		var n uint32
		switch msgp.NextType(b) {
		case msgp.ArrayType:
			n, b, err = msgp.ReadArrayHeaderBytes(b)
			pending += uint64(n)
		case msgp.MapType:
			n, b, err = msgp.ReadMapHeaderBytes(b)
			pending += 2 * uint64(n)
		default:
			b, err = msgp.Skip(b)
		}
		if err != nil {
			return nil, malformed(err)
		}
	}
	return b, nil
}

func readUint(b []byte) (uint64, error) {
	switch msgp.NextType(b) {
	case msgp.IntType, msgp.UintType:
		v, _, err := msgp.ReadUint64Bytes(b)
		return v, err
	}
	return 0, ErrMalformed
}

// readNamespace returns an empty name for the main namespace, as in the default form.
func readNamespace(b []byte) ([]byte, error) {
	if msgp.NextType(b) != msgp.StrType {
		return nil, fmt.Errorf("%w: no string", ErrInvalidNamespace)
	}
	name, _, err := msgp.ReadStringZC(b)
	switch {
	case err != nil:
		return nil, malformed(err)
	case len(name) == 0 || !utf8.Valid(name):
		return nil, fmt.Errorf("%w: %.64q", ErrInvalidNamespace, name)
	case len(name) == 1 && name[0] == '/':
		return nil, nil
	}
	return name, nil
}
