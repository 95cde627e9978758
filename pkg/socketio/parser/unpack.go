package parser

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// AppendJSON appends the MessagePack value at the start of b as JSON text, as JavaScript's JSON.stringify would
// write what notepack.io decodes. A binary value, or an extension that notepack.io 2 makes of an ArrayBuffer, becomes
// a placeholder; binary holds these values in the order of their numbers, as parts of b. Dates, in the form of either
// version, become strings; undefined is null in an array and leaves its key out of an object. Invalid UTF-8 becomes
// U+FFFD. rest is what follows the value.
//
// b may be hostile: what is appended is at most 7 times as long as what was read and 40 bytes for each binary value.
// Errors wrap ErrMalformed, ErrTooDeep, ErrTooManyAttachments, or ErrIllegalAttachments for an object that, beside
// binary values, looks like a placeholder but is none.
func (l Limits) AppendJSON(dst, b []byte) (text []byte, binary [][]byte, rest []byte, err error) {
	u := unpacker{in: b, out: dst, limit: l.attachments()}
	if err := u.value(0); err != nil {
		return dst, nil, b, err
	}
	if len(u.binary) > 0 {
		if err := CheckPlaceholders(u.out[len(dst):], len(u.binary)); err != nil {
			return dst, nil, b, err
		}
	}
	return u.out, u.binary, u.in, nil
}

// unpacker turns MessagePack into JSON text without a tree of values in between. What it allocates is bounded by
// the length of the input.
type unpacker struct {
	in     []byte
	out    []byte
	binary [][]byte // parts of the input
	limit  int      // of binary values
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
		return fmt.Errorf("%w: no MessagePack value", ErrMalformed)
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
	if depth >= MaxDepth {
		return ErrTooDeep
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
	if depth >= MaxDepth {
		return ErrTooDeep
	}
	u.in = rest
	u.out = append(u.out, '{')
	empty := true
	for range n {
		before := len(u.out)
		if !empty {
			u.out = append(u.out, ',')
		}
		if err := u.key(); err != nil {
			return err
		}
		if isUndefined(u.in) {
			u.in, u.out = u.in[3:], u.out[:before]
			continue
		}
		empty = false
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
	if len(u.binary) == u.limit {
		return fmt.Errorf("%w: more than %d", ErrTooManyAttachments, u.limit)
	}
	u.out = AppendPlaceholder(u.out, len(u.binary))
	u.binary = append(u.binary, slices.Clip(b))
	return nil
}

// Extensions that JavaScript's encoders write: -1 is the timestamp of the MessagePack specification, 0 comes
// from older versions of notepack.io (undefined, a date in milliseconds, an ArrayBuffer).
const (
	extTimestamp = -1
	extNotepack  = 0
)

// First bytes of extensions whose length tells notepack.io 2 what they are.
const (
	leadFixed1 = 0xd4
	leadFixed8 = 0xd7
)

// isUndefined reports whether b begins with what notepack.io 2 writes for undefined.
func isUndefined(b []byte) bool {
	return len(b) >= 3 && b[0] == leadFixed1 && b[1] == extNotepack
}

func (u *unpacker) extension() error {
	typ, data, rest, err := readExtension(u.in)
	if err != nil {
		return err
	}
	lead := u.in[0]
	u.in = rest
	switch {
	case typ == extTimestamp:
		t, ok := timestamp(data)
		if !ok {
			return fmt.Errorf("%w: timestamp of %d bytes", ErrMalformed, len(data))
		}
		u.out = appendDate(u.out, t)
	case typ == extNotepack && lead == leadFixed1:
		u.out = append(u.out, "null"...)
	case typ == extNotepack && lead == leadFixed8:
		u.out = appendDate(u.out, time.UnixMilli(int64(binary.BigEndian.Uint64(data))))
	case typ == extNotepack:
		return u.attach(data)
	default:
		return fmt.Errorf("%w: extension type %d", ErrMalformed, typ)
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
	switch abs := math.Abs(f); {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return append(dst, "null"...)
	case abs == 0:
		return append(dst, '0') // also minus zero
	case abs < 1e-6 || abs >= 1e21:
		dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
		if n := len(dst); dst[n-4] == 'e' && dst[n-2] == '0' { // e-07 is e-7
			dst = append(dst[:n-2], dst[n-1])
		}
		return dst
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

func malformed(err error) error {
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}
