package redisadapter_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"unicode/utf8"

	"example.com/chorus/pkg/adapter/redisadapter"
)

// FuzzDecode feeds the decoder with what a broken or hostile publisher may send. What it accepts must be valid
// JSON in valid UTF-8, of a size bounded by the input, and must survive another round.
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
			// Text that looks like a placeholder beside binary values is the protocol's own ambiguity.
			if len(m.Packet.Attachments) > 0 {
				return
			}
			t.Fatalf("decoded %q, which cannot be encoded: %v", m.Packet.Data, err)
		}
		again, err := redisadapter.DecodeMessage(string(b), "/", everyRoom)
		if err != nil {
			t.Fatalf("second round of %q: %v", m.Packet.Data, err)
		}
		if len(m.Packet.Attachments) == 0 && !sameJSON(m.Packet.Data, again.Packet.Data) {
			t.Fatalf("second round of %q is %q", m.Packet.Data, again.Packet.Data)
		}
	})
}

// FuzzPack sends JSON through MessagePack. What encoding/json calls an array must come back equal in meaning,
// everything else must be refused.
func FuzzPack(f *testing.F) {
	for _, m := range nodeMessages {
		f.Add(m.message.Packet.Data)
	}
	f.Add([]byte(`["a",{"_placeholder":true,"num":0},1e400,-0,0.1,123456789012345678901234567890,"\ud83d\u00e9\ud83c\udf89"]`))
	f.Add([]byte("[\"\xbd\xa0\"]"))
	f.Add([]byte(` [ { "a" : [ ] , "" : [ { } ] } , 1.0 , 1e3 ] `))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := redisadapter.AppendPacked(nil, data, nil)
		trimmed := bytes.TrimLeft(data, " \t\r\n")
		if want := json.Valid(data) && len(trimmed) > 0 && trimmed[0] == '['; want != (err == nil) {
			t.Fatalf("packing %q: error %v, json.Valid says %v", data, err, want)
		}
		if err != nil {
			return
		}
		back, attachments, err := redisadapter.UnpackJSON(b)
		if err != nil || len(attachments) > 0 {
			t.Fatalf("%q was packed to %x, which cannot be unpacked: %v, %d attachments", data, b, err, len(attachments))
		}
		if !sameJSON(data, back) {
			t.Fatalf("%q came back as %q", data, back)
		}
		// Attachments are put in without harm whatever the placeholders are.
		if b, err = redisadapter.AppendPacked(nil, data, [][]byte{{1}, {2, 3}}); err == nil {
			if _, _, err := redisadapter.UnpackJSON(b); err != nil {
				t.Fatalf("%q with attachments was packed to %x: %v", data, b, err)
			}
		}
	})
}

// sameJSON compares as JavaScript would read it: all numbers are float64, too large ones are infinite, which is
// written as null.
func sameJSON(a, b []byte) bool {
	return reflect.DeepEqual(meaning(a), meaning(b))
}

func meaning(text []byte) any {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return err.Error()
	}
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case json.Number:
			f, _ := v.Float64()
			if math.IsInf(f, 0) {
				return nil
			}
			return f + 0 // minus zero is zero
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case map[string]any:
			for k := range v {
				v[k] = walk(v[k])
			}
		}
		return v
	}
	return walk(v)
}
