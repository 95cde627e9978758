package redisadapter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// errMalformed is wrapped by the errors of received bytes that are no message.
var errMalformed = errors.New("malformed message")

// unpacker turns MessagePack into JSON text without a tree of values in between. Its input is hostile: what it
// allocates is bounded by the length of the input. Attachments are parts of the input.
type unpacker struct {
	in          []byte
	out         []byte
	attachments [][]byte
}

func (u *unpacker) value(depth int) error {
	switch typ := msgp.NextType(u.in); typ {
	case msgp.StrType:
		s, rest, err := msgp.ReadStringZC(u.in)
		if err != nil {
			return malformed(err)
		}
		u.in = rest
		u.out = appendString(u.out, s)
	case msgp.ArrayType:
		return u.array(depth)
	case msgp.MapType:
		return u.object(depth)
	case msgp.BinType:
		b, rest, err := msgp.ReadBytesZC(u.in)
		if err != nil {
			return malformed(err)
		}
		u.in = rest
		return u.attach(b)
	case msgp.ExtensionType, msgp.TimeType, msgp.Complex64Type, msgp.Complex128Type:
		return u.extension()
	default:
		return u.scalar(typ)
	}
	return nil
}

// scalar reads numbers, booleans and nil.
func (u *unpacker) scalar(typ msgp.Type) (err error) {
	switch typ {
	case msgp.NilType:
		u.in, err = msgp.ReadNilBytes(u.in)
		u.out = append(u.out, "null"...)
	case msgp.BoolType:
		var v bool
		v, u.in, err = msgp.ReadBoolBytes(u.in)
		u.out = strconv.AppendBool(u.out, v)
	case msgp.IntType:
		var v int64
		v, u.in, err = msgp.ReadInt64Bytes(u.in)
		u.out = strconv.AppendInt(u.out, v, 10)
	case msgp.UintType:
		var v uint64
		v, u.in, err = msgp.ReadUint64Bytes(u.in)
		u.out = strconv.AppendUint(u.out, v, 10)
	case msgp.Float32Type:
		var v float32
		v, u.in, err = msgp.ReadFloat32Bytes(u.in)
		u.out = appendFloat(u.out, float64(v))
	case msgp.Float64Type:
		var v float64
		v, u.in, err = msgp.ReadFloat64Bytes(u.in)
		u.out = appendFloat(u.out, v)
	default:
		return fmt.Errorf("%w: no MessagePack value", errMalformed)
	}
	if err != nil {
		return malformed(err)
	}
	return nil
}

func (u *unpacker) array(depth int) error {
	n, rest, err := msgp.ReadArrayHeaderBytes(u.in)
	if err != nil {
		return malformed(err)
	}
	if depth >= maxDepth {
		return malformed(ErrTooDeep)
	}
	u.in = rest
	u.out = append(u.out, '[')
	for i := range n {
		if i > 0 {
			u.out = append(u.out, ',')
		}
		if err := u.value(depth + 1); err != nil {
			return err
		}
	}
	u.out = append(u.out, ']')
	return nil
}

func (u *unpacker) object(depth int) error {
	n, rest, err := msgp.ReadMapHeaderBytes(u.in)
	if err != nil {
		return malformed(err)
	}
	if depth >= maxDepth {
		return malformed(ErrTooDeep)
	}
	u.in = rest
	u.out = append(u.out, '{')
	for i := range n {
		if i > 0 {
			u.out = append(u.out, ',')
		}
		if err := u.key(); err != nil {
			return err
		}
		u.out = append(u.out, ':')
		if err := u.value(depth + 1); err != nil {
			return err
		}
	}
	u.out = append(u.out, '}')
	return nil
}

// key writes the key of an object: JavaScript turns every simple value into a string there.
func (u *unpacker) key() error {
	switch typ := msgp.NextType(u.in); typ {
	case msgp.StrType, msgp.BinType:
		read := msgp.ReadStringZC
		if typ == msgp.BinType {
			read = msgp.ReadBytesZC
		}
		s, rest, err := read(u.in)
		if err != nil {
			return malformed(err)
		}
		u.in = rest
		u.out = appendString(u.out, s)
		return nil
	default:
		u.out = append(u.out, '"')
		err := u.scalar(typ)
		u.out = append(u.out, '"')
		return err
	}
}

