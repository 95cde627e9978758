package redisadapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"example.com/chorus/pkg/socketio/parser"
)

// clusterValue is a value of a received message as it stands there, in either form; it was found valid before. The zero
// value is one that is absent.
type clusterValue struct {
	b      []byte
	packed bool // MessagePack, else JSON
}

var (
	errNoObject  = errors.New("is no object")
	errNoString  = errors.New("is no string")
	errNoInteger = errors.New("is no integer")
	errNoArray   = errors.New("is no array")
	errTooLong   = errors.New("is too long")
)

// readValue checks one value that fills b.
func readValue(b []byte, packed bool) (clusterValue, error) {
	if !packed {
		if err := parser.CheckJSON(b); err != nil {
			return clusterValue{}, malformed(err)
		}
		return clusterValue{b: bytes.Trim(b, " \t\r\n")}, nil
	}
	rest, err := skip(b)
	if err != nil {
		return clusterValue{}, err
	}
	if len(rest) > 0 {
		return clusterValue{}, fmt.Errorf("%w: %d bytes behind the message", errMalformed, len(rest))
	}
	return clusterValue{b: b, packed: true}, nil
}

// isAbsent reports whether there is no value, or one that JavaScript has for none.
func (v clusterValue) isAbsent() bool {
	switch {
	case len(v.b) == 0:
		return true
	case v.packed:
		const undefined = "\xd4\x00" // as notepack.io 2 writes it
		return msgp.IsNil(v.b) || len(v.b) == 3 && string(v.b[:2]) == undefined
	}
	return string(v.b) == "null"
}

// members calls fn for each member of an object.
func (v clusterValue) members(fn func(key []byte, value clusterValue) error) error {
	if v.packed {
		if msgp.NextType(v.b) != msgp.MapType {
			return errNoObject
		}
		n, b, err := msgp.ReadMapHeaderBytes(v.b)
		for ; err == nil && n > 0; n-- {
			if msgp.NextType(b) != msgp.StrType { // no key of ours
				if b, err = skip(b); err == nil {
					b, err = skip(b)
				}
				continue
			}
			var key, value []byte
			if key, value, err = msgp.ReadStringZC(b); err == nil {
				if b, err = skip(value); err == nil {
					err = fn(key, clusterValue{value[:len(value)-len(b)], true})
				}
			}
		}
		return err
	}
	if len(v.b) == 0 || v.b[0] != '{' {
		return errNoObject
	}
	// Valid JSON: what parser.Next takes for an element is a key, or the value behind its colon.
	rest := v.b[1 : len(v.b)-1]
	for {
		key, tail, ok := parser.Next(rest)
		if !ok {
			return nil
		}
		var value []byte
		if value, rest, ok = parser.Next(tail[1:]); !ok {
			return errNoObject
		}
		if key = key[1 : len(key)-1]; bytes.IndexByte(key, '\\') >= 0 {
			key = []byte(unquote(key))
		}
		if err := fn(key, clusterValue{b: value}); err != nil {
			return err
		}
	}
}

// elements calls fn for each element of an array.
func (v clusterValue) elements(fn func(clusterValue) error) error {
	if v.packed {
		if msgp.NextType(v.b) != msgp.ArrayType {
			return errNoArray
		}
		n, b, err := msgp.ReadArrayHeaderBytes(v.b)
		for ; err == nil && n > 0; n-- {
			value := b
			if b, err = skip(b); err == nil {
				err = fn(clusterValue{value[:len(value)-len(b)], true})
			}
		}
		return err
	}
	if len(v.b) == 0 || v.b[0] != '[' {
		return errNoArray
	}
	rest := parser.Elements(v.b)
	for {
		element, tail, ok := parser.Next(rest)
		if !ok {
			return nil
		}
		if err := fn(clusterValue{b: element}); err != nil {
			return err
		}
		rest = tail
	}
}

func (v clusterValue) text() (string, error) {
	if v.packed {
		if msgp.NextType(v.b) != msgp.StrType {
			return "", errNoString
		}
		s, _, err := msgp.ReadStringBytes(v.b)
		return s, err
	}
	if len(v.b) == 0 || v.b[0] != '"' {
		return "", errNoString
	}
	inner := v.b[1 : len(v.b)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner), nil
	}
	return unquote(inner), nil
}

