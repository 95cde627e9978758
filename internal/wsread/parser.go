package wsread

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	parserBuffer = 4 << 10  // of a parser
	keepBuffer   = 64 << 10 // a larger message buffer is not kept
)

// errDry: the scanner took for whole what the parser did not.
var errDry = errors.New("wsread: the parser wants more than a message")

// parser is gorilla without a connection: whole messages in, payloads out. Between two messages it knows nothing of
// the connection that it served last, so that few parsers serve many connections. After an error it is of no use.
type parser struct {
	memory  memory
	gorilla *websocket.Conn
	limit   int
	deflate bool
	message bytes.Buffer
	ponged  func(frame []byte)
}

// memory is the connection below gorilla. Reading it never waits, and what gorilla writes to it are the close
// frames that it wants to be the last words.
type memory struct {
	in, behind []byte
	lastWords  []byte
}

func (m *memory) Read(b []byte) (int, error) {
	if len(m.in) == 0 {
		m.in, m.behind = m.behind, nil
	}
	if len(m.in) == 0 {
		return 0, errDry
	}
	n := copy(b, m.in)
	m.in = m.in[n:]
	return n, nil
}

func (m *memory) Write(b []byte) (int, error) {
	m.lastWords = bytes.Clone(b)
	return len(b), nil
}

func (*memory) Close() error                     { return nil }
func (*memory) LocalAddr() net.Addr              { return nil }
func (*memory) RemoteAddr() net.Addr             { return nil }
func (*memory) SetDeadline(time.Time) error      { return nil }
func (*memory) SetReadDeadline(time.Time) error  { return nil }
func (*memory) SetWriteDeadline(time.Time) error { return nil }

// sentinel is an empty binary message. gorilla returns from reading at a message only: behind control frames it gets
// this one, which is nobody's.
var sentinel = []byte{finBit | opBinary, maskBit, 0, 0, 0, 0}

// get returns a parser that is not in use.
func (c *Config) get() *parser {
	if p, ok := c.parsers.Get().(*parser); ok {
		return p
	}
	p := newParser(c.Deflate)
	p.limit = c.Limit
	p.gorilla.SetReadLimit(int64(c.Limit))
	return p
}

func (c *Config) put(p *parser) {
	if p.message.Cap() > keepBuffer {
		p.message = bytes.Buffer{}
	}
	p.ponged = nil
	c.parsers.Put(p)
}

var writeBuffers sync.Pool

// newParser upgrades a connection in memory.
func newParser(deflate bool) *parser {
	p := &parser{deflate: deflate}
	u := websocket.Upgrader{
		ReadBufferSize: parserBuffer, WriteBufferPool: &writeBuffers, EnableCompression: deflate,
		CheckOrigin: func(*http.Request) bool { return true },
	}
	g, err := u.Upgrade(upgraded{&p.memory}, upgradeRequest(), nil)
	if err != nil {
		panic(fmt.Errorf("wsread: upgrade in memory: %w", err)) // what it depends on is above
	}
	g.SetPingHandler(func(payload string) error {
		p.ponged(append([]byte{finBit | lastControl, byte(len(payload))}, payload...))
		return nil
	})
	p.gorilla = g
	return p
}

func upgradeRequest() *http.Request {
	return &http.Request{Method: http.MethodGet, Header: http.Header{
		"Connection": {"upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}, "Sec-Websocket-Extensions": {"permessage-deflate"},
	}}
}

// upgraded is the response to a request that nobody made.
type upgraded struct{ conn net.Conn }

func (upgraded) Header() http.Header         { return http.Header{} }
func (upgraded) Write(b []byte) (int, error) { return len(b), nil }
func (upgraded) WriteHeader(int)             {}

// Hijack returns a new pair each time, since gorilla resets the writer.
func (u upgraded) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return u.conn, bufio.NewReadWriter(bufio.NewReaderSize(bytes.NewReader(nil), 16), bufio.NewWriterSize(io.Discard, 16)), nil
}

// parse reads what a scanner found and returns the payload of the message, which is valid until the next call.
func (p *parser) parse(b []byte, what found) (binary bool, data []byte, err error) {
	p.memory.in, p.memory.behind, p.memory.lastWords = b, nil, nil
	if what == controls || what == message && p.deflate {
		p.memory.behind = sentinel
	}
	kind, r, err := p.gorilla.NextReader()
	if err != nil {
		return false, nil, err
	}
	p.message.Reset()
	// gorilla's limit counts what came, which may inflate to any size.
	n, err := p.message.ReadFrom(io.LimitReader(r, int64(p.limit)+1))
	switch {
	case err != nil:
		return false, nil, err
	case n > int64(p.limit):
		return false, nil, websocket.ErrReadLimit
	}
	return kind == websocket.BinaryMessage, p.message.Bytes(), nil
}

// settle reads what a parsed message left. Compressed data may end before its message does, whose rest must not
// meet the next connection; and behind that may be the header with which the scanner stopped.
func (p *parser) settle(what found) error {
	if what != broken && (what != message || !p.deflate) {
		return nil
	}
	_, _, err := p.gorilla.NextReader()
	if err == nil && what == broken { // gorilla saw nothing wrong
		return errDry
	}
	return err
}