func (u *unpacker) attach(b []byte) error {
	if len(u.attachments) == maxAttachments {
		return malformed(fmt.Errorf("%w: limit %d", ErrTooManyAttachments, maxAttachments))
	}
	u.out = append(u.out, `{"_placeholder":true,"num":`...)
	u.out = strconv.AppendInt(u.out, int64(len(u.attachments)), 10)
	u.out = append(u.out, '}')
	u.attachments = append(u.attachments, b[:len(b):len(b)])
	return nil
}

// Extensions that JavaScript's encoders write: -1 is the timestamp of the MessagePack specification, 0 comes
// from older versions of notepack.io (undefined, a date in milliseconds, an ArrayBuffer).
const (
	extTimestamp = -1
	extNotepack  = 0
)

func (u *unpacker) extension() error {
	typ, data, rest, err := readExtension(u.in)
	if err != nil {
		return err
	}
	fixed8 := u.in[0] == 0xd7
	u.in = rest
	switch {
	case typ == extTimestamp:
		t, ok := timestamp(data)
		if !ok {
			return fmt.Errorf("%w: timestamp of %d bytes", errMalformed, len(data))
		}
		u.out = appendDate(u.out, t)
	case typ == extNotepack && len(data) == 1:
		u.out = append(u.out, "null"...)
	case typ == extNotepack && fixed8:
		u.out = appendDate(u.out, time.UnixMilli(int64(binary.BigEndian.Uint64(data))))
	case typ == extNotepack:
		return u.attach(data)
	default:
		return fmt.Errorf("%w: extension type %d", errMalformed, typ)
	}
	return nil
}

// readExtension takes an extension of the MessagePack specification apart.
func readExtension(b []byte) (typ int8, data, rest []byte, err error) {
	short := func() (int8, []byte, []byte, error) { return 0, nil, nil, malformed(msgp.ErrShortBytes) }
	size, header := uint64(0), 2
	switch lead := b[0]; {
	case lead >= 0xd4 && lead <= 0xd8:
		size = 1 << (lead - 0xd4)
	case lead >= 0xc7 && lead <= 0xc9:
		width := 1 << (lead - 0xc7)
		if header = 2 + width; len(b) < header {
			return short()
		}
		for _, c := range b[1 : 1+width] {
			size = size<<8 | uint64(c)
		}
	}
	if len(b) < header || uint64(len(b)-header) < size {
		return short()
	}
	end := header + int(size)
	return int8(b[header-1]), b[header:end], b[end:], nil
}

// timestamp reads the three forms of the extension type -1.
func timestamp(b []byte) (time.Time, bool) {
	switch len(b) {
	case 4:
		return time.Unix(int64(binary.BigEndian.Uint32(b)), 0), true
	case 8:
		v := binary.BigEndian.Uint64(b)
		return time.Unix(int64(v&(1<<34-1)), int64(v>>34)), true
	case 12:
		return time.Unix(int64(binary.BigEndian.Uint64(b[4:])), int64(binary.BigEndian.Uint32(b))), true
	}
	return time.Time{}, false
}

// appendDate writes a time as JavaScript's Date.toJSON does.
func appendDate(dst []byte, t time.Time) []byte {
	const limit = 8_640_000_000_000 // seconds that a Date can hold on either side of 1970
	if s := t.Unix(); s < -limit || s > limit || s == limit && t.Nanosecond() > 0 {
		return append(dst, "null"...)
	}
	t = t.UTC()
	dst = append(dst, '"')
	if y := t.Year(); y < 0 || y > 9999 {
		dst = fmt.Appendf(dst, "%+07d", y)
		dst = t.AppendFormat(dst, "-01-02T15:04:05.000Z")
	} else {
		dst = t.AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	}
	return append(dst, '"')
}

// appendFloat writes a number as JavaScript does, with null for what JSON cannot say.
func appendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// appendString writes a JSON string. Invalid UTF-8 becomes U+FFFD: a WebSocket text message must not hold any.
func appendString(dst, s []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

func malformed(err error) error {
	return fmt.Errorf("%w: %w", errMalformed, err)
}