// unquote resolves the escapes of a valid JSON string without its quotes.
func unquote(inner []byte) string {
	var s string
	quoted := append(append([]byte{'"'}, inner...), '"')
	if err := json.Unmarshal(quoted, &s); err != nil {
		return string(inner)
	}
	return s
}

// id reads a uid or the id of a request.
func (v clusterValue) id() (string, error) {
	s, err := v.text()
	if err == nil && len(s) > maxClusterID {
		return "", errTooLong
	}
	return s, err
}

// name reads the name of a room, which may be a number in JavaScript.
func (v clusterValue) name() (string, error) {
	if v.packed {
		s, _, err := readRoom(v.b)
		return s, err
	}
	if len(v.b) > 0 && (v.b[0] == '{' || v.b[0] == '[') {
		return "", errNoString
	}
	if len(v.b) > 0 && v.b[0] != '"' {
		return string(v.b), nil
	}
	return v.text()
}

// names reads a list of rooms; none is an absent one.
func (v clusterValue) names() ([]string, error) {
	if v.isAbsent() {
		return nil, nil
	}
	var list []string
	err := v.elements(func(e clusterValue) error {
		s, err := e.name()
		list = append(list, s)
		return err
	})
	return list, err
}

// integer reads a number from 0 on without a fraction, as JavaScript can hold exactly.
func (v clusterValue) integer() (int, error) {
	if !v.packed {
		return wholeNumber(v.b)
	}
	switch msgp.NextType(v.b) {
	case msgp.IntType, msgp.UintType:
		n, _, err := msgp.ReadUint64Bytes(v.b)
		if err != nil || n > parser.MaxID {
			return 0, errNoInteger
		}
		return int(n), nil
	case msgp.Float64Type, msgp.Float32Type:
		text, _, _, err := parser.Limits{}.AppendJSON(nil, v.b)
		if err != nil {
			return 0, err
		}
		return wholeNumber(text)
	}
	return 0, errNoInteger
}

// wholeNumber reads a valid JSON value.
func wholeNumber(text []byte) (int, error) {
	const short = 15 // digits that cannot overflow
	n := 0
	for i, c := range text {
		if i == short || c < '0' || c > '9' {
			f, err := strconv.ParseFloat(string(text), 64)
			if err != nil || f < 0 || f > parser.MaxID || f != math.Trunc(f) {
				return 0, errNoInteger
			}
			return int(f), nil
		}
		n = n*10 + int(c-'0')
	}
	if len(text) == 0 {
		return 0, errNoInteger
	}
	return n, nil
}

// boolean returns the value, and whether it is true or false at all.
func (v clusterValue) boolean() (value, ok bool) {
	if v.packed {
		const no, yes = 0xc2, 0xc3
		return len(v.b) > 0 && v.b[0] == yes, len(v.b) > 0 && (v.b[0] == no || v.b[0] == yes)
	}
	yes := string(v.b) == "true"
	return yes, yes || string(v.b) == "false"
}

// json returns the value as JSON text, with placeholders in the places of the attachments. The text and the attachments
// are parts of the message where they stand there.
func (v clusterValue) json(limits parser.Limits) (text []byte, attachments [][]byte, err error) {
	if !v.packed {
		if !utf8.Valid(v.b) {
			return bytes.ToValidUTF8(v.b, []byte("\ufffd")), nil, nil
		}
		return slices.Clip(v.b), nil, nil
	}
	text, attachments, _, err = limits.AppendJSON(make([]byte, 0, len(v.b)+len(v.b)/4), v.b)
	return text, attachments, err
}

// plainJSON returns the value as JSON text in which binary values stand as Node's JSON.stringify writes a Buffer.
func (v clusterValue) plainJSON() ([]byte, error) {
	const most = 1 << 16 // binary values; what they may hold is bounded by the message
	text, attachments, err := v.json(parser.Limits{MaxAttachments: most})
	if err != nil || len(attachments) == 0 {
		return text, err
	}
	var out []byte
	from := 0
	err = parser.Placeholders(text, func(start, end, num int) error {
		out = append(out, text[from:start]...)
		out = appendBuffer(out, attachments[num])
		from = end
		return nil
	})
	return append(out, text[from:]...), err
}

// appendBuffer writes a binary value as JavaScript's JSON.stringify writes a Buffer.
func appendBuffer(dst, b []byte) []byte {
	dst = append(dst, `{"type":"Buffer","data":[`...)
	for i, c := range b {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(c), 10)
	}
	return append(dst, ']', '}')
}
