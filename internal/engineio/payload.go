package engineio

import (
	"bytes"
	"encoding/base64"
	"iter"
	"unicode/utf8"

	"example.com/chorus/internal/frame"
)

var (
	closePacket = frame.Packet("1")
	noopPacket  = frame.Packet("6")
)

// packets divides a polling body into its packets. It yields false for a packet that is not UTF-8, and ends.
func packets(body []byte) iter.Seq2[[]byte, bool] {
	return func(yield func([]byte, bool) bool) {
		for more := true; more; {
			var packet []byte
			packet, body, more = bytes.Cut(body, []byte{frame.Separator})
			valid := utf8.Valid(packet)
			if !yield(packet, valid) || !valid {
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
