// Package frame holds one encoded Socket.IO packet and the views of it that transports send.
//
// A packet is one text message, optionally followed by binary attachments, each of them one Engine.IO
// message. A Frame is immutable once made and shared by every receiver of a broadcast, so the WebSocket
// bytes are laid out exactly once and the polling text at most once.
package frame

import (
	"encoding/base64"
	"encoding/binary"
	"sync/atomic"
)

// Headroom is the room that a text buffer keeps free in front for the largest WebSocket header of a server.
const Headroom = 10

const (
	opText   = 0x81 // FIN and text, RFC 6455 section 5.2
	opBinary = 0x82
)

// Separator divides the packets of one polling body (Engine.IO protocol 4).
const Separator = 0x1e

// Begin returns a buffer to which the text of a packet is appended, with its Headroom reserved.
// capacity is a guess at the length of the text in bytes.
func Begin(capacity int) []byte {
	return make([]byte, Headroom, Headroom+capacity)
}

// Frame is one packet, ready to be sent by any transport. It is safe for concurrent use.
type Frame struct {
	ws          []byte // complete WebSocket frames, text first
	text        []byte // Engine.IO packet without the WebSocket header, a part of ws
	attachments [][]byte
	polling     atomic.Pointer[[]byte]
	written     func()
}

// Text makes a frame of a buffer that Begin returned and to which one Engine.IO packet, type digit first,
// was appended. The frame owns the buffer from then on. Attachments follow as binary messages; they are
// copied.
func Text(buf []byte, attachments ...[]byte) *Frame {
	start := Headroom - headerLen(len(buf)-Headroom)
	putHeader(buf[start:], opText, len(buf)-Headroom)
	f := &Frame{ws: buf[start:], text: buf[Headroom:]}
	if len(attachments) == 0 {
		return f
	}
	size := len(f.ws)
	for _, a := range attachments {
		size += headerLen(len(a)) + len(a)
	}
	ws := append(make([]byte, 0, size), f.ws...)
	f.text = ws[len(ws)-len(f.text) : len(ws) : len(ws)]
	f.attachments = make([][]byte, len(attachments))
	for i, a := range attachments {
		ws = appendHeader(ws, opBinary, len(a))
		ws = append(ws, a...)
		f.attachments[i] = ws[len(ws)-len(a):]
	}
	f.ws = ws
	return f
}

// Packet makes a frame of one short Engine.IO packet such as "2" or `0{"sid":...}`.
func Packet(text string) *Frame {
	return Text(append(Begin(len(text)), text...))
}

// Raw makes a frame of bytes that already are WebSocket frames: control frames such as pong and close.
// It has no polling form and counts no message.
func Raw(ws []byte) *Frame {
	return &Frame{ws: ws}
}

// WithWritten returns a frame that shares the bytes of f and calls fn after it was handed to the kernel or
// to a polling answer. fn must not block.
func (f *Frame) WithWritten(fn func()) *Frame {
	c := &Frame{ws: f.ws, text: f.text, attachments: f.attachments, written: fn}
	c.polling.Store(f.polling.Load())
	return c
}

// Written tells the frame that it left the process; called by the transport.
func (f *Frame) Written() {
	if f.written != nil {
		f.written()
	}
}

// WebSocket returns the frame as bytes for a WebSocket connection. The caller must not change them.
func (f *Frame) WebSocket() []byte { return f.ws }

// Messages returns the number of Engine.IO messages: one, and one for each attachment; 0 for Raw and for
// packets of other types such as ping.
func (f *Frame) Messages() int {
	if len(f.text) == 0 || f.text[0] != '4' {
		return 0
	}
	return 1 + len(f.attachments)
}

// Size returns the bytes that the frame adds to a queue.
func (f *Frame) Size() int { return len(f.ws) }

// PollingSize returns the length of Polling without building it.
func (f *Frame) PollingSize() int {
	n := len(f.text)
	for _, a := range f.attachments {
		n += 2 + base64.StdEncoding.EncodedLen(len(a))
	}
	return n
}

// Polling returns the frame as part of a polling body: packets divided by Separator, binary as base64 behind
// the letter b. The caller must not change them. It is nil for Raw.
func (f *Frame) Polling() []byte {
	if len(f.attachments) == 0 {
		return f.text
	}
	if p := f.polling.Load(); p != nil {
		return *p
	}
	p := append(make([]byte, 0, f.PollingSize()), f.text...)
	for _, a := range f.attachments {
		p = append(p, Separator, 'b')
		p = base64.StdEncoding.AppendEncode(p, a)
	}
	f.polling.Store(&p)
	return p
}

func headerLen(n int) int {
	switch {
	case n < 126:
		return 2
	case n <= 0xffff:
		return 4
	}
	return 10
}

func putHeader(b []byte, op byte, n int) {
	b[0] = op
	switch headerLen(n) {
	case 2:
		b[1] = byte(n)
	case 4:
		b[1] = 126
		binary.BigEndian.PutUint16(b[2:], uint16(n))
	default:
		b[1] = 127
		binary.BigEndian.PutUint64(b[2:], uint64(n))
	}
}

func appendHeader(dst []byte, op byte, n int) []byte {
	h := headerLen(n)
	dst = append(dst, make([]byte, h)...)
	putHeader(dst[len(dst)-h:], op, n)
	return dst
}
