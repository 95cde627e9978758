package engineio

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"example.com/chorus/internal/frame"
)

// The files in testdata are what the official encoders write and what the official decoders make of bodies;
// test/golden makes them.

// goldenPacket is a packet, or a message of a WebSocket, which has no type.
type goldenPacket struct {
	Type string  `json:"type"`
	Text string  `json:"text"`
	Hex  *string `json:"hex"`
}

type goldenPayload struct {
	Name      string         `json:"name"`
	Packets   []goldenPacket `json:"packets"`
	Body      string         `json:"body"`
	Octets    string         `json:"octets"` // a binary body
	Base64    string         `json:"base64"` // the body for a client that asked for base64
	WebSocket []goldenPacket `json:"websocket"`
}

type goldenBody struct {
	Body    string         `json:"body"`
	Octets  string         `json:"octets"`
	Packets []goldenPacket `json:"packets"`
}

type goldenFile struct {
	Payloads     []goldenPayload `json:"payloads"`
	Bodies       []goldenBody    `json:"bodies"`
	BinaryBodies []goldenBody    `json:"binary bodies"`
}

func readGolden(t *testing.T, name string) (f goldenFile) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Payloads) < 10 || len(f.Bodies) < 10 {
		t.Fatalf("%s has %d payloads and %d bodies", name, len(f.Payloads), len(f.Bodies))
	}
	return f
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// body returns the bytes of a textual or binary body, whichever there is.
func (p goldenPayload) body(t *testing.T) (body []byte, octets bool) {
	if p.Octets != "" {
		return unhex(t, p.Octets), true
	}
	return []byte(p.Body), false
}

// decoded returns packets as decodeAll does; ok is false if the last one is an error.
func (p goldenPacket) decoded(t *testing.T) (d decoded, ok bool) {
	types := strings.Fields("open close ping pong message upgrade noop")
	for i, name := range types {
		if p.Type == name {
			d = decoded{kind: '0' + byte(i), data: p.Text}
			if p.Hex != nil {
				d.binary, d.data = true, string(unhex(t, *p.Hex))
			}
			return d, true
		}
	}
	return d, false
}

func allDecoded(t *testing.T, packets []goldenPacket) (all []decoded, ok bool) {
	for _, p := range packets {
		d, ok := p.decoded(t)
		if !ok {
			return all, false
		}
		all = append(all, d)
	}
	return all, true
}

// frames makes one frame of each packet.
func frames(t *testing.T, packets []goldenPacket) (list []*frame.Frame) {
	for _, p := range packets {
		switch d, _ := p.decoded(t); {
		case d.binary:
			list = append(list, frame.Parts(frame.Part{Binary: true, Data: []byte(d.data)}))
		default:
			list = append(list, frame.Packet(string(d.kind)+d.data))
		}
	}
	return list
}

func TestGoldenPayloads(t *testing.T) {
	for file, protocol := range map[string]int{"payload4.json": 4, "payload3.json": 3} {
		f := readGolden(t, file)
		for _, v := range f.Payloads {
			t.Run(file+"/"+v.Name, func(t *testing.T) {
				packets, _ := allDecoded(t, v.Packets)
				body, octets := v.body(t)
				s := &Session{protocol: uint8(protocol)}
				checkPayload(t, s, frames(t, v.Packets), packets, body, octets)
				if protocol == 3 {
					s.base64 = true
					checkPayload(t, s, frames(t, v.Packets), packets, []byte(v.Base64), false)
				}
				for i, f := range frames(t, v.Packets) {
					checkWebSocket(t, protocol, v.WebSocket[i], f, packets[i])
				}
			})
		}
		for _, v := range append(f.Bodies, f.BinaryBodies...) {
			body, octets := goldenPayload{Body: v.Body, Octets: v.Octets}.body(t)
			want, ok := allDecoded(t, v.Packets)
			s := &Session{protocol: uint8(protocol)}
			if got, gotOK := decodeAll(s.packets(bytes.Clone(body), octets), decoderOf(protocol)); gotOK != ok || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: body %q is decoded to %+v, %t, want %+v, %t", file, body, got, gotOK, want, ok)
			}
		}
	}
}

func decoderOf(protocol int) func(bool, []byte) (byte, bool, []byte, bool) {
	if protocol == 3 {
		return decode3
	}
	return decode4
}

func checkPayload(t *testing.T, s *Session, frames []*frame.Frame, packets []decoded, body []byte, octets bool) {
	t.Helper()
	p := s.payload(frames)
	var b bytes.Buffer
	if _, err := p.writeTo(&b); err != nil || !bytes.Equal(b.Bytes(), body) || (p.contentType == octetStream) != octets {
		t.Errorf("encoded %q as %s (%v), want %q", b.Bytes(), p.contentType, err, body)
	}
	if got, ok := decodeAll(s.packets(bytes.Clone(body), octets), decoderOf(s.Protocol())); !ok || !reflect.DeepEqual(got, packets) {
		t.Errorf("%q is decoded to %+v, want %+v", body, got, packets)
	}
}

// checkWebSocket encodes and decodes one packet as a message of a WebSocket.
func checkWebSocket(t *testing.T, protocol int, message goldenPacket, f *frame.Frame, want decoded) {
	t.Helper()
	op, data := byte(0x81), []byte(message.Text)
	if message.Hex != nil {
		op, data = 0x82, unhex(t, *message.Hex)
	}
	wire := []byte{op, byte(len(data))}
	if len(data) > 125 {
		wire = []byte{op, 126, byte(len(data) >> 8), byte(len(data))}
	}
	wire = append(wire, data...)
	if got := f.Encode(&frame.Format{Revision3: protocol == 3}); !bytes.Equal(got, wire) {
		t.Errorf("encoded %x for a WebSocket, want %x", got, wire)
	}
	kind, binary, body, ok := decoderOf(protocol)(message.Hex != nil, data)
	if got := (decoded{kind, binary, string(body)}); !ok || got != want {
		t.Errorf("message %q is decoded to %+v, %t, want %+v", data, got, ok, want)
	}
}
