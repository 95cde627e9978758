package frame_test

import (
	"bytes"
	"compress/flate"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"

	"example.com/chorus/internal/frame"
)

func text(s string) frame.Part { return frame.Part{Data: []byte(s)} }

func octets(b ...byte) frame.Part { return frame.Part{Binary: true, Data: b} }

func TestParts(t *testing.T) {
	long := strings.Repeat("x", 200)
	for name, tc := range map[string]struct {
		parts    []frame.Part
		messages int
		polling  string
		ws       string
		same     *frame.Frame // made in the other way
	}{
		"text":        {[]frame.Part{text("hi")}, 1, "4hi", "\x81\x034hi", frame.Packet("4hi")},
		"empty text":  {[]frame.Part{text("")}, 1, "4", "\x81\x014", frame.Packet("4")},
		"binary":      {[]frame.Part{octets(1, 2, 3)}, 1, "bAQID", "\x82\x03\x01\x02\x03", nil},
		"empty":       {[]frame.Part{octets()}, 1, "b", "\x82\x00", nil},
		"attachments": {[]frame.Part{text("a"), octets(1), octets()}, 3, "4a\x1ebAQ==\x1eb", "\x81\x024a\x82\x01\x01\x82\x00", frame.Text(append(frame.Begin(0), "4a"...), []byte{1}, nil)},
		"mixed":       {[]frame.Part{octets(1), text(long), text("b")}, 3, "bAQ==\x1e4" + long + "\x1e4b", "\x82\x01\x01\x81\x7e\x00\xc94" + long + "\x81\x024b", nil},
		"none":        {nil, 0, "", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := frame.Parts(tc.parts...)
			if got := string(f.WebSocket()); got != tc.ws || f.Size() != len(tc.ws) {
				t.Errorf("WebSocket = %q, size %d, want %q", got, f.Size(), tc.ws)
			}
			if got := string(f.Polling()); got != tc.polling || f.PollingSize() != len(tc.polling) {
				t.Errorf("Polling = %q, size %d, want %q", got, f.PollingSize(), tc.polling)
			}
			if got := f.Messages(); got != tc.messages {
				t.Errorf("Messages = %d, want %d", got, tc.messages)
			}
			if tc.same != nil && !bytes.Equal(f.WebSocket(), tc.same.WebSocket()) {
				t.Errorf("Text makes %q of it", tc.same.WebSocket())
			}
		})
	}
}

func TestPartsAreCopied(t *testing.T) {
	data := []byte{1, 2}
	f := frame.Parts(frame.Part{Data: data}, frame.Part{Binary: true, Data: data})
	data[0] = 9
	if got := string(f.WebSocket()); got != "\x81\x034\x01\x02\x82\x02\x01\x02" {
		t.Errorf("WebSocket = %q", got)
	}
}

// The vectors with text and binary are those that the reference implementation sends.
func TestProtocol3(t *testing.T) {
	event := `51-["b","é",{"_placeholder":true,"num":0}]`
	for name, tc := range map[string]struct {
		f                          *frame.Frame
		text, bin, ws, base64, b64 string // b64 is that of protocol 4
	}{
		"event": {frame.Parts(text(event), octets(1, 2, 0xff)), "43:4" + event + "6:b4AQL/",
			"\x00\x04\x04\xff4" + event + "\x01\x04\xff\x04\x01\x02\xff",
			"\x81\x2c4" + event + "\x82\x04\x04\x01\x02\xff", "\x81\x2c4" + event + "\x81\x06b4AQL/", "\x81\x2c4" + event + "\x81\x05bAQL/"},
		"utf-16": {frame.Parts(text(`2["t","é€😀"]`)), `14:42["t","é€😀"]`, "\x00\x01\x09\xff" + `42["t","é€😀"]`,
			"\x81\x13" + `42["t","é€😀"]`, "\x81\x13" + `42["t","é€😀"]`, "\x81\x13" + `42["t","é€😀"]`},
		"pong":   {frame.Packet("3probe"), "6:3probe", "\x00\x06\xff3probe", "\x81\x063probe", "\x81\x063probe", "\x81\x063probe"},
		"binary": {frame.Parts(octets()), "2:b4", "\x01\x01\xff\x04", "\x82\x01\x04", "\x81\x02b4", "\x81\x01b"},
		"raw":    {frame.Raw([]byte{0x88, 0}), "", "", "\x88\x00", "\x88\x00", "\x88\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			for what, c := range map[string]struct{ got, want string }{
				"Polling3":          {string(tc.f.Polling3()), tc.text},
				"Polling3Binary":    {string(tc.f.Polling3Binary()), tc.bin},
				"WebSocket":         {string(tc.f.Encode(&frame.Format{Revision3: true})), tc.ws},
				"WebSocket, base64": {string(tc.f.Encode(&frame.Format{Revision3: true, Base64: true})), tc.base64},
				"base64":            {string(tc.f.Encode(&frame.Format{Base64: true})), tc.b64},
				"plain":             {string(tc.f.Encode(&frame.Format{})), string(tc.f.WebSocket())},
				"nil":               {string(tc.f.Encode(nil)), string(tc.f.WebSocket())},
			} {
				if c.got != c.want {
					t.Errorf("%s = %q, want %q", what, c.got, c.want)
				}
			}
		})
	}
}

