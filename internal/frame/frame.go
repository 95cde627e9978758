// Package frame holds one encoded Socket.IO packet and the views of it that transports send.
//
// A packet is one text message, optionally followed by binary attachments, or whatever messages a parser makes
// of it, each of them one Engine.IO message. A Frame is immutable once made and shared by every receiver of a
// broadcast, so the WebSocket bytes are laid out exactly once and every other view at most once.
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

// Part is one message of a packet.
type Part struct {
	Binary bool
	Data   []byte // of a text without its type digit
}

// Frame is one packet, ready to be sent by any transport. It is safe for concurrent use.
type Frame struct {
	ws           []byte // complete WebSocket frames of protocol 4
	parts        []Part // Engine.IO packets within ws, type digit included, unless the frame is one text
	views        atomic.Pointer[views]
	of           *Frame // the frame whose bytes and views this one shares; nil: none
	written      func()
	text         uint8 // where the Engine.IO packet begins in ws if the frame is one text, else 0
	uncompressed bool
}

// Text makes a frame of a buffer that Begin returned and to which one Engine.IO packet, type digit first,
// was appended. The frame owns the buffer from then on. Attachments follow as binary messages; they are
// copied.
func Text(buf []byte, attachments ...[]byte) *Frame {
	start := Headroom - headerLen(len(buf)-Headroom)
	if len(attachments) == 0 {
		putHeader(buf[start:], opText, len(buf)-Headroom)
		return &Frame{ws: buf[start:], text: uint8(Headroom - start)}
	}
	parts := make([]Part, 1, 1+len(attachments))
	parts[0].Data = buf[Headroom:]
	for _, a := range attachments {
		parts = append(parts, Part{Binary: true, Data: a})
	}
	return layOut(parts)
}

// Parts makes a frame of messages of any kind, which it copies.
func Parts(parts ...Part) *Frame {
	if len(parts) == 1 && !parts[0].Binary {
		return Text(append(append(Begin(1+len(parts[0].Data)), '4'), parts[0].Data...))
	}
	packets := make([]Part, len(parts))
	for i, p := range parts {
		if !p.Binary {
			p.Data = append(append(make([]byte, 0, 1+len(p.Data)), '4'), p.Data...)
		}
		packets[i] = p
	}
	return layOut(packets)
}

// layOut makes a frame of packets and lets them point to its bytes.
func layOut(parts []Part) *Frame {
	size := 0
	for _, p := range parts {
		size += headerLen(len(p.Data)) + len(p.Data)
	}
	ws := make([]byte, 0, size)
	for i := range parts {
		p := &parts[i]
		ws = appendMessage(ws, p.op(), p.Data)
		p.Data = ws[len(ws)-len(p.Data) : len(ws) : len(ws)]
	}
	return &Frame{ws: ws, parts: parts}
}

func (p *Part) op() byte {
	if p.Binary {
		return opBinary
	}
	return opText
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
	c := f.share()
	c.written = fn
	return c
}

// Uncompressed returns a frame that shares the bytes of f and is never compressed by a WebSocket, and is no
// reason to compress a polling body.
func (f *Frame) Uncompressed() *Frame {
	c := f.share()
	c.uncompressed = true
	return c
}

func (f *Frame) share() *Frame {
	return &Frame{ws: f.ws, parts: f.parts, of: f.origin(), written: f.written, text: f.text, uncompressed: f.uncompressed}
}

func (f *Frame) origin() *Frame {
	if f.of != nil {
		return f.of
	}
	return f
}

// Compressible is false for a frame of Uncompressed.
func (f *Frame) Compressible() bool { return !f.uncompressed }

// Written tells the frame that it left the process; called by the transport.
func (f *Frame) Written() {
	if f.written != nil {
		f.written()
	}
}

// WebSocket returns the frame as bytes for a WebSocket connection of protocol 4. The caller must not change them.
func (f *Frame) WebSocket() []byte { return f.ws }

// Messages returns the number of Engine.IO messages; 0 for Raw and for packets of other types such as ping.
func (f *Frame) Messages() int {
	switch {
	case f.text > 0:
		if isMessage(f.ws[f.text:]) {
			return 1
		}
		return 0
	case len(f.parts) > 0 && !f.parts[0].Binary && !isMessage(f.parts[0].Data):
		return 0
	}
	return len(f.parts)
}

func isMessage(packet []byte) bool { return len(packet) > 0 && packet[0] == '4' }

// Size returns the bytes that the frame adds to a queue.
func (f *Frame) Size() int { return len(f.ws) }

// packets returns the Engine.IO packets; a text has its type digit.
func (f *Frame) packets() []Part {
	if f.text > 0 {
		return []Part{{Data: f.ws[f.text:]}}
	}
	return f.parts
}

// HasBinary says whether one of the messages is binary.
func (f *Frame) HasBinary() bool {
	for i := range f.parts {
		if f.parts[i].Binary {
			return true
		}
	}
	return false
}

// PollingSize returns the length of Polling without building it.
func (f *Frame) PollingSize() int {
	if f.text > 0 {
		return len(f.ws) - int(f.text)
	}
	n := max(0, len(f.parts)-1)
	for i := range f.parts {
		p := &f.parts[i]
		if p.Binary {
			n += 1 + base64.StdEncoding.EncodedLen(len(p.Data))
		} else {
			n += len(p.Data)
		}
	}
	return n
}

// Polling returns the frame as part of a polling body of protocol 4: packets divided by Separator, binary as
// base64 behind the letter b. The caller must not change them. It is nil for Raw.
func (f *Frame) Polling() []byte {
	if f.text > 0 {
		return f.ws[f.text:]
	}
	if len(f.parts) == 0 {
		return nil
	}
	return f.view(viewPolling, func() []byte {
		b := make([]byte, 0, f.PollingSize())
		for i := range f.parts {
			if i > 0 {
				b = append(b, Separator)
			}
			p := &f.parts[i]
			if p.Binary {
				b = base64.StdEncoding.AppendEncode(append(b, 'b'), p.Data)
			} else {
				b = append(b, p.Data...)
			}
		}
		return b
	})
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

// appendMessage appends one WebSocket frame.
func appendMessage(dst []byte, op byte, data []byte) []byte {
	var header [Headroom]byte
	putHeader(header[:], op, len(data))
	return append(append(dst, header[:headerLen(len(data))]...), data...)
}
