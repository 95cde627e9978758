package engineio

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"slices"
	"sync"

	"example.com/chorus/internal/frame"
)

// encodings are the codings of HTTP that polling answers may have.
var encodings = []string{"gzip", "deflate"}

// encoding returns how an answer is to be compressed, or nothing.
func (e *Engine) encoding(r *http.Request, body *payload, frames []*frame.Frame) string {
	o := &e.options.HTTPCompression
	if o.Disabled || body.size < o.Threshold || !slices.ContainsFunc(frames, (*frame.Frame).Compressible) {
		return ""
	}
	return preferredEncoding(r.Header["Accept-Encoding"])
}

// preferredEncoding returns the coding that a client likes best, by its weights and then by its order.
func preferredEncoding(accept []string) string {
	c := ParseCodings(accept)
	best, bestQ := "", 0.0
	consider := func(name string) {
		if q := c.Weight(name); q > bestQ {
			best, bestQ = name, q
		}
	}
	for _, n := range c.named {
		if slices.Contains(encodings, n.name) {
			consider(n.name)
		}
	}
	for _, name := range encodings { // by "*"
		consider(name)
	}
	return best
}

// squeezer compresses bodies. Its writers are large, and so are shared by those who compress at the moment.
type squeezer struct {
	gzip, zlib sync.Pool // of compressor
	buffers    sync.Pool // of *bytes.Buffer
}

type compressor interface {
	io.WriteCloser
	Reset(io.Writer)
}

func (s *squeezer) squeeze(encoding string, body *payload) *bytes.Buffer {
	pool := &s.gzip
	if encoding == "deflate" { // which is zlib's format in HTTP
		pool = &s.zlib
	}
	out, _ := s.buffers.Get().(*bytes.Buffer)
	if out == nil {
		out = new(bytes.Buffer)
	}
	c, _ := pool.Get().(compressor)
	switch {
	case c != nil:
		c.Reset(out)
	case pool == &s.gzip:
		c, _ = gzip.NewWriterLevel(out, flate.BestSpeed) // a level that exists
	default:
		c, _ = zlib.NewWriterLevel(out, flate.BestSpeed)
	}
	_, _ = body.writeTo(c) // a buffer takes everything
	_ = c.Close()
	c.Reset(io.Discard)
	pool.Put(c)
	return out
}

// free takes back what squeeze returned.
func (s *squeezer) free(b *bytes.Buffer) {
	if b.Cap() <= keepBuffer {
		b.Reset()
		s.buffers.Put(b)
	}
}