// Frames that share bytes share the views too, and everybody sees the same ones.
func TestViewsAreBuiltOnce(t *testing.T) {
	deflated := &frame.Format{Deflater: frame.NewDeflater(10, flate.BestSpeed, nil)}
	f := frame.Parts(text(strings.Repeat("abc", 100)), octets(1, 2, 3))
	frames := []*frame.Frame{f, f.WithWritten(func() {}), f.WithWritten(func() {}).WithWritten(nil), f.Uncompressed()}
	for name, view := range map[string]func(*frame.Frame) []byte{
		"Polling":        (*frame.Frame).Polling,
		"Polling3":       (*frame.Frame).Polling3,
		"Polling3Binary": (*frame.Frame).Polling3Binary,
		"deflated":       func(f *frame.Frame) []byte { return f.Encode(deflated) },
		"protocol 3":     func(f *frame.Frame) []byte { return f.Encode(&frame.Format{Revision3: true}) },
	} {
		var wg sync.WaitGroup
		got := make([]*byte, 12)
		for i := range got {
			wg.Go(func() { got[i] = &view(frames[i%len(frames)])[0] })
		}
		wg.Wait()
		for i, p := range got {
			uncompressed := name == "deflated" && i%len(frames) == 3
			if (p == got[0]) == uncompressed {
				t.Errorf("%s of frame %d: shared %v", name, i%len(frames), p == got[0])
			}
		}
	}
	if f.Uncompressed().Compressible() || !f.Compressible() || f.Uncompressed().WithWritten(nil).Compressible() {
		t.Error("Compressible is wrong")
	}
}

// inflate reads frames as a client does with which permessage-deflate was negotiated.
func inflate(t *testing.T, wire []byte) (messages []string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := websocket.Upgrader{EnableCompression: true}
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = c.NetConn().Write(wire)
		_, _, _ = c.ReadMessage() // until the client hangs up
	}))
	defer s.Close()
	d := websocket.Dialer{EnableCompression: true}
	c, _, err := d.Dial("ws"+strings.TrimPrefix(s.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for total := 0; total < len(wire); {
		kind, b, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if string(b) == "end" {
			break
		}
		messages = append(messages, string(rune('0'+kind))+string(b))
	}
	return messages
}

func TestDeflate(t *testing.T) {
	noise := make([]byte, 5000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	long := strings.Repeat("chorus ", 20_000)
	end := frame.Raw([]byte("\x81\x03end")).WebSocket()
	for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, flate.BestCompression} {
		d := frame.NewDeflater(100, level, nil)
		for range 2 { // the second time with a used writer
			f := frame.Parts(text(long), octets(1, 2, 3), frame.Part{Binary: true, Data: noise}, text("short"),
				frame.Part{Binary: true, Data: bytes.Repeat([]byte{7}, 300)})
			wire := f.Encode(&frame.Format{Deflater: d})
			want := []string{"14" + long, "2\x01\x02\x03", "2" + string(noise), "14short", "2" + strings.Repeat("\x07", 300)}
			got := inflate(t, append(bytes.Clone(wire), end...))
			if len(got) != len(want) {
				t.Fatalf("level %d: %d messages, want %d", level, len(got), len(want))
			}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("level %d: message %d has %d bytes, want %d", level, i, len(got[i]), len(want[i]))
				}
			}
			if level > 0 && len(wire) > len(noise)+len(long)/20 {
				t.Errorf("level %d: %d bytes, of %d", level, len(wire), f.Size())
			}
		}
	}
	d := &frame.Format{Revision3: true, Deflater: frame.NewDeflater(100, flate.BestSpeed, nil)}
	zeros := frame.Parts(frame.Part{Binary: true, Data: make([]byte, 1000)})
	if got := inflate(t, append(bytes.Clone(zeros.Encode(d)), end...)); len(got) != 1 || got[0] != "2\x04"+strings.Repeat("\x00", 1000) {
		t.Errorf("protocol 3: %q", got)
	}
}

