package redisadapter

import (
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// wire returns the bytes of a golden text: JSON as it is, everything else in hexadecimal.
func wire(t testing.TB, text string) string {
	t.Helper()
	if strings.HasPrefix(text, "{") {
		return text
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func packet(data string, attachments ...[]byte) adapter.Packet {
	return adapter.Packet{Data: []byte(data), Attachments: attachments}
}

// nodeRequests were captured from redis-adapter 8.3 with socket.io 4.8.4 and from redis-emitter 5.1, but for those that
// are marked made: the forms of older adapters, made by their source.
var nodeRequests = []struct {
	name    string
	wire    string
	request peerRequest
	oneWay  bool // Chorus writes it differently, or not at all
}{
	{
		name: "join", wire: `{"uid":"T1nvpl","type":2,"opts":{"rooms":["r1"],"except":["x"]},"rooms":["z1","z2"]}`,
		request: peerRequest{uid: "T1nvpl", typ: typeJoin, message: adapter.Message{
			Kind: adapter.Join, Rooms: []string{"r1"}, Except: []string{"x"}, Targets: []string{"z1", "z2"},
		}},
	}, {
		name: "leave", wire: `{"uid":"T1nvpl","type":3,"opts":{"rooms":["r1"],"except":[]},"rooms":["z1"]}`,
		request: peerRequest{uid: "T1nvpl", typ: typeLeave, message: adapter.Message{
			Kind: adapter.Leave, Rooms: []string{"r1"}, Targets: []string{"z1"},
		}},
	}, {
		name: "disconnect", wire: `{"uid":"T1nvpl","type":4,"opts":{"rooms":["r1"],"except":[]},"close":true}`,
		request: peerRequest{uid: "T1nvpl", typ: typeDisconnect, message: adapter.Message{
			Kind: adapter.Disconnect, Rooms: []string{"r1"}, Close: true,
		}},
	}, {
		name: "fetch", wire: `{"uid":"T1nvpl","requestId":"UFXnti","type":5,"opts":{"rooms":[],"except":[]}}`,
		request: peerRequest{uid: "T1nvpl", id: "UFXnti", typ: typeFetch, message: adapter.Message{Kind: adapter.Fetch}},
	}, {
		name: "all rooms", wire: `{"uid":"T1nvpl","requestId":"1RkimH","type":1}`, oneWay: true,
		request: peerRequest{uid: "T1nvpl", id: "1RkimH", typ: typeAllRooms, message: adapter.Message{Kind: adapter.Fetch}},
	}, {
		name: "sockets, made", wire: `{"requestId":"1RkimH","type":0,"rooms":["a",7]}`, oneWay: true,
		request: peerRequest{id: "1RkimH", typ: typeSockets, message: adapter.Message{Kind: adapter.Fetch, Rooms: []string{"a", "7"}}},
	}, {
		name: "server-side emit", wire: `{"uid":"r4lOjh","type":6,"data":["sse",2,"x"]}`,
		request: peerRequest{uid: "r4lOjh", typ: typeServerSideEmit, message: adapter.Message{
			Kind: adapter.ServerSideEmit, Packet: packet(`["sse",2,"x"]`),
		}},
	}, {
		name: "server-side emit with ack", wire: `{"uid":"r4lOjh","requestId":"8TMYDq","type":6,"data":["sse",2]}`,
		request: peerRequest{uid: "r4lOjh", id: "8TMYDq", typ: typeServerSideEmit, message: adapter.Message{
			Kind: adapter.ServerSideEmit, Packet: packet(`["sse",2]`),
		}},
	}, {
		name:   "server-side emit, binary",
		wire:   `{"uid":"r4lOjh","type":6,"data":["sse",{"type":"Buffer","data":[1,2,255]},{"b":{"type":"Buffer","data":[]}}]}`,
		oneWay: true,
		request: peerRequest{uid: "r4lOjh", typ: typeServerSideEmit, message: adapter.Message{
			Kind:   adapter.ServerSideEmit,
			Packet: packet(`["sse",{"_placeholder":true,"num":0},{"b":{"_placeholder":true,"num":1}}]`, []byte{1, 2, 255}, []byte{}),
		}},
	}, {
		name: "broadcast with ack",
		wire: "85a3756964a672346c4f6a68a9726571756573744964a66f636f5f7777a47479706507a67061636b657483a47479706502a46461746192a17101a36e7370a12fa46f70747383a5726f6f6d7390a665786365707490a5666c61677381a774696d656f7574cd01f4",
		request: peerRequest{uid: "r4lOjh", id: "oco_ww", typ: typeBroadcast, message: adapter.Message{
			Packet: packet(`["q",1]`), Timeout: 500 * time.Millisecond,
		}},
	}, {
		name: "broadcast with ack, rooms and flags",
		wire: "85a3756964a672346c4f6a68a9726571756573744964a6664d4669775aa47479706507a67061636b657483a47479706502a46461746192a17101a36e7370a12fa46f70747383a5726f6f6d7391a66e6f626f6479a665786365707491a165a5666c61677383a8766f6c6174696c65c3a8636f6d7072657373c2a774696d656f7574cd01f4",
		request: peerRequest{uid: "r4lOjh", id: "fMFiwZ", typ: typeBroadcast, message: adapter.Message{
			Packet: packet(`["q",1]`), Timeout: 500 * time.Millisecond, Rooms: []string{"nobody"}, Except: []string{"e"},
			Flags: adapter.Flags{Volatile: true, Uncompressed: true},
		}},
	}, {
		name: "broadcast with ack, binary",
		wire: "85a3756964a672346c4f6a68a9726571756573744964a6694e6e50624fa47479706507a67061636b657483a47479706502a46461746192a362696ec40105a36e7370a12fa46f70747383a5726f6f6d7390a665786365707490a5666c61677381a774696d656f7574cd01f4",
		request: peerRequest{uid: "r4lOjh", id: "iNnPbO", typ: typeBroadcast, message: adapter.Message{
			Packet: packet(`["bin",{"_placeholder":true,"num":0}]`, []byte{5}), Timeout: 500 * time.Millisecond,
		}},
	}, {
		name: "join of the emitter", wire: `{"type":2,"opts":{"rooms":["r1"],"except":[]},"rooms":["q"]}`, oneWay: true,
		request: peerRequest{typ: typeJoin, message: adapter.Message{Kind: adapter.Join, Rooms: []string{"r1"}, Targets: []string{"q"}}},
	}, {
		name: "server-side emit of the emitter", wire: `{"uid":"emitter","type":6,"data":["sse",5]}`,
		request: peerRequest{uid: "emitter", typ: typeServerSideEmit, message: adapter.Message{
			Kind: adapter.ServerSideEmit, Packet: packet(`["sse",5]`),
		}},
	}, {
		name: "legacy join, made", wire: `{"requestId":"abc","type":2,"sid":"s1","room":"r"}`, oneWay: true,
		request: peerRequest{id: "abc", typ: typeJoin, legacy: true, message: adapter.Message{
			Kind: adapter.Join, Rooms: []string{"s1"}, Targets: []string{"r"},
		}},
	}, {
		name: "legacy disconnect, made", wire: `{"requestId":"abc","type":4,"sid":"s1","close":true}`, oneWay: true,
		request: peerRequest{id: "abc", typ: typeDisconnect, legacy: true, message: adapter.Message{
			Kind: adapter.Disconnect, Rooms: []string{"s1"}, Close: true,
		}},
	},
}

func TestNodeRequests(t *testing.T) {
	for _, test := range nodeRequests {
		t.Run(test.name, func(t *testing.T) {
			payload := wire(t, test.wire)
			got, err := decodeRequest(payload, parser.Limits{}, "/")
			if err != nil {
				t.Fatalf("decodeRequest: %v", err)
			}
			if !reflect.DeepEqual(*got, test.request) {
				t.Errorf("decodeRequest = %+v, want %+v", *got, test.request)
			}
			if !isOwn(payload, test.request.uid) != (test.request.uid == "") {
				t.Errorf("isOwn with the uid %q of the sender is wrong", test.request.uid)
			}
			if isOwn(payload, "other1") {
				t.Error("isOwn with the uid of another")
			}
			if test.oneWay {
				return
			}
			again, err := appendRequest(nil, parser.Limits{}, test.request.uid, test.request.id, "/", &test.request.message)
			if err != nil || string(again) != payload {
				t.Errorf("appendRequest = %q, %v\nwant %q", again, err, payload)
			}
		})
	}
}

// TestOwnRequests are the forms that Chorus alone writes; Node reads them as requests that it knows.
func TestOwnRequests(t *testing.T) {
	sent := time.UnixMicro(1767323045678901)
	for _, test := range []struct {
		name    string
		message adapter.Message
		json    string // if it is that
		typ     requestType
	}{
		{
			name: "count", message: adapter.Message{Kind: adapter.Count, Rooms: []string{"a", "\""}},
			json: `{"uid":"abcdef","requestId":"id","type":0,"rooms":["a","\""],"count":true}`, typ: typeSockets,
		}, {
			name: "count except", message: adapter.Message{Kind: adapter.Count, Except: []string{"e"}},
			json: `{"uid":"abcdef","requestId":"id","type":5,"opts":{"rooms":[],"except":["e"]},"count":true}`, typ: typeFetch,
		}, {
			name: "binary server-side emit", typ: typeServerSideEmit,
			message: adapter.Message{Kind: adapter.ServerSideEmit, Packet: packet(`["e",{"_placeholder":true,"num":0}]`, []byte{7})},
		}, {
			name: "server-side emit that looks binary", typ: typeServerSideEmit,
			message: adapter.Message{Kind: adapter.ServerSideEmit, Packet: packet(`["e",{"type":"Buffer","data":[1]}]`)},
		}, {
			name: "time of sending", typ: typeBroadcast,
			message: adapter.Message{Packet: packet(`["e"]`), Sent: sent},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, err := appendRequest(nil, parser.Limits{}, "abcdef", "id", "/", &test.message)
			if err != nil {
				t.Fatal(err)
			}
			if test.json != "" && string(b) != test.json || test.json == "" && b[0] == '{' {
				t.Errorf("appendRequest = %q, want %q", b, test.json)
			}
			got, err := decodeRequest(string(b), parser.Limits{}, "/")
			want := peerRequest{uid: "abcdef", id: "id", typ: test.typ, message: test.message}
			if err != nil || !reflect.DeepEqual(*got, want) {
				t.Errorf("decodeRequest = %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

func TestMalformedRequests(t *testing.T) {
	for _, payload := range []string{
		"", "{", "{}", `{"type":99,"requestId":"x"}`, `{"type":"2"}`, "\x80", "\x81\xa4type\x07", "null", "[]",
		`{"type":4}`, `{"type":4,"close":true,"sid":""}`, // would disconnect everybody, and so would those of the next line
		`{"type":4,"opts":{}}`, `{"type":4,"opts":{"rooms":null,"except":[]}}`, "\x82\xa4type\x04\xa4opts\x81\xa5rooms\xc0",
		`{"type":3,"opts":{"except":[]},"rooms":["a"]}`, `{"type":2,"opts":{"room":["b"]},"rooms":["a"]}`,
		`{"type":5,"requestId":"x"}`, `{"type":5,"opts":{}}`, `{"type":5,"requestId":"x","opts":"all"}`,
		`{"type":0}`, `{"type":2,"opts":{"rooms":[{}]},"rooms":["a"]}`,
		`{"type":6}`, `{"type":6,"data":{}}`, `{"type":6,"data":[]}`, `{"type":6,"data":[null]}`,
		`{"type":6,"requestId":null,"data":["a"]}x`, "{\"type\":6,\"data\":[\"\xff\"]}",
		`{"type":6,"data":["e",{"_placeholder":true,"num":3},{"type":"Buffer","data":[1]}]}`,
		`{"type":6,"data":["e"` + strings.Repeat(`,{"type":"Buffer","data":[1]}`, 11) + `]}`,
		`{"type":7,"requestId":"x","opts":{},"packet":{"data":["disconnect"]}}`,
		`{"type":7,"requestId":"x","opts":{},"packet":{"data":["e"],"nsp":"/other"}}`,
		`{"type":7,"requestId":"x","packet":{"data":["e"]}}`,
	} {
		if r, err := decodeRequest(payload, parser.Limits{}, "/"); !errors.Is(err, errMalformed) {
			t.Errorf("decodeRequest(%q) = %+v, %v, want %v", payload, r, err, errMalformed)
		}
	}
	// Many beginnings of a buffer must not cost the square of their number.
	nested := strings.Repeat(bufferHead, 4000) + "1" + strings.Repeat(bufferTail, 4000)
	start := time.Now()
	for range 100 {
		if _, err := decodeRequest(`{"type":6,"data":["e",`+nested+`]}`, parser.Limits{}, "/"); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("100 requests with 4000 nested buffers took %v", d)
	}
}

func TestInvalidRequests(t *testing.T) {
	for name, m := range map[string]adapter.Message{
		"no array":       {Kind: adapter.ServerSideEmit, Packet: packet(`{}`)},
		"no JSON":        {Kind: adapter.ServerSideEmit, Packet: packet(`[`)},
		"no JSON, ack":   {Packet: packet(`[1`)},
		"no placeholder": {Kind: adapter.ServerSideEmit, Packet: packet(`[{"_placeholder":true,"num":1}]`, []byte{1})},
		"kind":           {Kind: 99},
	} {
		if b, err := appendRequest([]byte("x"), parser.Limits{}, "abcdef", "id", "/", &m); !errors.Is(err, ErrInvalidData) || string(b) != "x" {
			t.Errorf("%s: appendRequest = %q, %v, want %v", name, b, err, ErrInvalidData)
		}
	}
}
