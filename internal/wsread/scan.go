package wsread

import (
	"encoding/binary"
	"math"
)

// found is what a scanner came upon.
type found uint8

const (
	incomplete found = iota // nothing whole is left
	message                 // a whole message, with the control frames before and in it, or one that a close frame ends
	controls                // control frames between messages, no whole message behind them
	broken                  // a header that the parser refuses
)

// scanner finds where whole messages end. It knows lengths only and judges nothing: at a header that cannot be
// right it stops, so that the parser gets what is there and says why.
type scanner struct {
	pos  int  // of the next header
	open bool // inside a fragmented message
	size int  // bytes of that message so far
}

const (
	finBit  = 0x80
	rsv1Bit = 0x40
	rsvBits = 0x30 // those that no extension of ours uses
	maskBit = 0x80
	maskLen = 4

	opContinuation = 0
	opBinary       = 2
	opClose        = 8
	firstControl   = opClose
	lastControl    = 10
	maxControl     = 125 // bytes, RFC 6455 section 5.5
)

// next looks at b from where it was before and returns how many bytes what it found has. After message and
// controls it must begin anew behind them.
func (s *scanner) next(b []byte, c *Config) (n int, what found) {
	for {
		h := b[s.pos:]
		header, size, ok, whole := head(h)
		if !ok {
			return n, what
		}
		op, final := h[0]&0x0f, h[0]&finBit != 0
		if !s.fits(h, op, c.Deflate) || size > math.MaxInt64 { // for which the parser needs no key
			return len(b), broken
		}
		if !whole {
			return n, what
		}
		if op < firstControl && (size > uint64(c.Limit) || s.size+int(size) > c.Limit) {
			return len(b), broken
		}
		if uint64(len(h)-header) < size {
			return n, what
		}
		s.pos += header + int(size)
		switch {
		case op == opClose && s.open: // the message will not be completed
			return s.pos, message
		case op >= firstControl:
			if !s.open {
				n, what = s.pos, controls
			}
		case final:
			return s.pos, message
		default:
			s.open, s.size = true, s.size+int(size)
		}
	}
}

// fits says whether the first two bytes of a header are such that the rest matters.
func (s *scanner) fits(h []byte, op byte, deflate bool) bool {
	switch {
	case h[1]&maskBit == 0, h[0]&rsvBits != 0, h[0]&rsv1Bit != 0 && !deflate, op > lastControl:
		return false
	case op >= firstControl:
		return h[0]&finBit != 0 && h[1]&^maskBit <= maxControl
	}
	return op <= opBinary && (op == opContinuation) == s.open
}

// head reads a header. ok is false while its two first bytes are missing, whole while there is less than all of it.
func head(h []byte) (n int, size uint64, ok, whole bool) {
	if len(h) < 2 {
		return 0, 0, false, false
	}
	n, size = 2+maskLen, uint64(h[1]&^maskBit)
	switch size {
	case 126:
		if n += 2; len(h) >= 4 {
			size = uint64(binary.BigEndian.Uint16(h[2:]))
		}
	case 127:
		if n += 8; len(h) >= 10 {
			size = binary.BigEndian.Uint64(h[2:])
		}
	}
	return n, size, true, len(h) >= n
}
