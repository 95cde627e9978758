package forward

import "encoding/binary"

// boundary follows the frames of a WebSocket (RFC 6455, section 5.2), so that something can be said between two of them.
type boundary struct {
	head   [10]byte
	have   uint8  // bytes of head
	left   uint64 // bytes of the frame after its head
	closed bool   // a close frame began
}

// advance goes over bytes that were sent.
func (f *boundary) advance(b []byte) {
	for len(b) > 0 {
		b = b[f.step(b):]
	}
}

// finish goes over bytes up to the end of the frame that is under way, and returns how many those are.
func (f *boundary) finish(b []byte) (n int) {
	for n < len(b) && !f.between() {
		n += f.step(b[n:])
	}
	return n
}

// step goes over one byte of a head, or over what there is of a frame's rest.
func (f *boundary) step(b []byte) int {
	if f.left > 0 {
		n := min(f.left, uint64(len(b)))
		f.left -= n
		return int(n)
	}
	f.head[f.have] = b[0]
	f.have++
	if f.have >= 2 && f.have == f.size() {
		f.begin()
	}
	return 1
}

// size returns how many bytes the head has up to the length.
func (f *boundary) size() uint8 {
	switch f.head[1] & 0x7f {
	case 126:
		return 4
	case 127:
		return 10
	}
	return 2
}

func (f *boundary) begin() {
	switch f.have {
	case 2:
		f.left = uint64(f.head[1] & 0x7f)
	case 4:
		f.left = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 10:
		f.left = binary.BigEndian.Uint64(f.head[2:]) & (1<<63 - 1)
	}
	if f.head[1]&0x80 != 0 { // a mask, which servers do not send
		f.left += 4
	}
	f.closed = f.closed || f.head[0]&0x0f == 8
	f.have = 0
}

// between reports whether a frame of our own may come now.
func (f *boundary) between() bool { return f.have == 0 && f.left == 0 && !f.closed }
