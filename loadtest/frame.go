//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// WebSocket opcodes, RFC 6455 section 5.2.
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// maxFrame bounds what a server may send in one frame, in bytes.
const maxFrame = 16 << 20

var (
	errMasked     = errors.New("websocket: masked frame from a server")
	errFragmented = errors.New("websocket: fragmented message or reserved bits")
)

// cutFrame takes one frame from the front of b. ok is false while the frame is
// incomplete. Fragments are refused: no Socket.IO server sends them.
func cutFrame(b []byte) (op byte, payload, rest []byte, ok bool, err error) {
	if len(b) < 2 {
		return 0, nil, b, false, nil
	}
	if b[0]&0xf0 != 0x80 || b[0]&0x0f == 0 {
		return 0, nil, b, false, errFragmented
	}
	if b[1]&0x80 != 0 {
		return 0, nil, b, false, errMasked
	}
	head, size := 2, uint64(b[1])
	switch {
	case size == 126 && len(b) >= 4:
		head, size = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case size == 127 && len(b) >= 10:
		head, size = 10, binary.BigEndian.Uint64(b[2:])
	case size >= 126:
		return 0, nil, b, false, nil
	}
	if size > maxFrame {
		return 0, nil, b, false, fmt.Errorf("websocket: frame of %d bytes, at most %d are read", size, maxFrame)
	}
	end := head + int(size)
	if len(b) < end {
		return 0, nil, b, false, nil
	}
	return b[0] & 0x0f, b[head:end], b[end:], true, nil
}

// appendFrame appends a client's frame. The masking key is 0, which leaves the
// payload as it is and is as valid as any other key.
func appendFrame(b []byte, op byte, payload []byte) []byte {
	b = append(b, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = append(b, 0x80|126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, 0x80|127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	b = append(b, 0, 0, 0, 0)
	return append(b, payload...)
}
