package redisadapter_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/redisadapter"
	"example.com/chorus/pkg/socketio/parser"
)

// vector is a message as Node wrote it; see test/golden/cluster.mjs.
type vector struct {
	Name    string `json:"name"`
	Channel string `json:"channel"`
	Text    string `json:"text"`
	Hex     string `json:"hex"`
}

func (v *vector) payload(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(v.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return append(b, v.Text...)
}

func clusterVectors(t testing.TB) (published, foreign []vector) {
	t.Helper()
	b, err := os.ReadFile("testdata/cluster.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Published, Foreign []vector }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	return file.Published, file.Foreign
}

const (
	nodeA      = "0000000000000003"
	nodeB      = "0000000000000007"
	nodeAAdmin = "0000000000000004"
	nodeSocket = "AAAAAAAAAAAAAAAMAAAA"
)

func packet(data string, attachments ...[]byte) adapter.Packet {
	return adapter.Packet{Data: []byte(data), Attachments: attachments}
}

func request(typ int, id string, m adapter.Message) redisadapter.ClusterMessage {
	return redisadapter.ClusterMessage{Type: typ, UID: nodeA, Namespace: "/", Request: id, Message: &m}
}

func answer(typ int, id string, r adapter.Response) redisadapter.ClusterMessage {
	return redisadapter.ClusterMessage{Type: typ, UID: nodeB, Namespace: "/", Request: id, Response: &r}
}

func ack(p adapter.Packet) adapter.Response { return adapter.Response{Packet: &p} }

// clusterMessages are the messages of the golden file as we hold them.
var clusterMessages = map[string]redisadapter.ClusterMessage{
	"all": request(3, "", adapter.Message{Packet: packet(`["hello",1,"x",{"a":null}]`)}),
	"another namespace": {
		Type: 3, UID: nodeAAdmin, Namespace: "/admin", Message: &adapter.Message{Packet: packet(`["hello"]`)},
	},
	"one room with flags": request(3, "", adapter.Message{
		Packet: packet(`["hello"]`), Rooms: []string{"r1"}, Except: []string{"r2"}, Flags: adapter.Flags{Volatile: true, Uncompressed: true},
	}),
	"two rooms":        request(3, "", adapter.Message{Packet: packet(`["hello",true]`), Rooms: []string{"r1", "r2"}}),
	"room of a socket": request(3, "", adapter.Message{Packet: packet(`["private"]`), Rooms: []string{nodeSocket}}),
	"text":             request(3, "", adapter.Message{Packet: packet(`["text","ü你🎉\"\\/\b\f\n\r\t\u0001` + "\u2028" + `"]`)}),
	"numbers":          request(3, "", adapter.Message{Packet: packet(`["numbers",0,-1,0.5,1e+21,9007199254740991,-32769]`)}),
	"binary": request(3, "", adapter.Message{
		Packet: packet(`["bin",{"_placeholder":true,"num":0},{"b":{"_placeholder":true,"num":1}},70000,-129,0.5]`, []byte{1, 2, 3}, []byte{}),
		Rooms:  []string{"r1"},
	}),
	"binary to all": request(3, "", adapter.Message{
		Packet: packet(`["bin",{"_placeholder":true,"num":0}]`, []byte{255}), Except: []string{"x"}, Flags: adapter.Flags{Volatile: true},
	}),
	"join":                            request(4, "", adapter.Message{Kind: adapter.Join, Rooms: []string{"r1"}, Targets: []string{"z1", "z2"}}),
	"leave":                           request(5, "", adapter.Message{Kind: adapter.Leave, Rooms: []string{"z1"}, Except: []string{"z9"}, Targets: []string{"z2"}}),
	"disconnect":                      request(6, "", adapter.Message{Kind: adapter.Disconnect, Rooms: []string{"nobody"}}),
	"disconnect and close":            request(6, "", adapter.Message{Kind: adapter.Disconnect, Rooms: []string{"nobody"}, Close: true}),
	"server-side emit":                request(9, "", adapter.Message{Kind: adapter.ServerSideEmit, Packet: packet(`["sse",2]`)}),
	"server-side emit of binary data": request(9, "", adapter.Message{Kind: adapter.ServerSideEmit, Packet: packet(`["sse",{"_placeholder":true,"num":0}]`, []byte{7})}),
	"server-side emit with ack 1":     request(9, "0000000000000011", adapter.Message{Kind: adapter.ServerSideEmit, Packet: packet(`["sse","pong"]`)}),
	"server-side emit with ack 2":     answer(10, "0000000000000011", ack(packet(`["pong"]`))),
	"server-side emit with binary ack 1": request(9, "0000000000000012", adapter.Message{
		Kind: adapter.ServerSideEmit, Packet: packet(`["sse",{"_placeholder":true,"num":0}]`, []byte{9, 8}),
	}),
	"server-side emit with binary ack 2": answer(10, "0000000000000012", ack(packet(`[{"_placeholder":true,"num":0}]`, []byte{9, 8}))),
	"server-side emit with empty ack 1":  request(9, "0000000000000013", adapter.Message{Kind: adapter.ServerSideEmit, Packet: packet(`["sse",null]`)}),
	"server-side emit with empty ack 2":  answer(10, "0000000000000013", ack(packet(`[null]`))),
	"broadcast with ack 1": request(3, "0000000000000014", adapter.Message{
		Packet: packet(`["q","resp"]`), Rooms: []string{"r1"}, Timeout: 500 * time.Millisecond,
	}),
	"broadcast with ack 2": answer(11, "0000000000000014", adapter.Response{Count: 1}),
	"broadcast with ack 3": answer(12, "0000000000000014", ack(packet(`["resp"]`))),
	"broadcast with binary ack 1": request(3, "0000000000000015", adapter.Message{
		Packet: packet(`["q",{"_placeholder":true,"num":0}]`, []byte{4}), Timeout: 500 * time.Millisecond,
	}),
	"broadcast with binary ack 2": answer(11, "0000000000000015", adapter.Response{Count: 1}),
	"broadcast with binary ack 3": answer(12, "0000000000000015", ack(packet(`[{"_placeholder":true,"num":0}]`, []byte{4}))),
	"broadcast with empty ack 1":  request(3, "0000000000000016", adapter.Message{Packet: packet(`["nothing"]`), Timeout: 500 * time.Millisecond}),
	"broadcast with empty ack 2":  answer(11, "0000000000000016", adapter.Response{Count: 1}),
	"broadcast with empty ack 3":  answer(12, "0000000000000016", ack(packet(`[]`))),
	"fetch nothing 1":             request(7, "0000000000000017", adapter.Message{Kind: adapter.Fetch, Rooms: []string{"nobody"}}),
	"fetch nothing 2":             answer(8, "0000000000000017", adapter.Response{}),
	"fetch with timeout 1": request(7, "0000000000000018", adapter.Message{
		Kind: adapter.Fetch, Rooms: []string{"r1"}, Except: []string{"nobody"}, Timeout: 700 * time.Millisecond,
	}),
	"fetch from one socket 1": request(7, "0000000000000019", adapter.Message{Kind: adapter.Fetch}),
	"fetch binary data 1":     request(7, "000000000000001a", adapter.Message{Kind: adapter.Fetch, Rooms: []string{"r1"}}),
}

// TestClusterGolden: what Node writes is read, and what we write is what Node writes, to the byte.
func TestClusterGolden(t *testing.T) {
	published, _ := clusterVectors(t)
	compared := 0
	for _, v := range published {
		got, err := redisadapter.DecodeCluster(v.payload(t), everyRoom)
		if err != nil {
			t.Errorf("%s: DecodeCluster: %v", v.Name, err)
			continue
		}
		want, ok := clusterMessages[v.Name]
		if ok {
			compared++
			if !reflect.DeepEqual(got, &want) {
				t.Errorf("%s: decoded %+v (%+v, %+v), want %+v (%+v, %+v)", v.Name, got, got.Message, got.Response, want, want.Message, want.Response)
			}
		}
		if strings.HasPrefix(v.Name, "fetch binary data 2") || v.Name == "fetch from one socket 3" {
			continue // holds what we have no use for
		}
		b, err := redisadapter.AppendCluster([]byte("x"), got)
		if err != nil || !bytes.Equal(b[1:], v.payload(t)) {
			t.Errorf("%s: encoded %q (%v), want %q", v.Name, b[1:], err, v.payload(t))
		}
		for uid, want := range map[string]bool{got.UID: true, "0123456789abcdef": false} {
			if is := redisadapter.IsOwnCluster(v.payload(t), uid, got.Namespace); is != want {
				t.Errorf("%s: IsOwnCluster(%s) = %v, want %v", v.Name, uid, is, want)
			}
		}
	}
	if compared != len(clusterMessages) {
		t.Errorf("%d of %d messages are in the golden file", compared, len(clusterMessages))
	}
}

func TestClusterSockets(t *testing.T) {
	published, _ := clusterVectors(t)
	for _, v := range published {
		if v.Name != "fetch binary data 2" && v.Name != "fetch with timeout 2" {
			continue
		}
		got, err := redisadapter.DecodeCluster(v.payload(t), everyRoom)
		if err != nil || len(got.Response.Sockets) != 1 {
			t.Fatalf("%s: DecodeCluster = %+v, %v, want one socket", v.Name, got, err)
		}
		s := got.Response.Sockets[0]
		if want := []string{nodeSocket, "r1", "z1"}; s.ID != nodeSocket || !reflect.DeepEqual(s.Rooms, want) {
			t.Errorf("%s: socket %s in %q, want %s in %q", v.Name, s.ID, s.Rooms, nodeSocket, want)
		}
		var handshake struct {
			Query map[string]string `json:"query"`
		}
		if err := json.Unmarshal(s.Handshake, &handshake); err != nil || handshake.Query["EIO"] != "4" {
			t.Errorf("%s: handshake %s (%v), want EIO 4 in the query", v.Name, s.Handshake, err)
		}
		want := `{}`
		if v.Name == "fetch binary data 2" {
			want = `{"avatar":{"type":"Buffer","data":[1,2]}}`
		}
		if string(s.Data) != want {
			t.Errorf("%s: data %s, want %s", v.Name, s.Data, want)
		}
	}
}

func TestClusterForeign(t *testing.T) {
	_, foreign := clusterVectors(t)
	for _, v := range foreign {
		got, err := redisadapter.DecodeCluster(v.payload(t), everyRoom)
		if err != nil {
			t.Errorf("%s: DecodeCluster: %v", v.Name, err)
			continue
		}
		switch v.Name {
		case "numbers as rooms":
			if !reflect.DeepEqual(got.Message.Rooms, []string{"1", "b"}) || !reflect.DeepEqual(got.Message.Except, []string{"2"}) {
				t.Errorf("%s: rooms %q, except %q", v.Name, got.Message.Rooms, got.Message.Except)
			}
		case "packet with namespace":
			if got.UID != "emitter" || string(got.Message.Packet.Data) != `["x"]` {
				t.Errorf("%s: %+v", v.Name, got)
			}
		case "heartbeat":
			if got.Type != 2 || got.Message != nil {
				t.Errorf("%s: %+v", v.Name, got)
			}
		case "dates and undefined beside binary":
			want := `["d","1970-01-02T00:00:00.000Z",null,{"_placeholder":true,"num":0}]`
			if string(got.Message.Packet.Data) != want {
				t.Errorf("%s: data %s, want %s", v.Name, got.Message.Packet.Data, want)
			}
		default:
			t.Errorf("%s: nothing is expected of it", v.Name)
		}
	}
}

// TestClusterOwn: what Chorus adds is read by Chorus and does not hide whose message it is.
func TestClusterOwn(t *testing.T) {
	sent := time.Now().Truncate(time.Microsecond)
	for name, m := range map[string]redisadapter.ClusterMessage{
		"JSON":      request(3, "", adapter.Message{Packet: packet(`["x",{"uid":"y"}]`), Sent: sent}),
		"packed":    request(3, "", adapter.Message{Packet: packet(`["x",{"_placeholder":true,"num":0}]`, []byte{1}), Sent: sent}),
		"count":     request(7, "r", adapter.Message{Kind: adapter.Count, Rooms: []string{"a"}}),
		"counted":   answer(8, "r", adapter.Response{Count: 7}),
		"odd names": {Type: 3, UID: nodeA, Namespace: `/"\ü`, Message: &adapter.Message{Packet: packet(`["x"]`), Rooms: []string{`"\` + "\n", "", "🎉"}}},
	} {
		b, err := redisadapter.AppendCluster(nil, &m)
		if err != nil {
			t.Fatalf("%s: AppendCluster: %v", name, err)
		}
		got, err := redisadapter.DecodeCluster(b, everyRoom)
		if err != nil || !reflect.DeepEqual(got, &m) {
			t.Errorf("%s: decoded %+v (%v), want %+v; wire %q", name, got, err, m, b)
		}
		if !redisadapter.IsOwnCluster(b, m.UID, m.Namespace) {
			t.Errorf("%s: not told for its own: %q", name, b)
		}
		if redisadapter.IsOwnCluster(b, "ffffffffffffffff", m.Namespace) {
			t.Errorf("%s: told for that of another", name)
		}
	}
}

func TestClusterData(t *testing.T) {
	for name, m := range clusterMessages {
		b, packed, err := redisadapter.AppendClusterData(nil, &m)
		if err != nil {
			t.Fatalf("%s: AppendClusterData: %v", name, err)
		}
		if packed != (b[0] != '{') {
			t.Errorf("%s: packed is %v of %q", name, packed, b)
		}
		got, err := redisadapter.DecodeClusterData(m.Type, b)
		if err != nil {
			t.Errorf("%s: DecodeClusterData: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(got.Message, m.Message) || !reflect.DeepEqual(got.Response, m.Response) {
			t.Errorf("%s: decoded %+v, want %+v", name, got, m)
		}
	}
}

func TestClusterNoMatch(t *testing.T) {
	nobody := func(string) bool { return false }
	for name, want := range map[string]bool{ // decoded although no room is here
		"all": true, "one room with flags": false, "binary": false, "join": false, "leave": false, "disconnect": false,
		"broadcast with ack 1": true, "fetch nothing 1": true, "server-side emit": true, "fetch nothing 2": true,
	} {
		m := clusterMessages[name]
		b, err := redisadapter.AppendCluster(nil, &m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := redisadapter.DecodeCluster(b, nobody)
		if err != nil || (got != nil) != want {
			t.Errorf("%s: DecodeCluster without rooms = %v, %v, want a message: %v", name, got, err, want)
		}
	}
}

func TestClusterMalformed(t *testing.T) {
	for _, payload := range []string{
		``, `{`, `{}`, `{} `, `{"type":3}`, `{"type":99,"data":{}}`, `{"type":"3","data":{}}`, `{"type":3,"data":[]}`,
		`{"type":3,"data":{"packet":{"type":2,"data":["x"]}},"uid":"a","nsp":"/"}`, // no opts
		`{"type":3,"data":{"packet":{"type":2},"opts":{}},"uid":"a","nsp":"/"}`,
		`{"type":3,"data":{"packet":{"type":3,"data":["x"]},"opts":{}},"uid":"a","nsp":"/"}`,
		`{"type":3,"data":{"packet":{"type":2,"data":["disconnect"]},"opts":{}},"uid":"a","nsp":"/"}`,
		`{"type":3,"data":{"packet":{"type":2,"data":{"0":"x"}},"opts":{}},"uid":"a","nsp":"/"}`,
		`{"type":3,"data":{"packet":{"type":2,"data":["x"]},"opts":{"rooms":"r"}},"uid":"a","nsp":"/"}`,
		`{"type":3,"data":{"packet":{"type":2,"data":["x"]},"opts":{"rooms":[["r"]]}},"uid":"a","nsp":"/"}`,
		`{"type":3,"data":{"packet":{"type":2,"data":["x"]},"requestId":7,"opts":{}},"uid":"a","nsp":"/"}`,
		`{"type":4,"data":{"opts":{},"rooms":["a"]},"uid":"a","nsp":"/"}`, // for everybody, if it were taken
		`{"type":5,"data":{"opts":{"rooms":null},"rooms":["a"]},"uid":"a","nsp":"/"}`,
		`{"type":6,"data":{"opts":{"except":[]},"close":true},"uid":"a","nsp":"/"}`,
		"\x82\xa4type\x06\xa4data\x81\xa4opts\x81\xa5rooms\xc0",
		`{"type":7,"data":{"opts":{}},"uid":"a","nsp":"/"}`, // nobody to answer
		`{"type":7,"data":{"opts":{},"requestId":"` + strings.Repeat("x", 65) + `"},"uid":"a","nsp":"/"}`,
		`{"type":8,"data":{"requestId":"a"},"uid":"a","nsp":"/"}`,
		`{"type":8,"data":{"requestId":"a","sockets":[1]},"uid":"a","nsp":"/"}`,
		`{"type":11,"data":{"requestId":"a","clientCount":-1},"uid":"a","nsp":"/"}`,
		`{"type":11,"data":{"requestId":"a","clientCount":1e300},"uid":"a","nsp":"/"}`,
		`{"type":9,"data":{"packet":[]},"uid":"a","nsp":"/"}`,
		`{"type":2,"uid":"` + strings.Repeat("x", 65) + `","nsp":"/"}`,
		`{"type":3,"data":{"packet":{"type":2,"data":["x",` + strings.Repeat("[", 1001) + strings.Repeat("]", 1001) + `]},"opts":{}},"uid":"a","nsp":"/"}`,
		"\x84", "\x81\xa4type\x03", "\x82\xa4type\x03\xa4data\x80", "\x81\xa4type\x02\x00", "\xdf\xff\xff\xff\xff", "\x90", "\xa4text",
		"\x82\xa4type\x03\xa4data\x82\xa6packet\x82\xa4type\x02\xa4data\x91\xaadisconnect\xa4opts\x80",
	} {
		if m, err := redisadapter.DecodeCluster([]byte(payload), everyRoom); err == nil {
			t.Errorf("DecodeCluster(%.100q) = %+v, want an error", payload, m)
		} else if !errors.Is(err, redisadapter.ErrMalformed) {
			t.Errorf("DecodeCluster(%.100q) = %v, want %v", payload, err, redisadapter.ErrMalformed)
		}
	}
}

func TestClusterInvalidData(t *testing.T) {
	deep := `["x",` + strings.Repeat("[", 1001) + strings.Repeat("]", 1001) + `]`
	eleven := make([][]byte, 11)
	for name, test := range map[string]struct {
		message redisadapter.ClusterMessage
		want    error
	}{
		"no array":           {request(3, "", adapter.Message{Packet: packet(`{}`)}), redisadapter.ErrInvalidData},
		"empty":              {request(3, "", adapter.Message{}), redisadapter.ErrInvalidData},
		"no JSON":            {request(3, "", adapter.Message{Packet: packet(`["x"`)}), redisadapter.ErrInvalidData},
		"two values":         {request(3, "", adapter.Message{Packet: packet(`["x"],1`)}), redisadapter.ErrInvalidData},
		"deep":               {request(3, "", adapter.Message{Packet: packet(deep)}), redisadapter.ErrTooDeep},
		"eleven attachments": {request(9, "", adapter.Message{Kind: adapter.ServerSideEmit, Packet: packet(`["x"]`, eleven...)}), redisadapter.ErrTooManyAttachments},
		"acknowledgement":    {answer(12, "r", ack(packet(`{}`))), redisadapter.ErrInvalidData},
		"handshake":          {answer(8, "r", adapter.Response{Sockets: []adapter.Socket{{Handshake: []byte(`{`)}}}), redisadapter.ErrInvalidData},
		"type":               {answer(14, "r", adapter.Response{}), redisadapter.ErrInvalidData},
	} {
		b, err := redisadapter.AppendCluster([]byte("dst"), &test.message)
		if !errors.Is(err, test.want) || string(b) != "dst" {
			t.Errorf("%s: AppendCluster = %q, %v, want dst, %v", name, b, err, test.want)
		}
	}
}

// FuzzCluster feeds the decoder with what a broken or hostile publisher may send. What it accepts must be valid JSON
// in valid UTF-8, of a size bounded by the input, and must survive another round unchanged.
func FuzzCluster(f *testing.F) {
	published, foreign := clusterVectors(f)
	for _, v := range append(published, foreign...) {
		f.Add(v.payload(f))
	}
	f.Add([]byte(`{"type":7,"data":{"opts":{"flags":{"timeout":1}},"requestId":"r","count":true},"uid":"u","nsp":"/","t":1}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := redisadapter.DecodeCluster(payload, everyRoom)
		if err != nil {
			if !errors.Is(err, redisadapter.ErrMalformed) {
				t.Fatalf("error %v is not %v", err, redisadapter.ErrMalformed)
			}
			return
		}
		size := 0
		for _, p := range packetsOf(m) {
			if parser.CheckJSON(p.Data) != nil || !json.Valid(p.Data) || !bytes.Equal(p.Data, bytes.ToValidUTF8(p.Data, nil)) {
				t.Fatalf("decoded %q", p.Data)
			}
			size += len(p.Data)
			for _, a := range p.Attachments {
				size += len(a)
			}
		}
		if m.Response != nil {
			for _, s := range m.Response.Sockets {
				size += len(s.Handshake) + len(s.Data)
			}
		}
		// A control character grows from 1 byte to 6, an empty binary value from 2 bytes to 29, as a Buffer a byte to 4.
		if limit := 15*len(payload) + 300; size > limit {
			t.Fatalf("%d bytes were decoded to %d", len(payload), size)
		}
		b, err := redisadapter.AppendCluster(nil, m)
		if err != nil {
			t.Fatalf("decoded %+v, which cannot be encoded: %v", m, err)
		}
		again, err := redisadapter.DecodeCluster(b, everyRoom)
		if err != nil {
			t.Fatalf("second round of %q as %q: %v", payload, b, err)
		}
		third, err := redisadapter.AppendCluster(nil, again)
		if err != nil || !bytes.Equal(third, b) {
			t.Fatalf("second round of %q is %q (%v)", b, third, err)
		}
	})
}

// packetsOf returns the packets that a message carries.
func packetsOf(m *redisadapter.ClusterMessage) []adapter.Packet {
	switch {
	case m.Response != nil && m.Response.Packet != nil:
		return []adapter.Packet{*m.Response.Packet}
	case m.Message != nil && (m.Type == 3 || m.Type == 9):
		return []adapter.Packet{m.Message.Packet}
	}
	return nil
}
