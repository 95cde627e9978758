// Package wsread turns the bytes that WebSockets receive into messages (RFC 6455, 7692). It needs no goroutine and no
// buffer for a connection that is idle: a scanner finds where messages end, and one of a few parsers, which are
// gorilla/websocket, reads exactly those bytes.
package wsread

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// Config is what the streams of one kind have in common. It must not be copied after its first use.
type Config struct {
	Limit   int  // bytes of a message, inflated
	Deflate bool // permessage-deflate without context takeover was agreed upon

	parsers sync.Pool // *parser that are not in use
}

// maxOverhead bounds what a message may take on the way besides its limit again: headers of fragments, and control
// frames between them. Empty fragments would else never come to an end.
const maxOverhead = 64 << 10

// Handler takes what a stream holds.
type Handler interface {
	// Message takes a message, which is valid until it returns, and says whether to go on.
	Message(binary bool, data []byte) bool
	// Pong takes the answer to a ping, a WebSocket frame.
	Pong(frame []byte)
}

// Error says why nothing more can be read.
type Error struct {
	Err       error
	LastWords []byte // close frame that the peer is to get
	Farewell  bool   // the peer said goodbye, which is no mistake
	TooBig    bool   // a message is
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

var (
	errNotUTF8 = errors.New("websocket: text is not UTF-8")
	errTooLong = errors.New("websocket: fragments of a message exceed its limit")
)

// Stream is the reading side of one WebSocket. The zero value is one that has not received anything.
type Stream struct {
	partial *partial // nil: nothing waits
}

// partial is what waits for the rest of a message, or for the handler.
type partial struct {
	b     []byte
	taken int // bytes of b that were handed over
	scan  scanner
}

// Feed takes bytes and gives the messages that are whole to h. When h wants no more the rest waits for the next
// call, which may bring nothing new. After an error the stream is at its end.
func (s *Stream) Feed(b []byte, c *Config, h Handler) *Error {
	var scan scanner
	if w := s.partial; w != nil {
		w.b = append(w.b, b...)
		b, scan = w.b[w.taken:], w.scan
	}
	var p *parser
	for {
		n, what := scan.next(b, c)
		if what == incomplete {
			break
		}
		if p == nil {
			p = c.get()
			p.ponged = h.Pong
		}
		more, err := p.pass(b[:n], what, h)
		if err != nil {
			s.partial = nil
			return err
		}
		b, scan = b[n:], scanner{}
		if !more {
			break
		}
	}
	if p != nil {
		c.put(p)
	}
	if len(b) > 2*c.Limit+maxOverhead && scan.open {
		s.partial = nil
		return tooBig(errTooLong)
	}
	s.keep(b, scan)
	return nil
}

// pass hands over what a scanner found.
func (p *parser) pass(b []byte, what found, h Handler) (more bool, failed *Error) {
	isBinary, data, err := p.parse(b, what)
	switch {
	case err != nil:
		return false, p.failure(err)
	case what == controls:
		return true, nil
	case !isBinary && !utf8.Valid(data):
		return false, &Error{Err: errNotUTF8, LastWords: CloseFrame(websocket.CloseInvalidFramePayloadData)}
	}
	more = h.Message(isBinary, data)
	if err := p.settle(what); err != nil {
		return false, p.failure(err)
	}
	return more, nil
}

// failure finds the words that go with an error.
func (p *parser) failure(err error) *Error {
	var corrupt flate.CorruptInputError
	var closed *websocket.CloseError
	switch {
	case errors.Is(err, websocket.ErrReadLimit):
		return tooBig(err)
	case errors.As(err, &corrupt), err == io.ErrUnexpectedEOF:
		return &Error{Err: err, LastWords: CloseFrame(websocket.CloseInvalidFramePayloadData)}
	case errors.As(err, &closed):
		return &Error{Err: err, LastWords: p.memory.lastWords, Farewell: true}
	case p.memory.lastWords == nil:
		return &Error{Err: fmt.Errorf("websocket: %w", err), LastWords: CloseFrame(websocket.CloseProtocolError)}
	}
	return &Error{Err: err, LastWords: p.memory.lastWords}
}

func tooBig(err error) *Error {
	return &Error{Err: err, LastWords: CloseFrame(websocket.CloseMessageTooBig), TooBig: true}
}

// CloseFrame is a WebSocket close frame with a code of RFC 6455 section 7.4, or without one if that is 0.
func CloseFrame(code uint16) []byte {
	if code == 0 {
		return []byte{finBit | firstControl, 0}
	}
	return binary.BigEndian.AppendUint16([]byte{finBit | firstControl, 2}, code)
}

// keep holds what waits, in a buffer of which it is half at least. So a handler that pauses often, while much waits, does
// not have it all copied each time.
func (s *Stream) keep(rest []byte, scan scanner) {
	if len(rest) == 0 {
		s.partial = nil
		return
	}
	if w := s.partial; w != nil && len(w.b) <= 2*len(rest) {
		w.taken, w.scan = len(w.b)-len(rest), scan
		return
	}
	s.partial = &partial{b: bytes.Clone(rest), scan: scan}
}
