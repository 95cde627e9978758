package wsread

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

const limit = 2000

// clientFrame is a frame as clients send them.
func clientFrame(head byte, payload []byte) []byte {
	b := []byte{head}
	switch n := len(payload); {
	case n < 126:
		b = append(b, maskBit|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, maskBit|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, maskBit|127), uint64(n))
	}
	key := [maskLen]byte{1, 2, 3, byte(len(payload))}
	b = append(b, key[:]...)
	for i, x := range payload {
		b = append(b, x^key[i%maskLen])
	}
	return b
}

func deflated(b []byte) []byte {
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, flate.BestSpeed)
	_, _ = w.Write(b)
	_ = w.Flush()
	return bytes.TrimSuffix(out.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// story is what came of a stream: messages, pongs and the end, each in its own order.
type story struct {
	messages, pongs []string
	end             string
	last            []byte
	waits           bool // for the rest of a message
}

func (s *story) Message(binary bool, data []byte) bool {
	s.messages = append(s.messages, fmt.Sprintf("%v %x", binary, data))
	return true
}

func (s *story) Pong(b []byte) { s.pongs = append(s.pongs, string(b)) }

// recorded is a connection whose peer has said everything already.
type recorded struct {
	memory
	wire *bytes.Reader
}

func (c *recorded) Read(b []byte) (int, error) { return c.wire.Read(b) }

// plain tells the story of a stream as gorilla alone does, on a connection of its own. Only the bound on the inflated
// size and UTF-8 are ours.
func plain(wire []byte, c *Config) (s story) {
	conn := &recorded{wire: bytes.NewReader(wire)}
	p := newParser(c.Deflate)
	g := websocketOver(conn, c.Deflate)
	g.SetReadLimit(int64(c.Limit))
	g.SetPingHandler(func(payload string) error {
		s.Pong(append([]byte{0x8a, byte(len(payload))}, payload...))
		return nil
	})
	for {
		kind, r, err := g.NextReader()
		var data []byte
		if err == nil {
			if data, err = io.ReadAll(io.LimitReader(r, int64(c.Limit)+1)); err == nil && len(data) > c.Limit {
				err = websocket.ErrReadLimit
			}
		}
		if err == nil && kind == websocket.TextMessage && !utf8.Valid(data) {
			err = errNotUTF8
		}
		if err == nil {
			s.Message(kind == websocket.BinaryMessage, data)
			continue
		}
		var closed *websocket.CloseError
		switch {
		case conn.wire.Len() == 0 && (errors.As(err, &closed) && closed.Code == websocket.CloseAbnormalClosure || err == io.EOF):
			return s // the peer said no more
		case err == errNotUTF8:
			s.last = CloseFrame(websocket.CloseInvalidFramePayloadData)
		default:
			p.memory.lastWords = conn.lastWords
			s.last = p.failure(err).LastWords
		}
		s.end = err.Error()
		return s
	}
}

// websocketOver upgrades a connection to gorilla's.
func websocketOver(c net.Conn, deflate bool) *websocket.Conn {
	u := websocket.Upgrader{ReadBufferSize: 512, EnableCompression: deflate}
	g, err := u.Upgrade(upgraded{c}, upgradeRequest(), nil)
	if err != nil {
		panic(err)
	}
	return g
}

// fed tells the story of a stream that arrives in pieces.
func fed(t *testing.T, wire []byte, c *Config, cut func(left int) int) (s story) {
	var stream Stream
	for len(wire) > 0 {
		n := min(max(1, cut(len(wire))), len(wire))
		piece := bytes.Clone(wire[:n]) // its memory is somebody else's afterwards
		err := stream.Feed(piece, c, &s)
		for i := range piece {
			piece[i] = 0xff
		}
		wire = wire[n:]
		if err != nil {
			s.end, s.last = err.Error(), err.LastWords
			if len(s.last) == 0 {
				t.Fatalf("error %v has no last words", err)
			}
			return s
		}
	}
	s.waits = stream.partial != nil
	return s
}

// compare fails unless feeding tells the same story as gorilla. Of an unfinished message pongs are not sent yet, and
// what is wrong with its compressed data is not known.
func compare(t *testing.T, wire []byte, c *Config, cut func(left int) int) {
	t.Helper()
	want, got := plain(wire, c), fed(t, wire, c, cut)
	if n := len(got.messages); got.waits && c.Deflate { // compressed data may end, or fail, before its message does
		want.messages, want.end, want.last = want.messages[:min(n, len(want.messages))], "", nil
	}
	if fmt.Sprint(got.messages) != fmt.Sprint(want.messages) {
		t.Fatalf("%x: messages\n%v, end %q, want\n%v, end %q", wire, got.messages, got.end, want.messages, want.end)
	}
	if len(got.pongs) > len(want.pongs) || fmt.Sprint(got.pongs) != fmt.Sprint(want.pongs[:len(got.pongs)]) || got.end != "" && len(got.pongs) < len(want.pongs) {
		t.Fatalf("%x: pongs %q, want %q", wire, got.pongs, want.pongs)
	}
	if got.end != strings.TrimPrefix(want.end, "websocket: websocket: ") || !bytes.Equal(got.last, want.last) {
		t.Fatalf("%x: end %q %x, want %q %x", wire, got.end, got.last, want.end, want.last)
	}
}

// stream makes up what a client may send, sometimes damaged.
func randomWire(r *rand.Rand, deflate bool) []byte {
	var wire []byte
	text := func(n int) []byte { return bytes.Repeat([]byte{byte('a' + r.IntN(26))}, n) }
	control := func() []byte { return clientFrame(byte(0x89+r.IntN(2)), text(r.IntN(126))) }
	for range 1 + r.IntN(8) {
		size := r.IntN(200)
		if r.IntN(10) == 0 {
			size = r.IntN(limit + 100)
		}
		payload, head := text(size), byte(1+r.IntN(2))
		if deflate && r.IntN(2) == 0 {
			payload, head = deflated(payload), head|rsv1Bit
		}
		for parts := r.IntN(4); parts > 0; parts-- {
			n := r.IntN(len(payload) + 1)
			wire = append(wire, clientFrame(head, payload[:n])...)
			payload, head = payload[n:], 0
			if r.IntN(3) == 0 {
				wire = append(wire, control()...)
			}
		}
		wire = append(wire, clientFrame(head|finBit, payload)...)
		for r.IntN(3) == 0 {
			wire = append(wire, control()...)
		}
	}
	switch r.IntN(4) {
	case 0:
		wire[r.IntN(len(wire))] ^= 1 << r.IntN(8)
	case 1:
		code := binary.BigEndian.AppendUint16(nil, uint16(r.IntN(5000)))
		wire = append(wire, clientFrame(0x88, append(code, text(r.IntN(20))...))...)
	}
	return wire
}

func TestLikeGorilla(t *testing.T) {
	for i := range 4000 {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		c := &Config{Limit: limit, Deflate: i%2 == 1}
		wire := randomWire(r, c.Deflate)
		cut := func(left int) int { return 1 + r.IntN(left) }
		switch i % 3 {
		case 0:
			cut = func(int) int { return 1 }
		case 1:
			cut = func(left int) int { return left }
		}
		compare(t, wire, c, cut)
	}
}

// FuzzLikeGorilla compares what a stream holds with what gorilla alone reads from the same bytes: the same messages,
// the same answers and the same end.
func FuzzLikeGorilla(f *testing.F) {
	hello := clientFrame(0x81, []byte("4hello"))
	f.Add(append(hello, clientFrame(0x88, []byte("\x03\xe8bye"))...), false, uint8(0))
	f.Add(append(clientFrame(0x01, []byte("4hel")), append(clientFrame(0x89, []byte("ping")), clientFrame(0x80, []byte("lo"))...)...), false, uint8(1))
	f.Add(append(clientFrame(0xc1, deflated([]byte("4hello"))), clientFrame(0xc2, deflated(make([]byte, 1<<20))[:100])...), true, uint8(3))
	f.Add(clientFrame(0xc2, deflated(make([]byte, limit+1))), true, uint8(0))
	f.Add(clientFrame(0x81, make([]byte, limit+1)), false, uint8(7))
	f.Add(append(clientFrame(0xc1, []byte("\xff\xff\xff")), clientFrame(0x83, nil)...), true, uint8(0))
	f.Add([]byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, false, uint8(0))
	f.Fuzz(func(t *testing.T, wire []byte, deflate bool, piece uint8) {
		cut := func(left int) int { return left }
		if piece > 0 {
			cut = func(int) int { return int(piece) }
		}
		compare(t, wire, &Config{Limit: limit, Deflate: deflate}, cut)
	})
}

// picky pauses after each message.
type picky struct{ story }

func (p *picky) Message(binary bool, data []byte) bool {
	p.story.Message(binary, data)
	return false
}

func TestPauseKeepsTheRest(t *testing.T) {
	var wire []byte
	for i := range 5 {
		wire = append(wire, clientFrame(0x82, []byte{byte(i)})...)
		wire = append(wire, clientFrame(0x89, []byte{byte(i)})...)
	}
	var p picky
	var s Stream
	for i := range 5 {
		var piece []byte
		if i == 0 {
			piece = wire
		}
		if err := s.Feed(piece, &Config{Limit: limit}, &p); err != nil {
			t.Fatal(err)
		}
		if len(p.messages) != i+1 || p.messages[i] != fmt.Sprintf("true %02x", i) || len(p.pongs) != i {
			t.Fatalf("after %d calls: messages %q, pongs %q", i+1, p.messages, p.pongs)
		}
	}
	if err := s.Feed(nil, &Config{Limit: limit}, &p); err != nil || len(p.pongs) != 5 || s.partial != nil {
		t.Errorf("error %v, pongs %q, %+v", err, p.pongs, s.partial)
	}
}

// A handler that pauses at each of many small messages does not have all that waits copied each time.
func TestPausesCopyLittle(t *testing.T) {
	one := clientFrame(0x81, []byte("x"))
	wire := bytes.Repeat(one, 1000)
	var p picky
	var s Stream
	c := &Config{Limit: limit}
	copies := make(map[*partial]int)
	for piece := wire; len(piece) > 0 || s.partial != nil; piece = nil {
		if err := s.Feed(piece, c, &p); err != nil {
			t.Fatal(err)
		}
		if s.partial == nil {
			continue
		}
		copies[s.partial]++
		if waits := len(wire) - len(p.messages)*len(one); len(s.partial.b) > 2*waits {
			t.Fatalf("%d bytes hold the %d that wait", len(s.partial.b), waits)
		}
	}
	if len(p.messages) != 1000 || len(copies) > 12 {
		t.Errorf("%d messages, %d copies", len(p.messages), len(copies))
	}
}

// A peer that says goodbye inside a message is answered though the message never ends.
func TestCloseInAMessage(t *testing.T) {
	for _, c := range []*Config{{Limit: limit}, {Limit: limit, Deflate: true}} {
		wire := append(clientFrame(0x01, []byte("hel")), clientFrame(0x89, []byte("ping"))...)
		goodbye := []byte("\x03\xe8bye")
		var s Stream
		var h story
		err := s.Feed(append(wire, clientFrame(0x88, goodbye)...), c, &h)
		if err == nil || !err.Farewell || !bytes.Equal(err.LastWords, CloseFrame(websocket.CloseNormalClosure)) {
			t.Errorf("deflate %v: %+v", c.Deflate, err)
		}
		if len(h.messages) > 0 || len(h.pongs) != 1 {
			t.Errorf("deflate %v: messages %q, pongs %q", c.Deflate, h.messages, h.pongs)
		}
	}
}

// Fragments without an end must not fill the memory.
func TestOverhead(t *testing.T) {
	for name, wire := range map[string][]byte{
		"empty fragments": clientFrame(0, nil),
		"pings":           clientFrame(0x89, make([]byte, 100)),
	} {
		t.Run(name, func(t *testing.T) {
			var s Stream
			var h story
			c := &Config{Limit: limit}
			err := s.Feed(clientFrame(1, nil), c, &h)
			sent := 0
			for ; err == nil && sent < 1<<20; sent += len(wire) {
				err = s.Feed(wire, c, &h)
			}
			if err == nil || !bytes.Equal(err.LastWords, CloseFrame(websocket.CloseMessageTooBig)) {
				t.Errorf("after %d bytes: %v", sent, err)
			}
		})
	}
}

func TestIdleStreamHoldsNothing(t *testing.T) {
	var s Stream
	var h story
	wire := clientFrame(0x81, []byte("hello"))
	c := &Config{Limit: limit}
	for i := range wire {
		if err := s.Feed(wire[i:i+1], c, &h); err != nil {
			t.Fatal(err)
		}
	}
	if s.partial != nil || len(h.messages) != 1 {
		t.Errorf("partial %+v, messages %q", s.partial, h.messages)
	}
}

// nobody takes messages without keeping them.
type nobody struct{ n int }

func (h *nobody) Message(bool, []byte) bool { h.n++; return true }
func (h *nobody) Pong([]byte)               {}

func BenchmarkFeed(b *testing.B) {
	wire := clientFrame(0x81, bytes.Repeat([]byte("x"), 100))
	c := &Config{Limit: limit}
	var s Stream
	var h nobody
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Feed(wire, c, &h); err != nil {
			b.Fatal(err)
		}
	}
}
