//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// serverFrame is a frame as servers send it, unmasked.
func serverFrame(op byte, payload []byte) []byte {
	b := []byte{0x80 | op}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

func TestCutFrame(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 127, 65_535, 65_536, 100_000} {
		payload := bytes.Repeat([]byte("y"), size)
		stream := serverFrame(opText, payload)
		frame := len(stream)
		stream = append(stream, serverFrame(opPing, []byte("?"))...)
		for _, n := range []int{0, 1, 2, 3, 9, frame - 1} {
			if n >= frame {
				continue
			}
			if _, _, rest, ok, err := cutFrame(stream[:n]); ok || err != nil || len(rest) != n {
				t.Errorf("cutFrame(%d of %d bytes) = ok %v, err %v, rest %d, want to wait for more", n, frame, ok, err, len(rest))
			}
		}
		op, got, rest, ok, err := cutFrame(stream)
		if op != opText || !bytes.Equal(got, payload) || !ok || err != nil || len(rest) != 3 {
			t.Errorf("cutFrame(%d bytes) = op %d, %d bytes, rest %d, %v, %v", size, op, len(got), len(rest), ok, err)
		}
	}
}

func TestCutFrameRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		frame []byte
		want  error // nil: any
	}{
		{"masked", []byte{0x81, 0x80, 0, 0, 0, 0}, errMasked},
		{"first fragment", []byte{0x01, 0x01, 'a'}, errFragmented},
		{"continuation", []byte{0x80, 0x01, 'a'}, errFragmented},
		{"compressed", []byte{0xc1, 0x01, 'a'}, errFragmented},
		{"too long", []byte{0x81, 127, 0, 0, 0, 0, 1, 0, 0, 1}, nil},
		{"negative length", []byte{0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, _, ok, err := cutFrame(c.frame)
			if ok || err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("cutFrame(% x) = %v, %v, want error %v", c.frame, ok, err, c.want)
			}
		})
	}
}

// A real server must understand the frames of appendFrame.
func TestAppendFrame(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 65_535, 65_536} {
		payload := bytes.Repeat([]byte("z"), size)
		conn := acceptWebSocket(t, appendFrame(nil, opText, payload))
		kind, got, err := conn.ReadMessage()
		if kind != websocket.TextMessage || !bytes.Equal(got, payload) || err != nil {
			t.Errorf("a server reads appendFrame(%d bytes) as %d, %d bytes, %v", size, kind, len(got), err)
		}
	}
}

// loneClient is a client without a connection, which hears itself.
func loneClient(codec *codec) *client {
	s := &swarm{codec: codec, crowd: crowd{clients: 1, senders: 1}, targets: make([]target, 1), epoch: time.Now(), loops: []*loop{{}}}
	c := &client{swarm: s, loop: s.loops[0], streams: make([]stream, 1), fd: -1, ready: make(chan error, 1)}
	s.clients = []*client{c}
	return c
}

// feedAll gives a stream to a client, cut into pieces.
func feedAll(t *testing.T, wire []byte, pieces []int) *client {
	t.Helper()
	c := loneClient(newTestCodec(t, 100))
	c.swarm.measureFrom.Store(0)
	for _, n := range pieces {
		n = min(n, len(wire))
		if err := c.feed(slices.Clone(wire[:n]), 1); err != nil {
			t.Fatal(err)
		}
		wire = wire[n:]
	}
	if err := c.feed(wire, 1); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFeedCutAnywhere(t *testing.T) {
	codec := newTestCodec(t, 100)
	var wire []byte
	for i := range 5 {
		wire = append(wire, serverFrame(opText, codec.appendPacket(nil, message{0, i, 0}))...)
		wire = append(wire, serverFrame(opBinary, []byte("attachment"))...)
	}
	for cut := range len(wire) {
		c := feedAll(t, wire, []int{cut, 1, 1, 60})
		if got := c.swarm.total().delivered; got != 5 || c.rest != nil || c.streams[0].lost(5) != 0 {
			t.Fatalf("cut at %d: %d delivered, %d bytes left, %d lost, want 5, 0, 0", cut, got, len(c.rest), c.streams[0].lost(5))
		}
		if got := c.swarm.loops[0].own.total; got != 5 {
			t.Fatalf("cut at %d: %d latencies of the own node, want 5", cut, got)
		}
	}
}

func FuzzFeed(f *testing.F) {
	codec := newTestCodec(f, 100)
	good := serverFrame(opText, codec.appendPacket(nil, message{0, 0, 0}))
	f.Add(good, 3)
	f.Add([]byte{0x81, 126, 0}, 1)
	f.Add(append(serverFrame(opText, []byte("42[")), good...), 7)
	f.Fuzz(func(t *testing.T, wire []byte, cut int) {
		whole := cutAll(wire)
		if cut < 0 || cut > len(wire) {
			return
		}
		// Cutting the stream must not change which frames come out of it.
		var parts [][]byte
		rest := slices.Clone(wire[:cut])
		for _, piece := range [][]byte{nil, wire[cut:]} {
			rest = append(rest, piece...)
			for {
				_, payload, after, ok, err := cutFrame(rest)
				if !ok || err != nil {
					break
				}
				parts, rest = append(parts, payload), after
			}
		}
		if !slices.EqualFunc(whole, parts, bytes.Equal) {
			t.Errorf("cut at %d: %q, want %q", cut, parts, whole)
		}
	})
}

func cutAll(b []byte) (payloads [][]byte) {
	for {
		_, payload, rest, ok, err := cutFrame(b)
		if !ok || err != nil {
			return payloads
		}
		payloads, b = append(payloads, payload), rest
	}
}

func BenchmarkFeed(b *testing.B) {
	c := newTestCodec(b, 100)
	cl := loneClient(c)
	wire := serverFrame(opText, c.appendPacket(nil, message{0, 0, 0}))
	b.ReportAllocs()
	for b.Loop() {
		cl.streams[0] = stream{}
		if err := cl.feed(wire, 1); err != nil {
			b.Fatal(err)
		}
	}
}
