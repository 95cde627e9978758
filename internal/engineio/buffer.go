package engineio

import (
	"io"
	"sync"
)

const (
	firstBuffer = 512
	keepBuffer  = 64 << 10 // a larger one does not go back into its pool
)

// buffers hold the bodies of POSTs while they are read and handled.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, firstBuffer); return &b }}

func freeBuffer(b *[]byte) {
	if cap(*b) <= keepBuffer {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// readAll appends what r has to b, growing it only as data arrives.
func readAll(r io.Reader, b []byte) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}
