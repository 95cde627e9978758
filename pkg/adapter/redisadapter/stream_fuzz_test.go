package redisadapter_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"

	"example.com/chorus/pkg/adapter/redisadapter"
)

// FuzzDecodeEntry reads entries that anybody may have added. What is accepted is valid, bounded by what came, and
// survives another round.
func FuzzDecodeEntry(f *testing.F) {
	for _, v := range readStreamVectors(f, "streams.json").Entries {
		f.Add("1-1", v["uid"], v["nsp"], v["type"], v["data"], "1", "2")
	}
	f.Add("1", "emitter", "/", "9", `{"packet":["x"]}`, "-1", "x")
	f.Fuzz(func(t *testing.T, id, uid, nsp, typ, data, sent, number string) {
		m, namespace, err := redisadapter.DecodeEntry(id, map[string]any{
			"uid": uid, "nsp": nsp, "type": typ, "data": data, "t": sent, "n": number,
		})
		if err != nil || m == nil {
			return
		}
		size := 0
		if p := m.Packet; len(p.Data) > 0 {
			if !json.Valid(p.Data) || !utf8.Valid(p.Data) {
				t.Fatalf("decoded %q", p.Data)
			}
			size = len(p.Data)
			for _, a := range p.Attachments {
				size += len(a)
			}
		}
		if limit := 6*len(data) + 400; size > limit {
			t.Fatalf("%d bytes were decoded to %d", len(data), size)
		}
		if _, err := redisadapter.EntryValues(m, uid, namespace); err != nil {
			t.Fatalf("decoded %+v, which cannot be encoded: %v", m, err)
		}
	})
}

// FuzzDecodeSession reads session values that anybody may have set.
func FuzzDecodeSession(f *testing.F) {
	for _, v := range readStreamVectors(f, "streams.json").Sessions {
		f.Add(v.Value)
	}
	f.Add("hKNzaWQ=")
	f.Fuzz(func(t *testing.T, value string) {
		s, err := redisadapter.DecodeSession(value)
		if err != nil {
			return
		}
		if len(s.Data) > 0 && (!json.Valid(s.Data) || s.Data[0] != '{') {
			t.Fatalf("data is %q", s.Data)
		}
		if size := len(s.Data); size > 6*len(value)+400 {
			t.Fatalf("%d bytes were decoded to %d", len(value), size)
		}
		again, err := redisadapter.AppendSession(s)
		if err != nil {
			t.Fatalf("decoded %+v, which cannot be encoded: %v", s, err)
		}
		second, err := redisadapter.DecodeSession(again)
		if err != nil {
			t.Fatalf("second round of %+v: %v", s, err)
		}
		if len(s.Data) == 0 {
			s.Data = []byte("{}")
		}
		if second.SID != s.SID || second.PID != s.PID || !reflect.DeepEqual(second.Rooms, s.Rooms) || string(second.Data) != string(s.Data) {
			t.Fatalf("second round of %+v is %+v", s, second)
		}
	})
}
