// Package binaryjson writes values as JSON with their binary parts apart, as events of Socket.IO are written.
package binaryjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"unicode/utf8"

	"example.com/chorus/pkg/socketio/parser"
)

// ErrNotUTF8 is the error of a value that writes itself as JSON which is no UTF-8: as text on a WebSocket it would end the
// connections of all receivers.
var ErrNotUTF8 = errors.New("JSON that is not UTF-8")

// Append writes v to dst as encoding/json does, but []byte at any depth as a placeholder for an attachment, and returns
// both with what was added. With an error they are as far as it got.
func Append(dst []byte, attachments [][]byte, v any) ([]byte, [][]byte, error) {
	start := len(dst)
	var x extractor
	if rv := reflect.ValueOf(v); rv.IsValid() && holdsBinary(rv.Type()) {
		x.token = NewToken()
		changed, err := x.extract(rv, 0)
		if err != nil {
			return dst, attachments, err
		}
		if len(x.found) > 0 {
			v = changed.Interface()
		}
	}
	w := writer{dst}
	enc := json.NewEncoder(&w)
	enc.SetEscapeHTML(false) // as JavaScript writes it
	if err := enc.Encode(v); err != nil {
		return w.b, attachments, err
	}
	dst = w.b[:start+bytes.LastIndexByte(w.b[start:], '\n')] // the encoder's newline
	if !utf8.Valid(dst[start:]) {                            // which only a value that writes itself can cause
		return dst, attachments, ErrNotUTF8
	}
	if len(x.found) > 0 {
		dst, attachments = x.substitute(dst, start, attachments)
	}
	return dst, attachments, nil
}

// AppendBytes writes a placeholder for b.
func AppendBytes(dst []byte, attachments [][]byte, b []byte) ([]byte, [][]byte) {
	return parser.AppendPlaceholder(dst, len(attachments)), append(attachments, b)
}

type writer struct{ b []byte }

func (w *writer) Write(b []byte) (int, error) {
	w.b = append(w.b, b...)
	return len(b), nil
}

// substitute replaces the tokens in what was written from start on by placeholders.
func (x *extractor) substitute(dst []byte, start int, attachments [][]byte) ([]byte, [][]byte) {
	written := slices.Clone(dst[start:])
	dst = dst[:start]
	for {
		i := bytes.Index(written, x.token.prefix())
		if i < 0 {
			return append(dst, written...), attachments
		}
		num, size := x.token.number(written[i:])
		dst = append(dst, written[:i]...)
		dst, attachments = AppendBytes(dst, attachments, x.found[num])
		written = written[i+size:]
	}
}
