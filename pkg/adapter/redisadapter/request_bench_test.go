package redisadapter

import (
	"encoding/json"
	"fmt"
	"testing"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// BenchmarkRequest writes and reads the requests of redis-adapter 8.
func BenchmarkRequest(b *testing.B) {
	for _, test := range []struct {
		name    string
		message adapter.Message
	}{
		{"join", adapter.Message{Kind: adapter.Join, Rooms: []string{"general"}, Targets: []string{"other"}}},
		{"fetch", adapter.Message{Kind: adapter.Fetch, Rooms: []string{"general"}}},
		{"server-side-emit", adapter.Message{Kind: adapter.ServerSideEmit, Packet: packet(`["reload",{"what":"rooms","since":1767323045678}]`)}},
		{"broadcast-ack", adapter.Message{Packet: packet(`["chat message","Hello everybody",{"name":"Ada","id":4711}]`), Timeout: 1e9}},
	} {
		var wire []byte
		b.Run("encode/"+test.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if wire, err = appendRequest(wire[:0], parser.Limits{}, "abcdef", "0123456789abcdef", "/", &test.message); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("decode/"+test.name, func(b *testing.B) {
			payload := string(wire)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decodeRequest(payload, parser.Limits{}, "/"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkResponse writes and reads answers: that of one client, and the descriptions of 1000 sockets.
func BenchmarkResponse(b *testing.B) {
	sockets := make([]adapter.Socket, 1000)
	for i := range sockets {
		sockets[i] = adapter.Socket{
			ID: fmt.Sprintf("socket-%013d", i), Rooms: []string{"general", fmt.Sprint("room ", i)},
			Handshake: json.RawMessage(`{"headers":{"host":"localhost:3000","user-agent":"Mozilla/5.0"},"time":"Wed Nov 25 2026","address":"::1","xdomain":false,"secure":false,"issued":1795643170573,"url":"/socket.io/?EIO=4","query":{"EIO":"4"},"auth":{}}`),
			Data:      json.RawMessage(`{"name":"Ada"}`),
		}
	}
	for _, test := range []struct {
		name     string
		to       peerRequest
		response adapter.Response
		kind     adapter.Kind
	}{
		{"ack", peerRequest{id: "0123456789abcdef", typ: typeBroadcast}, adapter.Response{Packet: &adapter.Packet{Data: []byte(`["ok"]`)}}, adapter.Broadcast},
		{"count", peerRequest{id: "0123456789abcdef", typ: typeSockets, message: adapter.Message{Kind: adapter.Count}}, adapter.Response{Count: 7}, adapter.Count},
		{"1000-sockets", peerRequest{id: "0123456789abcdef", typ: typeFetch, message: adapter.Message{Kind: adapter.Fetch}}, adapter.Response{Sockets: sockets}, adapter.Fetch},
	} {
		var wire []byte
		b.Run("encode/"+test.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if wire, err = appendResponse(wire[:0], parser.Limits{}, "abcdef", &test.to, &test.response, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(len(wire)))
		})
		b.Run("decode/"+test.name, func(b *testing.B) {
			payload, wait := string(wire), waitsFor(test.to.id, test.kind)
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				if _, ok, err := decodeResponse(payload, parser.Limits{}, wait); err != nil || !ok {
					b.Fatal(ok, err)
				}
			}
		})
		b.Run("of-another/"+test.name, func(b *testing.B) {
			payload, wait := string(wire), waitsFor("another", test.kind)
			b.ReportAllocs()
			for b.Loop() {
				if _, ok, err := decodeResponse(payload, parser.Limits{}, wait); err != nil || ok {
					b.Fatal(ok, err)
				}
			}
		})
	}
}
