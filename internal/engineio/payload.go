package engineio

import (
	"bytes"
	"encoding/base64"
	"io"
	"iter"
	"unicode/utf8"

	"example.com/chorus/internal/frame"
)

const (
	textPlain   = "text/plain; charset=UTF-8"
	octetStream = "application/octet-stream"
)

var (
	closePacket = frame.Packet("1")
	noopPacket  = frame.Packet("6")
)

// payload is the body of a GET's answer.
type payload struct {
	contentType string
	parts       [][]byte
	size        int
}

// payload encodes frames for the session's client.
func (s *Session) payload(frames []*frame.Frame) *payload {
	if s.protocol == 3 {
		return payload3(frames, s.base64)
	}
	p := &payload{contentType: textPlain, parts: make([][]byte, 0, 2*len(frames)-1)}
	for i, f := range frames {
		if i > 0 {
			p.add(separator)
		}
		p.add(f.Polling())
	}
	return p
}

var separator = []byte{frame.Separator}

func (p *payload) add(b []byte) {
	p.parts = append(p.parts, b)
	p.size += len(b)
}

func (p *payload) writeTo(w io.Writer) (n int, err error) {
	for _, b := range p.parts {
		m, err := w.Write(b)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// packets divides a body that the session's client sent.
func (s *Session) packets(body []byte, octets bool) iter.Seq2[frame.Part, error] {
	switch {
	case s.protocol != 3:
		return packets4(body)
	case octets:
		return packets3Binary(body)
	}
	return packets3(body)
}

// packets4 divides a polling body into its packets. It ends after a packet that is not UTF-8.
func packets4(body []byte) iter.Seq2[frame.Part, error] {
	return func(yield func(frame.Part, error) bool) {
		for more := true; more; {
			var packet []byte
			packet, body, more = bytes.Cut(body, separator)
			if !utf8.Valid(packet) {
				yield(frame.Part{}, errNotUTF8)
				return
			}
			if !yield(frame.Part{Data: packet}, nil) {
				return
			}
		}
	}
}

// decodeBase64 reads both alphabets, with or without padding, as the reference server does. It changes b.
func decodeBase64(b []byte) ([]byte, error) {
	for i, c := range b {
		switch c {
		case '-':
			b[i] = '+'
		case '_':
			b[i] = '/'
		}
	}
	return base64.RawStdEncoding.AppendDecode(nil, bytes.TrimRight(b, "="))
}
