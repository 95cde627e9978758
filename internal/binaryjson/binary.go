package binaryjson

import (
	"crypto/rand"
	"encoding"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"reflect"
	"sync"
)

// A Token stands in a value for a []byte while encoding/json writes it: unguessable bytes and a number, of a
// length whose base64 form has no padding. What is written for it is then replaced by a placeholder.
type Token [15]byte

const tokenSize = 18 // with the number: 24 characters of base64

// NewToken returns one of its own for each value.
func NewToken() (t Token) {
	_, _ = rand.Read(t[:]) // never fails, by its documentation
	return t
}

// Bytes returns what stands for binary value num.
func (t Token) Bytes(num int) []byte {
	b := make([]byte, 0, tokenSize)
	b = append(b, t[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(num))
	return append(b[:15], b[16:]...)
}

// prefix is how every token begins in JSON: the quote and the base64 of the random bytes.
func (t Token) prefix() []byte {
	return base64.StdEncoding.AppendEncode([]byte{'"'}, t[:])
}

// number reads the number of the token that begins text, and the token's length there.
func (t Token) number(text []byte) (num, size int) {
	var b [tokenSize]byte
	size = base64.StdEncoding.EncodedLen(tokenSize) + 2
	_, _ = base64.StdEncoding.Decode(b[:], text[1:size-1])
	return int(b[15])<<16 | int(b[16])<<8 | int(b[17]), size
}

// extractor copies a value with its []byte replaced by tokens.
type extractor struct {
	token Token
	found [][]byte
}

var errTooDeep = errors.New("value nested deeper than 1000 levels")

// extract returns v, or a copy of what had to change in it.
func (x *extractor) extract(v reflect.Value, depth int) (reflect.Value, error) {
	if depth > 1000 {
		return v, errTooDeep
	}
	if !v.IsValid() || !holdsBinary(v.Type()) {
		return v, nil
	}
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		return x.extractElem(v, depth)
	case reflect.Slice:
		if v.IsNil() {
			return v, nil
		}
		if v.Type().Elem().Kind() == reflect.Uint8 && !writesItself(v.Type().Elem()) {
			x.found = append(x.found, v.Bytes())
			out := reflect.New(v.Type()).Elem()
			out.SetBytes(x.token.Bytes(len(x.found) - 1))
			return out, nil
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		return out, x.extractEach(v, out, depth)
	case reflect.Array:
		out := reflect.New(v.Type()).Elem()
		return out, x.extractEach(v, out, depth)
	case reflect.Map:
		return x.extractMap(v, depth)
	case reflect.Struct:
		out := reflect.New(v.Type()).Elem()
		out.Set(v)
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				continue
			}
			field, err := x.extract(v.Field(i), depth+1)
			if err != nil {
				return v, err
			}
			out.Field(i).Set(field)
		}
		return out, nil
	}
	return v, nil
}

func (x *extractor) extractElem(v reflect.Value, depth int) (reflect.Value, error) {
	if v.IsNil() {
		return v, nil
	}
	elem, err := x.extract(v.Elem(), depth+1)
	if err != nil || v.Kind() == reflect.Interface {
		return elem, err
	}
	p := reflect.New(v.Type().Elem())
	p.Elem().Set(elem)
	return p, nil
}

func (x *extractor) extractEach(v, out reflect.Value, depth int) error {
	for i := range v.Len() {
		e, err := x.extract(v.Index(i), depth+1)
		if err != nil {
			return err
		}
		if e.IsValid() {
			out.Index(i).Set(e)
		}
	}
	return nil
}

func (x *extractor) extractMap(v reflect.Value, depth int) (reflect.Value, error) {
	if v.IsNil() {
		return v, nil
	}
	out := reflect.MakeMapWithSize(v.Type(), v.Len())
	for it := v.MapRange(); it.Next(); {
		e, err := x.extract(it.Value(), depth+1)
		if err != nil {
			return v, err
		}
		out.SetMapIndex(it.Key(), e)
	}
	return out, nil
}

var (
	binaryTypes   sync.Map // reflect.Type -> bool
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// holdsBinary reports whether values of the type may hold a []byte that encoding/json would write as base64. A
// type that writes itself is left alone.
func holdsBinary(t reflect.Type) bool {
	if known, ok := binaryTypes.Load(t); ok {
		return known.(bool)
	}
	holds := searchBinary(t, map[reflect.Type]bool{})
	binaryTypes.Store(t, holds)
	return holds
}

func writesItself(t reflect.Type) bool {
	for _, m := range []reflect.Type{jsonMarshaler, textMarshaler} {
		if t.Implements(m) || t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(m) {
			return true
		}
	}
	return false
}

func searchBinary(t reflect.Type, visiting map[reflect.Type]bool) bool {
	if visiting[t] {
		return false
	}
	visiting[t] = true
	if writesItself(t) {
		return false
	}
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Slice:
		return t.Elem().Kind() == reflect.Uint8 && !writesItself(t.Elem()) || searchBinary(t.Elem(), visiting)
	case reflect.Array, reflect.Pointer, reflect.Map:
		return searchBinary(t.Elem(), visiting)
	case reflect.Struct:
		for f := range t.Fields() {
			if f.IsExported() && searchBinary(f.Type, visiting) {
				return true
			}
		}
	}
	return false
}
