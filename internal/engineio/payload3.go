package engineio

import (
	"iter"
	"unicode/utf8"

	"example.com/chorus/internal/frame"
)

// maxDigits is how many digits the length of a packet of protocol 3 may have.
const maxDigits = 10

// payload3 encodes frames for a client of protocol 3. One binary message makes the whole body binary, unless the
// client asked for base64.
func payload3(frames []*frame.Frame, base64 bool) *payload {
	p := &payload{contentType: textPlain, parts: make([][]byte, 0, len(frames))}
	encode := (*frame.Frame).Polling3
	for _, f := range frames {
		if f.HasBinary() && !base64 {
			p.contentType = octetStream
			encode = (*frame.Frame).Polling3Binary
			break
		}
	}
	for _, f := range frames {
		p.add(encode(f))
	}
	return p
}

// packets3 divides a textual polling body of protocol 3: packets behind their lengths in UTF-16 units and a colon.
// It ends after an error.
func packets3(body []byte) iter.Seq2[frame.Part, error] {
	return func(yield func(frame.Part, error) bool) {
		if len(body) == 0 {
			yield(frame.Part{}, errPacket)
			return
		}
		for len(body) > 0 {
			n, rest, ok := length3(body, '0', ':')
			if !ok {
				yield(frame.Part{}, errPacket)
				return
			}
			size, err := utf16Size(rest, n)
			if err != nil {
				yield(frame.Part{}, err)
				return
			}
			body = rest[size:]
			if size > 0 && !yield(frame.Part{Data: rest[:size]}, nil) {
				return
			}
		}
	}
}

// packets3Binary divides a binary polling body of protocol 3: packets behind a byte that is 0 for text or 1 for
// binary, the digits of their lengths in bytes, one byte each, and 255. It ends after an error.
func packets3Binary(body []byte) iter.Seq2[frame.Part, error] {
	return func(yield func(frame.Part, error) bool) {
		if len(body) == 0 {
			yield(frame.Part{}, errPacket)
			return
		}
		for len(body) > 0 {
			kind := body[0]
			n, rest, ok := length3(body[1:], 0, 0xff)
			if kind > 1 || !ok || n > len(rest) {
				yield(frame.Part{}, errPacket)
				return
			}
			packet := frame.Part{Binary: kind == 1, Data: rest[:n:n]}
			if kind == 0 && !utf8.Valid(packet.Data) {
				yield(frame.Part{}, errNotUTF8)
				return
			}
			body = rest[n:]
			if !yield(packet, nil) {
				return
			}
		}
	}
}

// length3 reads a decimal number whose digits begin at zero and which ends with end.
func length3(b []byte, zero, end byte) (n int, rest []byte, ok bool) {
	for i, c := range b {
		switch digit := c - zero; {
		case c == end:
			return n, b[i+1:], i > 0
		case i == maxDigits || digit > 9:
			return 0, nil, false
		default:
			n = 10*n + int(digit)
		}
	}
	return 0, nil, false
}

// utf16Size returns how many bytes of b are n UTF-16 units.
func utf16Size(b []byte, n int) (size int, err error) {
	for n > 0 {
		r, width := utf8.DecodeRune(b[size:])
		switch {
		case width == 0:
			return 0, errPacket
		case r == utf8.RuneError && width == 1:
			return 0, errNotUTF8
		case r >= 0x10000:
			n--
		}
		n--
		size += width
	}
	if n < 0 { // within a pair of surrogates
		return 0, errPacket
	}
	return size, nil
}