func TestDeflateLeavesAlone(t *testing.T) {
	long := text(strings.Repeat("x", 2000))
	for name, tc := range map[string]struct {
		f      *frame.Frame
		format frame.Format
	}{
		"below the threshold": {frame.Parts(text(strings.Repeat("x", 999))), frame.Format{}},
		"uncompressed":        {frame.Parts(long).Uncompressed(), frame.Format{}},
		"base64":              {frame.Parts(long), frame.Format{Base64: true}},
		"raw":                 {frame.Raw(make([]byte, 2000)), frame.Format{}},
	} {
		tc.format.Deflater = frame.NewDeflater(1001, flate.BestSpeed, nil)
		if got := tc.f.Encode(&tc.format); !bytes.Equal(got, tc.f.WebSocket()) {
			t.Errorf("%s: %d bytes of %d", name, len(got), tc.f.Size())
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("level 10 was accepted")
		}
	}()
	frame.NewDeflater(0, 10, nil)
}

func TestPlainFramesAllocateNothingMore(t *testing.T) {
	packet := strings.Repeat("x", 100)
	if n := testing.AllocsPerRun(100, func() {
		_ = frame.Text(append(append(frame.Begin(len(packet)+1), '4'), packet...))
	}); n > 2 {
		t.Errorf("Text: %v allocations, want the buffer and the frame", n)
	}
	f := frame.Packet("4" + packet)
	format := &frame.Format{Deflater: frame.NewDeflater(10, flate.BestSpeed, nil)}
	f.Encode(format)
	f.Polling3()
	if n := testing.AllocsPerRun(100, func() {
		_, _, _, _, _ = f.Encode(nil), f.Encode(format), f.Polling(), f.Polling3(), f.Messages()
	}); n != 0 {
		t.Errorf("views that exist: %v allocations, want 0", n)
	}
}

// FuzzParts lays out messages in every format and reads them back as a client does.
func FuzzParts(f *testing.F) {
	f.Add("hello", []byte{1, 2, 3}, true)
	f.Add(strings.Repeat("é€😀", 100), make([]byte, 300), false)
	d := frame.NewDeflater(20, flate.BestSpeed, nil)
	f.Fuzz(func(t *testing.T, s string, b []byte, binaryFirst bool) {
		parts := []frame.Part{text(s), {Binary: true, Data: b}}
		if binaryFirst {
			parts[0], parts[1] = parts[1], parts[0]
		}
		fr := frame.Parts(parts...)
		for _, format := range []*frame.Format{nil, {Revision3: true}, {Deflater: d}, {Revision3: true, Deflater: d}} {
			wire := fr.Encode(format)
			for _, p := range parts {
				want := append([]byte("4"), p.Data...)
				if p.Binary && format != nil && format.Revision3 {
					want[0] = 4
				} else if p.Binary {
					want = want[1:]
				}
				var got []byte
				if got, wire = readMessage(t, wire); !bytes.Equal(got, want) {
					t.Fatalf("%+v: %q, want %q", format, got, want)
				}
			}
			if len(wire) > 0 {
				t.Fatalf("%+v: %q is left", format, wire)
			}
		}
	})
}

// readMessage takes one message from frames.
func readMessage(t *testing.T, wire []byte) (message, rest []byte) {
	t.Helper()
	if len(wire) < 2 {
		t.Fatalf("the frames end with %q", wire)
	}
	head, n := wire[0], int(wire[1])
	wire = wire[2:]
	switch n {
	case 126:
		n, wire = int(wire[0])<<8|int(wire[1]), wire[2:]
	case 127:
		t.Fatal("the fuzzer made 64 KiB")
	}
	message, rest = wire[:n], wire[n:]
	if head&0x40 != 0 {
		z := flate.NewReader(io.MultiReader(bytes.NewReader(message), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
		var err error
		if message, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	return message, rest
}
