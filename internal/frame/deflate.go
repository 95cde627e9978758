package frame

import (
	"bytes"
	"compress/flate"
	"fmt"
	"sync"
)

// compressed is the bit of a WebSocket header that says that a message is deflated, RFC 7692 section 6.
const compressed = 0x40

// Deflater compresses WebSocket messages, each by itself (permessage-deflate without context takeover, RFC 7692),
// so that one result serves every receiver. It is safe for concurrent use. All that sends a frame compressed is
// expected to use the same one.
type Deflater struct {
	threshold int
	level     int
	told      func(ratio float64)
	pool      sync.Pool // of *deflation
}

type deflation struct {
	out    bytes.Buffer
	writer *flate.Writer
}

// keepDeflated is the size of a result whose buffer is kept.
const keepDeflated = 64 << 10

// NewDeflater returns a Deflater that leaves messages of fewer bytes than threshold as they are. The levels are
// those of compress/flate; it panics for others. told, unless it is nil, is called for each message that is compressed, with
// the part of its size that is left; it must not block.
func NewDeflater(threshold, level int, told func(ratio float64)) *Deflater {
	if level < flate.HuffmanOnly || level > flate.BestCompression {
		panic(fmt.Sprintf("frame: NewDeflater: level %d, want %d to %d", level, flate.HuffmanOnly, flate.BestCompression))
	}
	return &Deflater{threshold: threshold, level: level, told: told}
}

// deflate lays out the frame's messages, compressed where that makes them smaller.
func (f *Frame) deflate(format *Format) []byte {
	b := make([]byte, 0, len(f.ws)/2)
	for _, p := range f.packets() {
		op, data := format.message(&p)
		b = format.Deflater.append(b, op, data)
	}
	return b
}

// append appends a WebSocket frame.
func (d *Deflater) append(dst []byte, op byte, data []byte) []byte {
	if len(data) < d.threshold {
		return appendMessage(dst, op, data)
	}
	z, _ := d.pool.Get().(*deflation)
	if z == nil {
		z = new(deflation)
		z.writer, _ = flate.NewWriter(&z.out, d.level) // NewDeflater looked at the level
	}
	z.out.Reset()
	z.writer.Reset(&z.out)
	_, _ = z.writer.Write(data) // a buffer takes everything
	_ = z.writer.Flush()
	// A flush ends with an empty stored block, which the receiver adds: RFC 7692 section 7.2.1.
	small := bytes.TrimSuffix(z.out.Bytes(), []byte{0x00, 0x00, 0xff, 0xff})
	if d.told != nil {
		d.told(float64(len(small)) / float64(len(data)))
	}
	if len(small) < len(data) {
		op, data = op|compressed, small
	}
	dst = appendMessage(dst, op, data)
	if z.out.Cap() <= keepDeflated {
		d.pool.Put(z)
	}
	return dst
}
