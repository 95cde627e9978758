package engineio

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"example.com/chorus/internal/frame"
)

func TestOffersDeflate(t *testing.T) {
	for offer, want := range map[string]bool{
		"":                   false,
		"permessage-deflate": true,
		"permessage-deflate; client_max_window_bits":                                  true,
		"permessage-deflate; client_max_window_bits=10; client_no_context_takeover":   true,
		"permessage-deflate; server_max_window_bits=10":                               false,
		"permessage-deflate;server_no_context_takeover;server_max_window_bits=\"15\"": false,
		"permessage-deflate; server_max_window_bits=10, permessage-deflate":           true,
		"x-webkit-deflate-frame":                                                     false,
		"x-permessage-deflate, permessage-deflate":                                   true,
		"permessage-deflate; client_max_window_bits=\"9\"":                           true,
		"permessage-deflate; client_max_window_bits=7":                               false,
		"permessage-deflate; client_max_window_bits=08":                              false,
		"permessage-deflate; server_no_context_takeover=1":                           false,
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover": false,
		"permessage-deflate; unknown":                                                false,
		"permessage-deflate;":                                                        false,
		"permessage-deflate x":                                                       false,
		"Permessage-Deflate":                                                         false,
	} {
		if got := offersDeflate(http.Header{"Sec-Websocket-Extensions": {offer}}); got != want {
			t.Errorf("offersDeflate(%q) = %v, want %v", offer, got, want)
		}
	}
}

// dialDeflate opens a session whose client offers permessage-deflate.
func dialDeflate(t *testing.T, e *engine, url string) (*websocket.Conn, *client, string) {
	t.Helper()
	d := websocket.Dialer{EnableCompression: true}
	ws, res, err := d.Dial("ws"+strings.TrimPrefix(url, "http")+"/engine.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	parseOpen(t, read(t, ws))
	return ws, <-e.clients, res.Header.Get("Sec-Websocket-Extensions")
}

func TestPerMessageDeflate(t *testing.T) {
	e := newEngine(t, func(o *Options) { o.PerMessageDeflate = &Deflate{} })
	url := e.server(t).URL
	ws, c, extensions := dialDeflate(t, e, url)
	if extensions != "permessage-deflate; server_no_context_takeover; client_no_context_takeover" {
		t.Errorf("extensions = %q", extensions)
	}
	plain, d := openWS(t, e, url) // did not offer it
	long := strings.Repeat("chorus ", 10_000)
	f := frame.Parts(frame.Part{Data: []byte(long)}, frame.Part{Binary: true, Data: make([]byte, 5000)}, frame.Part{Data: []byte("short")})
	before := e.Stats().BytesOut[webSocket]
	if err := c.session.Send(f, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"4" + long, string(make([]byte, 5000)), "4short"} {
		if got := read(t, ws); got != want {
			t.Fatalf("read %d bytes, want %d", len(got), len(want))
		}
	}
	if n := e.Stats().BytesOut[webSocket] - before; n > 2000 {
		t.Errorf("%d bytes were written", n)
	}
	_ = c.session.Send(f.Uncompressed(), false)
	for range 3 {
		read(t, ws)
	}
	waitUntil(t, func() bool { return e.Stats().BytesOut[webSocket]-before > 75_000 })
	_ = d.session.Send(f, false)
	if got := read(t, plain); got != "4"+long {
		t.Errorf("plain: %d bytes", len(got))
	}

	for _, m := range []string{long, "short", ""} {
		ws.EnableWriteCompression(m != "short")
		write(t, ws, "4"+m)
	}
	for range 3 {
		<-c.came
	}
	if got := c.messages(); got[0] != long || got[1] != "short" || got[2] != "" {
		t.Errorf("got %d messages", len(got))
	}
}

// What is sent compressed is what the answer agreed upon, whatever surrounds the offer.
func TestDeflateIsAgreedUpon(t *testing.T) {
	e := newEngine(t, func(o *Options) { o.PerMessageDeflate = &Deflate{Threshold: 1} })
	s := e.server(t)
	for offer, want := range map[string]bool{"permessage-deflate": true, "foo bar, permessage-deflate": true, "permessage-deflate;=1": false, "permessage-deflate;": false} {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n%s\r\nSec-WebSocket-Extensions: %s\r\n\r\n",
			strings.Join(upgradeHeaders, "\r\n"), offer)
		r := bufio.NewReader(conn)
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != 101 {
			t.Fatalf("%q: %v %v", offer, res, err)
		}
		agreed := res.Header.Get("Sec-Websocket-Extensions") != ""
		first, err := r.ReadByte()
		if err != nil {
			t.Fatal(err)
		}
		if compressed := first&0x40 != 0; agreed != want || compressed != want {
			t.Errorf("%q: agreed %v, compressed %v, want %v", offer, agreed, compressed, want)
		}
	}
}

// An offer is taken up only when compression is on.
func TestDeflateIsOffByDefault(t *testing.T) {
	e := newEngine(t, nil)
	if _, _, extensions := dialDeflate(t, e, e.server(t).URL); extensions != "" {
		t.Errorf("extensions = %q", extensions)
	}
}

