package forward_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"example.com/chorus/pkg/socketio/forward"
)

// frame makes a frame of a server.
func frame(opcode byte, n int) []byte {
	b := []byte{0x80 | opcode}
	switch {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, bytes.Repeat([]byte{0x88}, n)...)
}

func TestBoundary(t *testing.T) {
	var stream []byte
	ends := make(map[int]bool)
	for _, n := range []int{0, 1, 5, 125, 126, 127, 300, 65535, 65536, 0} {
		ends[len(stream)] = true
		stream = append(stream, frame(1, n)...)
	}
	ends[len(stream)] = true
	for _, step := range []int{1, 2, 3, 7, 1000} {
		var f forward.Boundary
		for i := 0; i < len(stream); i += step {
			if got := f.Between(); got != ends[i] {
				t.Fatalf("in steps of %d, after %d bytes: between is %v", step, i, got)
			}
			f.Advance(stream[i:min(i+step, len(stream))])
		}
		if !f.Between() {
			t.Errorf("in steps of %d: not between frames at the end", step)
		}
		f.Advance(frame(8, 2))
		if f.Between() {
			t.Error("something may be said after a close frame")
		}
	}
}

func FuzzBoundary(f *testing.F) {
	f.Add(append(frame(1, 3), frame(2, 200)...), uint8(3))
	f.Add([]byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, uint8(9))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint8) {
		var whole, parts forward.Boundary
		n := min(int(cut), len(stream))
		whole.Advance(stream)
		parts.Advance(stream[:n])
		within := !parts.Between()
		rest := stream[n:]
		if k := parts.Finish(rest); within && k < len(rest) && !parts.Between() {
			t.Errorf("finished after %d of %d bytes, not between frames", k, len(rest))
		} else {
			parts.Advance(rest[k:])
		}
		if whole.Between() != parts.Between() {
			t.Errorf("in parts: between is %v, as a whole %v", parts.Between(), whole.Between())
		}
	})
}
