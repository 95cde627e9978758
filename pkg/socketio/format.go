package socketio

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"unicode/utf8"

	"example.com/chorus/internal/binaryjson"
	"example.com/chorus/internal/frame"
	"example.com/chorus/pkg/socketio/parser"
)

var errNoMessages = errors.New("the parser made no message of the packet")

// format is a wire format other than the default one. What its parser does wrong is an error: nobody else may suffer
// for a packet that it made.
type format struct {
	parser  parser.Parser
	trusted bool                         // one of the package parser: what it makes needs no check
	report  func(what string, err error) // Server.report
}

// newFormat returns nil for the default one.
func newFormat(p parser.Parser, report func(string, error)) *format {
	if p == nil {
		return nil
	}
	t := reflect.TypeOf(p)
	trusted := t == reflect.TypeOf(parser.Msgpack()) || t == reflect.TypeOf(parser.Default())
	return &format{parser: p, trusted: trusted, report: report}
}

// encode makes the frame of a packet.
func (f *format) encode(p parser.Packet) (*frame.Frame, error) {
	var chunks []parser.Chunk
	err := guard(func() (err error) { chunks, err = f.parser.Encode(p); return err })
	if err != nil {
		return nil, err
	}
	if len(chunks) == 0 {
		return nil, errNoMessages
	}
	parts := make([]frame.Part, len(chunks))
	for i, c := range chunks {
		if !f.trusted && !c.Binary && !utf8.Valid(c.Data) {
			return nil, binaryjson.ErrNotUTF8
		}
		parts[i] = frame.Part(c)
	}
	return frame.Parts(parts...), nil
}

// decoder is the decoder of one connection.
type decoder struct {
	format  *format
	decoder parser.Decoder
	failure error // what NewDecoder did

	mu     sync.Mutex
	busy   bool // in use, as is the packet that it returned
	closed bool
}

func (f *format) newDecoder() *decoder {
	d := &decoder{format: f}
	d.failure = guard(func() error {
		if d.decoder = f.parser.NewDecoder(); d.decoder == nil {
			panic("Parser.NewDecoder returned nil")
		}
		return nil
	})
	return d
}

// add hands the next message to the decoder, and its packet, if there is one by then, to f: it is valid until f returns.
func (d *decoder) add(c parser.Chunk, f func(parser.Packet) (bool, error)) (ok bool, err error) {
	d.mu.Lock()
	if d.closed { // messages that still come are ignored
		d.mu.Unlock()
		return true, nil
	}
	d.busy = true
	d.mu.Unlock()
	defer d.rest()
	if d.failure != nil {
		return true, d.failure
	}
	var p *parser.Packet
	if err := guard(func() (err error) { p, err = d.decoder.Add(c); return err }); err != nil || p == nil {
		return true, err
	}
	if !d.format.trusted {
		if err := p.Check(); err != nil {
			return true, fmt.Errorf("packet of Options.Parser: %w", err)
		}
	}
	return f(*p)
}

// rest ends the use of the decoder.
func (d *decoder) rest() {
	d.mu.Lock()
	d.busy = false
	closed := d.closed
	d.mu.Unlock()
	if closed {
		d.end()
	}
}

// close closes the decoder, after its use if it is in use.
func (d *decoder) close() {
	d.mu.Lock()
	d.closed = true
	busy := d.busy
	d.mu.Unlock()
	if !busy {
		d.end()
	}
}

func (d *decoder) end() {
	if d.failure != nil {
		return
	}
	if err := guard(func() error { d.decoder.Close(); return nil }); err != nil {
		d.format.report("Decoder.Close", err)
	}
}
