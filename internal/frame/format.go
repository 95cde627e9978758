package frame

import (
	"encoding/base64"
	"strconv"
	"sync"
	"unicode/utf8"
)

// Format is how a WebSocket connection takes its frames. It is shared and must not change once used.
type Format struct {
	Revision3 bool      // Engine.IO protocol 3: a binary message has a type byte
	Base64    bool      // the client takes no binary messages; such a connection is never compressed
	Deflater  *Deflater // nil: compression was not negotiated
}

// The views of a frame that are built when they are asked for.
const (
	viewPolling = iota
	viewPolling3
	viewPolling3Binary
	viewBase64
	view3
	view3Base64
	viewDeflated
	view3Deflated
	viewCount
)

type views [viewCount]struct {
	once  sync.Once
	bytes []byte
}

// view builds a view once for all frames that share bytes; others wait for it.
func (f *Frame) view(kind int, build func() []byte) []byte {
	f = f.origin()
	v := f.views.Load()
	if v == nil {
		v = new(views)
		if !f.views.CompareAndSwap(nil, v) {
			v = f.views.Load()
		}
	}
	v[kind].once.Do(func() { v[kind].bytes = build() })
	return v[kind].bytes
}

// Encode returns the frame as bytes for a WebSocket connection; a nil format is that of WebSocket. The caller
// must not change them.
func (f *Frame) Encode(format *Format) []byte {
	if format == nil {
		return f.ws
	}
	return f.encode(format)
}

func (f *Frame) encode(format *Format) []byte {
	if f.text == 0 && len(f.parts) == 0 { // Raw
		return f.ws
	}
	if format.Deflater != nil && !format.Base64 && !f.uncompressed && len(f.ws) >= format.Deflater.threshold {
		kind := viewDeflated
		if format.Revision3 {
			kind = view3Deflated
		}
		return f.view(kind, func() []byte { return f.deflate(format) })
	}
	return f.plain(format)
}

// plain is Encode without compression.
func (f *Frame) plain(format *Format) []byte {
	if !f.HasBinary() {
		return f.ws
	}
	var kind int
	switch {
	case format.Revision3 && format.Base64:
		kind = view3Base64
	case format.Revision3:
		kind = view3
	case format.Base64:
		kind = viewBase64
	default:
		return f.ws
	}
	return f.view(kind, func() []byte {
		b := make([]byte, 0, len(f.ws)+len(f.parts))
		for i := range f.parts {
			op, data := format.message(&f.parts[i])
			b = appendMessage(b, op, data)
		}
		return b
	})
}

// message returns what the payload of a packet's WebSocket frame is.
func (format *Format) message(p *Part) (op byte, data []byte) {
	switch {
	case !p.Binary:
		return opText, p.Data
	case format.Base64 && format.Revision3:
		return opText, base64.StdEncoding.AppendEncode([]byte("b4"), p.Data)
	case format.Base64:
		return opText, base64.StdEncoding.AppendEncode([]byte("b"), p.Data)
	case format.Revision3:
		return opBinary, append([]byte{typeMessage}, p.Data...)
	}
	return opBinary, p.Data
}

// typeMessage stands before binary data in protocol 3.
const typeMessage = 4

// Polling3 returns the frame as part of a textual polling body of protocol 3: packets behind their lengths in
// UTF-16 units, binary as base64. The caller must not change it. It is nil for Raw.
func (f *Frame) Polling3() []byte {
	if f.text == 0 && len(f.parts) == 0 {
		return nil
	}
	return f.view(viewPolling3, func() (b []byte) {
		for _, p := range f.packets() {
			data := p.Data
			var n int
			if p.Binary {
				data = base64.StdEncoding.AppendEncode([]byte("b4"), data)
				n = len(data)
			} else {
				n = utf16Len(data)
			}
			b = append(append(strconv.AppendInt(b, int64(n), 10), ':'), data...)
		}
		return b
	})
}

// Polling3Binary returns the frame as part of a binary polling body of protocol 3: every packet behind its kind
// and the digits of its length in bytes. The caller must not change it. It is nil for Raw.
func (f *Frame) Polling3Binary() []byte {
	if f.text == 0 && len(f.parts) == 0 {
		return nil
	}
	return f.view(viewPolling3Binary, func() (b []byte) {
		for _, p := range f.packets() {
			kind, n := byte(0), len(p.Data)
			if p.Binary {
				kind, n = 1, n+1
			}
			b = append(b, kind)
			start := len(b)
			b = strconv.AppendInt(b, int64(n), 10)
			for i := range b[start:] {
				b[start+i] -= '0'
			}
			b = append(b, 0xff)
			if p.Binary {
				b = append(b, typeMessage)
			}
			b = append(b, p.Data...)
		}
		return b
	})
}

// utf16Len counts as JavaScript measures strings.
func utf16Len(text []byte) (n int) {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r >= 0x10000 {
			n++
		}
		n++
		text = text[size:]
	}
	return n
}
