package redisadapter

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"unicode/utf8"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// checkPacket holds a packet that a peer sent to what clients and applications rely on.
func checkPacket(t *testing.T, p *adapter.Packet, size int) {
	t.Helper()
	if !json.Valid(p.Data) || !utf8.Valid(p.Data) || p.Data[0] != '[' {
		t.Fatalf("decoded %q", p.Data)
	}
	total := len(p.Data)
	for _, a := range p.Attachments {
		total += len(a)
	}
	if limit := 7*size + 500; total > limit {
		t.Fatalf("%d bytes were decoded to %d", size, total)
	}
	if len(p.Attachments) > 0 {
		if err := parser.CheckPlaceholders(p.Data, len(p.Attachments)); err != nil {
			t.Fatalf("decoded %q: %v", p.Data, err)
		}
	}
}

// FuzzDecodeRequest feeds the decoder with what a broken or hostile publisher may send on the channel of requests. What
// it accepts must survive another round, and must never select everybody without saying so.
func FuzzDecodeRequest(f *testing.F) {
	for _, r := range nodeRequests {
		f.Add([]byte(wire(f, r.wire)))
	}
	f.Add([]byte(`{"type":4,"sid":"s"}`))
	f.Add([]byte("\x84\xa4type\x06\xa9requestId\xa1i\xa3uid\xa1u\xa4data\x92\xa1e\xc4\x01\x01"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		_ = isOwn(string(payload), "abcdef") // must not panic
		r, err := decodeRequest(string(payload), parser.Limits{}, "/")
		if err != nil {
			if !errors.Is(err, errMalformed) {
				t.Fatalf("error %v, want one that wraps %v", err, errMalformed)
			}
			return
		}
		m := &r.message
		if r.legacy {
			if len(m.Rooms) != 1 || m.Rooms[0] == "" {
				t.Fatalf("legacy request for the rooms %q", m.Rooms)
			}
			return
		}
		if m.Kind == adapter.Broadcast || m.Kind == adapter.ServerSideEmit {
			checkPacket(t, &m.Packet, len(payload))
		}
		b, err := appendRequest(nil, parser.Limits{}, r.uid, r.id, "/", m)
		if err != nil {
			t.Fatalf("decoded %+v, which cannot be encoded: %v", r, err)
		}
		again, err := decodeRequest(string(b), parser.Limits{}, "/")
		if err != nil {
			t.Fatalf("second round of %+v: %v", r, err)
		}
		if !reflect.DeepEqual(again.message.Packet, m.Packet) || again.message.Kind != m.Kind || again.id != r.id {
			t.Fatalf("second round of %+v is %+v", r, again)
		}
	})
}

// FuzzDecodeResponse feeds the decoder with answers to every kind of request.
func FuzzDecodeResponse(f *testing.F) {
	for _, r := range nodeResponses {
		f.Add([]byte(wire(f, r.wire)))
	}
	kinds := []adapter.Kind{adapter.Fetch, adapter.Count, adapter.ServerSideEmit, adapter.Broadcast}
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, kind := range kinds {
			a, ok, err := decodeResponse(string(payload), parser.Limits{}, func(string) (adapter.Kind, bool) { return kind, true })
			if err != nil {
				if !errors.Is(err, errMalformed) {
					t.Fatalf("error %v, want one that wraps %v", err, errMalformed)
				}
				continue
			}
			if !ok || a.Response == nil || a.Response.Count < 0 {
				t.Fatalf("decoded %+v", a)
			}
			if a.Response.Packet != nil {
				checkPacket(t, a.Response.Packet, len(payload))
			}
			for _, s := range a.Response.Sockets {
				if s.ID == "" || !json.Valid(s.Handshake) || !json.Valid(s.Data) {
					t.Fatalf("decoded the socket %+v", s)
				}
			}
		}
	})
}

// FuzzAnnouncement feeds the decoder of signs of life.
func FuzzAnnouncement(f *testing.F) {
	f.Add([]byte(`{"type":"alive","node":{"uid":"abcdef","name":"one","tag":"a","address":"10.0.0.1:1"},"mode":"pubsub","prefix":"socket.io","number":7}`))
	f.Add([]byte(`{"type":"hello","node":{"uid":"x"}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		a, err := decodeAnnouncement(string(payload))
		if err != nil {
			if !errors.Is(err, errMalformed) {
				t.Fatalf("error %v, want one that wraps %v", err, errMalformed)
			}
			return
		}
		if a.Node.ID == "" || a.Type == "" {
			t.Fatalf("decoded %+v", a)
		}
	})
}
