package redisadapter

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"example.com/chorus/internal/cluster"
	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

const nodeSocket = `{"id":"47bWq644UBqkuqitAAAA","handshake":{"time":"Wed Nov 25 2026","auth":{}},"rooms":["47bWq644UBqkuqitAAAA","r"],"data":{"name":"Ada"}}`

func describedSocket() adapter.Socket {
	return adapter.Socket{
		ID: "47bWq644UBqkuqitAAAA", Handshake: json.RawMessage(`{"time":"Wed Nov 25 2026","auth":{}}`),
		Rooms: []string{"47bWq644UBqkuqitAAAA", "r"}, Data: json.RawMessage(`{"name":"Ada"}`),
	}
}

// nodeResponses were captured from redis-adapter 8.3 with socket.io 4.8.4; the handshake is shortened.
var nodeResponses = []struct {
	name   string
	wire   string
	kind   adapter.Kind // of the request
	id     string
	answer adapter.Response
	ack    bool
	oneWay bool // Chorus writes it differently
	typ    requestType
}{
	{
		name: "sockets", wire: `{"requestId":"UFXnti","sockets":[` + nodeSocket + `]}`, kind: adapter.Fetch, typ: typeFetch,
		id: "UFXnti", answer: adapter.Response{Sockets: []adapter.Socket{describedSocket()}},
	}, {
		name: "no sockets", wire: `{"requestId":"UFXnti","sockets":[]}`, kind: adapter.Fetch, typ: typeFetch,
		id: "UFXnti", answer: adapter.Response{Sockets: []adapter.Socket{}},
	}, {
		name: "ids", wire: `{"requestId":"UFXnti","sockets":["a","b"]}`, kind: adapter.Count, oneWay: true,
		id: "UFXnti", answer: adapter.Response{Count: 2},
	}, {
		name: "sockets to be counted", wire: `{"requestId":"UFXnti","sockets":[` + nodeSocket + `]}`, kind: adapter.Count, oneWay: true,
		id: "UFXnti", answer: adapter.Response{Count: 1},
	}, {
		name: "server-side emit", wire: `{"type":6,"requestId":"8TMYDq","data":"pong"}`, kind: adapter.ServerSideEmit, typ: typeServerSideEmit,
		id: "8TMYDq", answer: adapter.Response{Packet: &adapter.Packet{Data: []byte(`["pong"]`)}},
	}, {
		name: "server-side emit, binary", wire: `{"type":6,"requestId":"8TMYDq","data":{"type":"Buffer","data":[9,8]}}`,
		kind: adapter.ServerSideEmit, oneWay: true, id: "8TMYDq",
		answer: adapter.Response{Packet: &adapter.Packet{Data: []byte(`[{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{9, 8}}}},
	}, {
		name: "server-side emit without value", wire: `{"type":6,"requestId":"9Ebtaj"}`, kind: adapter.ServerSideEmit, typ: typeServerSideEmit,
		id: "9Ebtaj", answer: adapter.Response{Packet: &adapter.Packet{Data: []byte(`[]`)}},
	}, {
		name: "clients", wire: `{"type":8,"requestId":"oco_ww","clientCount":1}`, kind: adapter.Broadcast, typ: typeBroadcast,
		id: "oco_ww", answer: adapter.Response{Count: 1},
	}, {
		name: "ack", wire: "83a47479706509a9726571756573744964a66f636f5f7777a67061636b6574a472657370", kind: adapter.Broadcast, ack: true, typ: typeBroadcast,
		id: "oco_ww", answer: adapter.Response{Packet: &adapter.Packet{Data: []byte(`["resp"]`)}},
	}, {
		name: "ack, binary", wire: "83a47479706509a9726571756573744964a6694e6e50624fa67061636b6574c4020102", kind: adapter.Broadcast, ack: true, typ: typeBroadcast,
		id: "iNnPbO", answer: adapter.Response{Packet: &adapter.Packet{Data: []byte(`[{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{1, 2}}}},
	}, {
		name: "ack without value", wire: "82a47479706509a9726571756573744964a6616b56386831", kind: adapter.Broadcast, ack: true, typ: typeBroadcast,
		id: "akV8h1", answer: adapter.Response{Packet: &adapter.Packet{Data: []byte(`[]`)}},
	},
}

// waitsFor is a node that waits for one answer.
func waitsFor(id string, kind adapter.Kind) asked {
	return func(got string) (adapter.Kind, bool) { return kind, got == id }
}

func TestNodeResponses(t *testing.T) {
	for _, test := range nodeResponses {
		t.Run(test.name, func(t *testing.T) {
			payload := wire(t, test.wire)
			got, ok, err := decodeResponse(payload, parser.Limits{}, waitsFor(test.id, test.kind))
			want := cluster.Answer{Request: test.id, Response: &test.answer, Ack: test.ack}
			if err != nil || !ok || !reflect.DeepEqual(got, want) {
				t.Errorf("decodeResponse = %+v, %v, %v, want %+v", got, ok, err, want)
			}
			if _, ok, err := decodeResponse(payload, parser.Limits{}, waitsFor("other", test.kind)); ok || err != nil {
				t.Errorf("decodeResponse of the answer to another = %v, %v", ok, err)
			}
			if test.oneWay {
				return
			}
			to := &peerRequest{id: test.id, typ: test.typ, message: adapter.Message{Kind: test.kind}}
			b, err := appendResponse(nil, parser.Limits{}, "abcdef", to, &test.answer, nil)
			if err != nil {
				t.Fatal(err)
			}
			if again := withoutNode(t, string(b)); again != payload {
				t.Errorf("appendResponse without the node = %q, want %q", again, payload)
			}
			want.From = "abcdef"
			if got, ok, err := decodeResponse(string(b), parser.Limits{}, waitsFor(test.id, test.kind)); err != nil || !ok || !reflect.DeepEqual(got, want) {
				t.Errorf("second round = %+v, %v, %v, want %+v", got, ok, err, want)
			}
		})
	}
}

// withoutNode takes the uid of who answers out, which Node does not send.
func withoutNode(t *testing.T, payload string) string {
	t.Helper()
	if payload[0] == '{' {
		rest, ok := strings.CutSuffix(payload, `,"node":"abcdef"}`)
		if !ok {
			t.Fatalf("answer %q without node", payload)
		}
		return rest + "}"
	}
	rest, ok := strings.CutSuffix(payload, "\xa4node\xa6abcdef")
	if !ok {
		t.Fatalf("answer %q without node", payload)
	}
	return string([]byte{rest[0] - 1}) + rest[1:]
}

func TestOtherResponses(t *testing.T) {
	for _, test := range []struct {
		name     string
		to       peerRequest
		response adapter.Response
		rooms    []string
		want     string
	}{
		{"all rooms", peerRequest{id: "i", typ: typeAllRooms}, adapter.Response{}, []string{"a", "b"}, `{"requestId":"i","rooms":["a","b"],"node":"u"}`},
		{"legacy", peerRequest{id: "i", typ: typeJoin, legacy: true}, adapter.Response{}, nil, `{"requestId":"i","node":"u"}`},
		{
			"ids", peerRequest{id: "i", typ: typeSockets, message: adapter.Message{Kind: adapter.Fetch}},
			adapter.Response{Sockets: []adapter.Socket{{ID: "a"}, {ID: "b"}}}, nil, `{"requestId":"i","sockets":["a","b"],"node":"u"}`,
		},
		{
			"count", peerRequest{id: "i", typ: typeSockets, message: adapter.Message{Kind: adapter.Count}},
			adapter.Response{Count: 7}, nil, `{"requestId":"i","count":7,"node":"u"}`,
		},
		{
			"bare socket", peerRequest{id: "i", typ: typeFetch, message: adapter.Message{Kind: adapter.Fetch}},
			adapter.Response{Sockets: []adapter.Socket{{ID: "a"}}}, nil,
			`{"requestId":"i","sockets":[{"id":"a","handshake":{},"rooms":[],"data":{}}],"node":"u"}`,
		},
		{
			"first of several values", peerRequest{id: "i", typ: typeServerSideEmit},
			adapter.Response{Packet: &adapter.Packet{Data: []byte(` [ {"a":[1,2]} , 2]`)}}, nil,
			`{"type":6,"requestId":"i","data":{"a":[1,2]},"node":"u"}`,
		},
		{
			"binary value", peerRequest{id: "i", typ: typeServerSideEmit},
			adapter.Response{Packet: &adapter.Packet{Data: []byte(`[{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{1}, {2}}}}, nil,
			"84a47479706506a9726571756573744964a169a464617461c40102a46e6f6465a175",
		},
	} {
		b, err := appendResponse(nil, parser.Limits{}, "u", &test.to, &test.response, test.rooms)
		if err != nil || string(b) != wire(t, test.want) {
			t.Errorf("%s: appendResponse = %q (%s), %v, want %q", test.name, b, hex.EncodeToString(b), err, test.want)
		}
	}
}

func TestMalformedResponses(t *testing.T) {
	for _, test := range []struct {
		payload string
		kind    adapter.Kind
	}{
		{"", adapter.Fetch},
		{"null", adapter.Fetch},
		{"\xc1", adapter.Fetch},
		{`{"requestId":"i"`, adapter.Fetch},
		{`{"requestId":"i"}`, adapter.Fetch},
		{`{"requestId":"i","sockets":null}`, adapter.Fetch},
		{`{"requestId":"i","sockets":["a"]}`, adapter.Fetch},
		{`{"requestId":"i","sockets":[{}]}`, adapter.Fetch},
		{`{"requestId":"i","sockets":7}`, adapter.Count},
		{`{"requestId":"i","count":-1}`, adapter.Count},
		{`{"requestId":"i","type":8}`, adapter.Broadcast},
		{`{"requestId":"i","type":8,"clientCount":1e99}`, adapter.Broadcast},
		{`{"requestId":"i","type":8,"clientCount":-5}`, adapter.Broadcast},
		{`{"requestId":"i","type":6,"data":1}`, adapter.Broadcast},
		{`{"requestId":"i","requestId":"j","type":6}`, adapter.ServerSideEmit},
		{"{\"requestId\":\"i\",\"type\":6,\"data\":\"\xff\"}", adapter.ServerSideEmit},
		{"\x83\xa9requestId\xa1i\xa4type\x09\xa6packet\xc1", adapter.Broadcast},
		{"\x83\xa9requestId\xa1i\xa4type\x09\xa6packet", adapter.Broadcast},
	} {
		a, _, err := decodeResponse(test.payload, parser.Limits{}, waitsFor("i", test.kind))
		if !errors.Is(err, errMalformed) {
			t.Errorf("decodeResponse(%q) = %+v, %v, want %v", test.payload, a, err, errMalformed)
		}
	}
}
