package redisadapter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tinylib/msgp/msgp"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

var (
	// ErrTooDeep is wrapped by the error of a message whose arrays and objects are nested more than 1000 deep.
	ErrTooDeep = parser.ErrTooDeep
	// ErrTooManyAttachments is wrapped by the error of a message with more binary values than
	// Options.MaxAttachments, which official clients would answer by closing the connection.
	ErrTooManyAttachments = parser.ErrTooManyAttachments
	// ErrInvalidData is wrapped by the error of a message whose data cannot be encoded: it is no JSON array, has
	// a placeholder without attachment, or goes beyond one of the limits above.
	ErrInvalidData = errors.New("invalid data")
)

// errMalformed is wrapped by the errors of received bytes that are no message.
var errMalformed = errors.New("malformed message")

func malformed(err error) error {
	return fmt.Errorf("%w: %w", errMalformed, err)
}

// One broadcast on the wire is the MessagePack array [uid, packet, opts] of @socket.io/redis-adapter 8:
//
//	uid     string, who sent it
//	packet  {type: 2, data: [event, arguments...], nsp: namespace}
//	opts    {rooms: [], except: [], flags: {}}
//
// Chorus adds a fourth element, which Node does not look at: {t: microseconds since 1970 when it was emitted}.

const uidLength = 6

// appendMessage appends m as it is published.
func appendMessage(dst []byte, limits parser.Limits, uid, namespace string, m *adapter.Message) ([]byte, error) {
	elements := uint32(4)
	if m.Sent.IsZero() {
		elements = 3
	}
	out := msgp.AppendArrayHeader(dst, elements)
	out = msgp.AppendString(out, uid)
	out, err := appendPacket(out, limits, namespace, m)
	if err != nil {
		return dst, err
	}
	out = appendOptions(out, m)
	if elements == 4 {
		out = msgp.AppendMapHeader(out, 1)
		out = msgp.AppendString(out, "t")
		out = msgp.AppendInt64(out, m.Sent.UnixMicro())
	}
	return out, nil
}

func appendPacket(dst []byte, limits parser.Limits, namespace string, m *adapter.Message) ([]byte, error) {
	if err := checkArray(m.Packet.Data); err != nil {
		return dst, err
	}
	out := msgp.AppendMapHeader(dst, 3)
	out = msgp.AppendString(out, "type")
	out = msgp.AppendUint8(out, byte(parser.Event))
	out = msgp.AppendString(out, "data")
	out, err := limits.AppendMsgpack(out, m.Packet.Data, m.Packet.Attachments)
	if err != nil {
		return dst, fmt.Errorf("%w: %w", ErrInvalidData, err)
	}
	return msgp.AppendString(msgp.AppendString(out, "nsp"), namespace), nil
}

func appendOptions(dst []byte, m *adapter.Message) []byte {
	dst = msgp.AppendMapHeader(dst, 3)
	dst = msgp.AppendString(dst, "rooms")
	dst = appendStrings(dst, m.Rooms)
	dst = msgp.AppendString(dst, "except")
	dst = appendStrings(dst, m.Except)
	dst = msgp.AppendString(dst, "flags")
	return appendFlags(dst, m.Flags, m.Timeout)
}

// appendFlags writes only the flags that were chosen, as Node does.
func appendFlags(dst []byte, f adapter.Flags, timeout time.Duration) []byte {
	n := uint32(0)
	for _, chosen := range [...]bool{f.Volatile, f.Uncompressed, timeout > 0} {
		if chosen {
			n++
		}
	}
	dst = msgp.AppendMapHeader(dst, n)
	if f.Volatile {
		dst = msgp.AppendString(dst, "volatile")
		dst = msgp.AppendBool(dst, true)
	}
	if f.Uncompressed {
		dst = msgp.AppendString(dst, "compress")
		dst = msgp.AppendBool(dst, false)
	}
	if timeout > 0 {
		dst = msgp.AppendString(dst, "timeout")
		dst = msgp.AppendUint64(dst, uint64(max(timeout.Milliseconds(), 1)))
	}
	return dst
}

func appendStrings(dst []byte, list []string) []byte {
	dst = msgp.AppendArrayHeader(dst, uint32(len(list)))
	for _, s := range list {
		dst = msgp.AppendString(dst, s)
	}
	return dst
}

