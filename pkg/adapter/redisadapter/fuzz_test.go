package redisadapter_test

import (
	"encoding/hex"
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"

	"example.com/chorus/pkg/adapter/redisadapter"
)

// FuzzDecode feeds the decoder with what a broken or hostile publisher may send. What it accepts must be valid
// JSON in valid UTF-8, of a size bounded by the input, and must survive another round unchanged.
func FuzzDecode(f *testing.F) {
	for _, m := range nodeMessages {
		b, _ := hex.DecodeString(m.hex)
		f.Add(b)
	}
	f.Add([]byte("\x94\xa1a\x81\xa4data\x91\xa1x\x80\x81\xa1t\x01"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := redisadapter.DecodeMessage(string(payload), "/", everyRoom)
		if err != nil || m == nil {
			return
		}
		if !json.Valid(m.Packet.Data) || !utf8.Valid(m.Packet.Data) {
			t.Fatalf("decoded %q", m.Packet.Data)
		}
		size := len(m.Packet.Data)
		for _, a := range m.Packet.Attachments {
			size += len(a)
		}
		// The largest growth is a control character (1 byte to 6) and a placeholder (2 bytes to 29, at most 10).
		if limit := 6*len(payload) + 300; size > limit {
			t.Fatalf("%d bytes were decoded to %d", len(payload), size)
		}
		b, err := redisadapter.AppendMessage(nil, nodeUID, "/", m)
		if err != nil {
			t.Fatalf("decoded %q, which cannot be encoded: %v", m.Packet.Data, err)
		}
		again, err := redisadapter.DecodeMessage(string(b), "/", everyRoom)
		if err != nil {
			t.Fatalf("second round of %q: %v", m.Packet.Data, err)
		}
		if !reflect.DeepEqual(again.Packet, m.Packet) {
			t.Fatalf("second round of %q is %q", m.Packet, again.Packet)
		}
	})
}