// Over an upgrade the candidate's offer counts.
func TestUpgradeToDeflate(t *testing.T) {
	e := newEngine(t, func(o *Options) { o.PerMessageDeflate = &Deflate{Threshold: 10} })
	url, c := openPolling(t, e, e.server(t).URL)
	d := websocket.Dialer{EnableCompression: true}
	ws, _, err := d.Dial("ws"+strings.TrimPrefix(strings.Replace(url, "polling", "websocket", 1), "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	long := strings.Repeat("x", 100_000)
	_ = c.session.Send(text(long), false)
	write(t, ws, "5")
	if got := read(t, ws); got != "4"+long {
		t.Errorf("read %d bytes", len(got))
	}
	if n := e.Stats().BytesOut[webSocket]; n > 5000 {
		t.Errorf("%d bytes were written", n)
	}
}

// masked is a client's frame with the mask 0.
func masked(head byte, payload []byte) []byte {
	b := []byte{head, 0x80 | 127}
	b = binary.BigEndian.AppendUint64(b, uint64(len(payload)))
	return append(append(b, 0, 0, 0, 0), payload...)
}

func deflated(data []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = w.Write(data)
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

func TestHostileDeflate(t *testing.T) {
	const limit = 100_000
	e := newEngine(t, func(o *Options) { o.PerMessageDeflate, o.MaxPayload = &Deflate{}, limit })
	url := e.server(t).URL
	other, survivor, _ := dialDeflate(t, e, url)
	bomb := deflated(make([]byte, 50<<20)) // 50 MB of zeros in 51 kB
	if len(bomb) > limit {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	for name, tc := range map[string]struct {
		wire []byte
		code int
		got  int // bytes of the message that arrived, 0: none
	}{
		"bomb":              {masked(0xc1, bomb), websocket.CloseMessageTooBig, 0},
		"binary bomb":       {masked(0xc2, bomb), websocket.CloseMessageTooBig, 0},
		"fragmented bomb":   {append(masked(0x42, bomb[:20_000]), masked(0x80, bomb[20_000:])...), websocket.CloseMessageTooBig, 0},
		"one byte too much": {masked(0xc1, deflated([]byte("4"+strings.Repeat("x", limit)))), websocket.CloseMessageTooBig, 0},
		"just fits":         {masked(0xc1, deflated([]byte("4"+strings.Repeat("x", limit-1)))), 0, limit - 1},
		"corrupt":           {masked(0xc1, []byte{0xff, 0xff, 0xff, 0xff}), websocket.CloseInvalidFramePayloadData, 0},
		"reserved block":    {masked(0xc2, []byte{0x07}), websocket.CloseInvalidFramePayloadData, 0},
		"truncated":         {masked(0xc2, deflated(make([]byte, 1000))[:3]), websocket.CloseInvalidFramePayloadData, 0},
		"not UTF-8":         {masked(0xc1, deflated([]byte("4\xff"))), websocket.CloseInvalidFramePayloadData, 0},
		"large on the wire": {masked(0xc1, make([]byte, limit+1)), websocket.CloseMessageTooBig, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ws, c, _ := dialDeflate(t, e, url)
			var m0, m1 runtime.MemStats
			runtime.ReadMemStats(&m0)
			if _, err := ws.NetConn().Write(tc.wire); err != nil {
				t.Fatal(err)
			}
			if tc.got > 0 {
				<-c.came
				if got := c.messages(); len(got[0]) != tc.got {
					t.Errorf("message has %d bytes, want %d", len(got[0]), tc.got)
				}
				return
			}
			_ = ws.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, b, err := ws.ReadMessage(); !websocket.IsCloseError(err, tc.code) {
				t.Errorf("read %d bytes, %v, want close %d", len(b), err, tc.code)
			}
			if got := <-c.closed; got.reason != TransportError {
				t.Errorf("closed as %+v", got)
			}
			runtime.ReadMemStats(&m1)
			if n := m1.TotalAlloc - m0.TotalAlloc; n > 20*limit {
				t.Errorf("%d bytes were allocated", n)
			}
		})
	}
	write(t, other, "4alive")
	<-survivor.came
}

// A peer that disappears in the middle of a compressed message has not sent anything wrong.
func TestDeflateBrokenOff(t *testing.T) {
	e := newEngine(t, func(o *Options) { o.PerMessageDeflate = &Deflate{} })
	ws, c, _ := dialDeflate(t, e, e.server(t).URL)
	wire := masked(0xc2, deflated([]byte(strings.Repeat("abcdefghij", 100))))
	_, _ = ws.NetConn().Write(wire[:len(wire)-3])
	_ = ws.NetConn().Close()
	if got := <-c.closed; got.reason != TransportClose {
		t.Errorf("closed as %q: %v", got.reason, got.detail)
	}
}

// BenchmarkDeflatedBroadcast shows that a frame is compressed once, not once per receiver.
func BenchmarkDeflatedBroadcast(b *testing.B) {
	format := &frame.Format{Deflater: frame.NewDeflater(10, flate.BestSpeed, nil)}
	data := strings.Repeat(`{"from":"a","text":"hello"},`, 100)
	b.ReportAllocs()
	for b.Loop() {
		f := text(data)
		for range 1000 {
			_, _ = io.Discard.Write(f.Encode(format))
		}
	}
}