// isOwn reports whether this adapter wrote the payload, a broadcast or a request, from its first bytes alone.
func isOwn(payload, uid string) bool {
	if len(payload) < 2 {
		return false
	}
	if payload[0] == '{' {
		const head = `{"uid":"`
		return strings.HasPrefix(payload, head) && strings.HasPrefix(payload[len(head):], uid) &&
			strings.HasPrefix(payload[len(head)+len(uid):], `"`)
	}
	rest := payload[1:]
	switch payload[0] & 0xf0 {
	case 0x80: // a map, whose first key is uid
		const key = "\xa3uid"
		if !strings.HasPrefix(rest, key) {
			return false
		}
		rest = rest[len(key):]
	case 0x90: // an array
	default:
		return false
	}
	return len(rest) > len(uid) && rest[0] == 0xa0|byte(len(uid)) && rest[1:1+len(uid)] == uid
}

// decodeMessage reads a payload. The message is nil when it is not for this namespace or, as hasRoom tells, for
// none of its rooms; then the packet was not decoded.
func decodeMessage(payload string, limits parser.Limits, namespace string, hasRoom func(string) bool) (*adapter.Message, error) {
	b := []byte(payload)
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		return nil, malformed(err)
	}
	if n < 3 {
		return nil, fmt.Errorf("%w: array of %d", errMalformed, n)
	}
	if _, b, err = msgp.ReadStringZC(b); err != nil {
		return nil, malformed(err)
	}
	packet := b
	if b, err = skip(b); err != nil {
		return nil, err
	}
	m := new(adapter.Message)
	if _, b, err = readOptions(b, m); err != nil {
		return nil, err
	}
	if len(m.Rooms) > 0 && !anyRoom(m.Rooms, hasRoom) {
		return nil, nil
	}
	if n > 3 {
		if err := readExtra(b, m); err != nil {
			return nil, err
		}
	}
	match, err := readPacket(packet, limits, namespace, m)
	if err != nil || !match {
		return nil, err
	}
	return m, nil
}

func anyRoom(rooms []string, hasRoom func(string) bool) bool {
	return slices.ContainsFunc(rooms, hasRoom)
}

// readPacket reads {type, data, nsp} and reports whether it is for the namespace.
func readPacket(b []byte, limits parser.Limits, namespace string, m *adapter.Message) (bool, error) {
	p, err := readPacketFields(b)
	if err != nil || p.namespace != namespace {
		return false, err
	}
	return true, p.decode(limits, m)
}

// packetFields are those of a packet whose data was not decoded.
type packetFields struct {
	namespace string
	data      []byte
}

func readPacketFields(b []byte) (p packetFields, err error) {
	p.namespace = "/"
	typ := int64(parser.Event)
	_, err = readMap(b, func(key, b []byte) (rest []byte, err error) {
		switch string(key) {
		case "type":
			typ, rest, err = msgp.ReadInt64Bytes(b)
		case "data":
			rest, err = skip(b)
			p.data = b[:len(b)-len(rest)]
		case "nsp":
			p.namespace, rest, err = msgp.ReadStringBytes(b)
		default:
			return skip(b)
		}
		return rest, err
	})
	if err != nil {
		return p, err
	}
	// Node sends EVENT for binary data too, older emitters BINARY_EVENT.
	if typ != int64(parser.Event) && typ != int64(parser.BinaryEvent) {
		return p, fmt.Errorf("%w: packet type %d", errMalformed, typ)
	}
	return p, nil
}

func (p *packetFields) decode(limits parser.Limits, m *adapter.Message) error {
	if err := checkEvent(p.data); err != nil {
		return err
	}
	text, attachments, _, err := limits.AppendJSON(make([]byte, 0, len(p.data)+len(p.data)/4), p.data)
	if err != nil {
		return malformed(err)
	}
	m.Packet = adapter.Packet{Data: text, Attachments: attachments}
	return nil
}

// checkEvent refuses what makes the official clients close their connection (socket.io-parser's check of
// payloads): data that is no array, that has no name, or the name of a reserved event.
func checkEvent(data []byte) error {
	n, b, err := msgp.ReadArrayHeaderBytes(data)
	if err != nil {
		return malformed(err)
	}
	if n == 0 {
		return fmt.Errorf("%w: no event name", errMalformed)
	}
	switch msgp.NextType(b) {
	case msgp.IntType, msgp.UintType, msgp.Float32Type, msgp.Float64Type:
		return nil
	case msgp.StrType:
		name, _, err := msgp.ReadStringZC(b)
		if err != nil {
			return malformed(err)
		}
		if parser.Reserved(string(name)) {
			return fmt.Errorf("%w: reserved event %q", errMalformed, name)
		}
		return nil
	}
	return fmt.Errorf("%w: event name is no string", errMalformed)
}

// readOptions reads the options of a message. listed tells that there is a list of rooms, though it may be empty.
func readOptions(b []byte, m *adapter.Message) (listed bool, rest []byte, err error) {
	rest, err = readMap(b, func(key, b []byte) (rest []byte, err error) {
		switch string(key) {
		case "rooms":
			listed = !msgp.IsNil(b)
			m.Rooms, rest, err = readStrings(b)
		case "except":
			m.Except, rest, err = readStrings(b)
		case "flags":
			if msgp.IsNil(b) {
				return skip(b)
			}
			return readMap(b, func(key, b []byte) ([]byte, error) {
				readFlag(string(key), b, m)
				return skip(b)
			})
		default:
			return skip(b)
		}
		return rest, err
	})
	return listed, rest, err
}

// readFlag takes note of a flag; one of an unknown name or type means nothing.
func readFlag(key string, b []byte, m *adapter.Message) {
	switch msgp.NextType(b) {
	case msgp.BoolType:
		switch on := b[0] == 0xc3; key {
		case "volatile":
			m.Flags.Volatile = on
		case "compress":
			m.Flags.Uncompressed = !on
		}
	case msgp.IntType, msgp.UintType:
		if ms, _, err := msgp.ReadInt64Bytes(b); err == nil && key == "timeout" {
			m.Timeout = milliseconds(float64(ms))
		}
	case msgp.Float64Type:
		if ms, _, err := msgp.ReadFloat64Bytes(b); err == nil && key == "timeout" {
			m.Timeout = milliseconds(ms)
		}
	}
}

// readExtra reads the fourth element. One that is not ours is left alone.
func readExtra(b []byte, m *adapter.Message) error {
	if msgp.NextType(b) != msgp.MapType {
		_, err := skip(b)
		return err
	}
	_, err := readMap(b, func(key, b []byte) ([]byte, error) {
		if t := msgp.NextType(b); string(key) != "t" || t != msgp.IntType && t != msgp.UintType {
			return skip(b)
		}
		us, rest, err := msgp.ReadInt64Bytes(b)
		if err == nil {
			m.Sent = time.UnixMicro(us)
		}
		return rest, err
	})
	return err
}

// readMap calls fn for each key with the bytes of its value; fn returns what follows the value.
func readMap(b []byte, fn func(key, value []byte) ([]byte, error)) ([]byte, error) {
	n, b, err := msgp.ReadMapHeaderBytes(b)
	if err != nil {
		return nil, malformed(err)
	}
	for range n {
		key, rest, err := msgp.ReadStringZC(b)
		if err != nil {
			return nil, malformed(err)
		}
		if b, err = fn(key, rest); err != nil {
			return nil, malformed(err)
		}
	}
	return b, nil
}

// readStrings reads a list of rooms; nil is none. Rooms of JavaScript may be numbers.
func readStrings(b []byte) ([]string, []byte, error) {
	if msgp.IsNil(b) {
		rest, err := msgp.ReadNilBytes(b)
		return nil, rest, err
	}
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil || n == 0 {
		return nil, b, err
	}
	if int(n) > len(b) {
		return nil, nil, msgp.ErrShortBytes
	}
	list := make([]string, 0, min(n, 64))
	for range n {
		var s string
		if s, b, err = readRoom(b); err != nil {
			return nil, nil, err
		}
		list = append(list, s)
	}
	return list, b, nil
}

func readRoom(b []byte) (string, []byte, error) {
	switch msgp.NextType(b) {
	case msgp.StrType:
		return msgp.ReadStringBytes(b)
	case msgp.IntType, msgp.UintType, msgp.Float32Type, msgp.Float64Type, msgp.BoolType, msgp.NilType:
		text, _, rest, err := parser.Limits{}.AppendJSON(nil, b)
		return string(text), rest, err
	}
	return "", nil, errors.New("room of another type than a string")
}

func skip(b []byte) ([]byte, error) {
	rest, err := parser.SkipMsgpack(b)
	if err != nil {
		return nil, malformed(err)
	}
	return rest, nil
}
