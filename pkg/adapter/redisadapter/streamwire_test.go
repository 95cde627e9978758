package redisadapter_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/redisadapter"
)

// streamVectors are what official servers and the official emitter wrote (test/golden/streams.mjs).
type streamVectors struct {
	Entries  []map[string]string
	Sessions []struct{ Key, Value, SID string }
	Names    []struct {
		Name string
		Hash int32
	}
	Emitted []struct{ Name, Channel, Text, Hex string }
}

func readStreamVectors(t testing.TB, file string) (v streamVectors) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNodeEntries(t *testing.T) {
	vectors := readStreamVectors(t, "streams.json").Entries
	if len(vectors) < 10 {
		t.Fatalf("%d vectors", len(vectors))
	}
	for _, v := range vectors {
		fields := map[string]any{}
		for _, name := range []string{"uid", "nsp", "type", "data"} {
			fields[name] = v[name]
		}
		m, namespace, err := redisadapter.DecodeEntry("1-1", fields)
		if err != nil || m == nil || namespace != v["nsp"] {
			t.Errorf("%s: decoded %+v of %s, %v", v["name"], m, namespace, err)
			continue
		}
		got, err := redisadapter.EntryValues(m, v["uid"], namespace)
		want := fmt.Sprintf("uid %s nsp %s type %s data %s ", v["uid"], v["nsp"], v["type"], v["data"])
		if err != nil || got != want {
			t.Errorf("%s: entry is %s, %v, want %s", v["name"], got, err, want)
		}
	}
}

func TestForeignEntries(t *testing.T) {
	for name, fields := range map[string]map[string]any{
		"no namespace": {"chorus": "start"},
		"nothing":      {},
	} {
		if m, _, err := redisadapter.DecodeEntry("1-1", fields); m != nil || err != nil {
			t.Errorf("%s: decoded %+v, %v, want nothing", name, m, err)
		}
	}
	for name, fields := range map[string]map[string]any{
		"no type":        {"nsp": "/", "uid": "x", "data": "{}"},
		"type":           {"nsp": "/", "uid": "x", "type": "7", "data": "{}"},
		"large type":     {"nsp": "/", "uid": "x", "type": "259", "data": "{}"},
		"no data":        {"nsp": "/", "uid": "x", "type": "3"},
		"no base64":      {"nsp": "/", "uid": "x", "type": "3", "data": "!"},
		"no MessagePack": {"nsp": "/", "uid": "x", "type": "3", "data": "wcHB"},
		"no packet":      {"nsp": "/", "uid": "x", "type": "3", "data": "{}"},
		"long uid":       {"nsp": "/", "uid": strings.Repeat("x", 100), "type": "3", "data": "{}"},
		"id":             {"nsp": "/", "uid": "x", "type": "3", "data": "{}", "id": "x"},
	} {
		id := "1-1"
		if name == "id" {
			id = "1"
		}
		if m, _, err := redisadapter.DecodeEntry(id, fields); !errors.Is(err, redisadapter.ErrMalformed) {
			t.Errorf("%s: decoded %+v, %v, want %v", name, m, err, redisadapter.ErrMalformed)
		}
	}
}

func TestNodeSessions(t *testing.T) {
	for _, v := range readStreamVectors(t, "streams.json").Sessions {
		s, err := redisadapter.DecodeSession(v.Value)
		if err != nil {
			t.Fatal(err)
		}
		if "sio:session:"+s.PID != v.Key || s.SID != v.SID || len(s.Rooms) < 2 || s.Rooms[0] != v.SID {
			t.Errorf("decoded %+v, want the session of %s", s, v.SID)
		}
		const data = `{"name":"Ünn","bin":{"_placeholder":true,"num":0},"list":[1,-2.5,null,true]}`
		if string(s.Data) != data || !reflect.DeepEqual(s.Attachments, [][]byte{{1, 255}}) {
			t.Errorf("data is %s with %v, want %s", s.Data, s.Attachments, data)
		}
		if got, err := redisadapter.AppendSession(s); err != nil || got != v.Value {
			t.Errorf("encoded again %s, %v, want %s", got, err, v.Value)
		}
	}
	for _, value := range []string{"", "!", "gA==", "wA==", "hKNzaWQ="} {
		if s, err := redisadapter.DecodeSession(value); err == nil {
			t.Errorf("decoded %q as %+v", value, s)
		}
	}
}

func TestNodeHash(t *testing.T) {
	for _, v := range readStreamVectors(t, "streams.json").Names {
		if got := redisadapter.NameHash(v.Name); got != v.Hash {
			t.Errorf("hash of %s = %d, want %d", v.Name, got, v.Hash)
		}
	}
	for _, test := range []struct {
		count     int
		namespace string
		want      string
	}{
		{1, "/notifications", "s"}, {3, "/", "s-2"}, {3, "/admin", "s-1"}, {3, "/notifications", "s-1"}, {2, "/chat", "s-1"},
	} {
		if got := redisadapter.StreamOf("s", test.count, test.namespace); got != test.want {
			t.Errorf("stream of %s among %d = %s, want %s", test.namespace, test.count, got, test.want)
		}
	}
}

func TestNodeEmitter(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := client(t, server.Addr())
	e, err := redisadapter.NewEmitter(rdb, nil)
	if err != nil {
		t.Fatal(err)
	}
	listener := rdb.PSubscribe(t.Context(), "*")
	defer func() { _ = listener.Close() }()
	if _, err := listener.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	calls := map[string]func(ctx context.Context) error{
		"all": func(ctx context.Context) error {
			return e.Emit(ctx, "em", 1, "ü", map[string]any{"a": []any{nil, 0.5}})
		},
		"one room": func(ctx context.Context) error { return e.To("r1", "r1").Emit(ctx, "em") },
		"two rooms with flags": func(ctx context.Context) error {
			return e.To("r1", "r2").Except("x").Volatile().Compress(false).Emit(ctx, "em", 1)
		},
		"another namespace": func(ctx context.Context) error { return e.Of("admin").Emit(ctx, "em", 1) },
		"binary":            func(ctx context.Context) error { return e.Emit(ctx, "em", []byte{1, 2}) },
		"join":              func(ctx context.Context) error { return e.In("r1").Join(ctx, "q") },
		"leave":             func(ctx context.Context) error { return e.Except("r1").Leave(ctx, "q", "p") },
		"disconnect":        func(ctx context.Context) error { return e.In("nobody").Disconnect(ctx, true) },
		"server-side emit":  func(ctx context.Context) error { return e.ServerSideEmit(ctx, "sse", 5) },
	}
	vectors := readStreamVectors(t, "emitter.json").Emitted
	if len(vectors) != len(calls) {
		t.Fatalf("%d vectors, %d calls", len(vectors), len(calls))
	}
	for _, v := range vectors {
		if err := calls[v.Name](t.Context()); err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		got, err := listener.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := v.Text
		if v.Hex != "" { // ours has the time as a fourth element
			b, err := hex.DecodeString(v.Hex)
			if err != nil {
				t.Fatal(err)
			}
			want = "\x94" + string(b[1:])
			got.Payload = got.Payload[:min(len(want), len(got.Payload))]
		}
		if got.Channel != v.Channel || got.Payload != want {
			t.Errorf("%s: published %q on %s, want %q on %s", v.Name, got.Payload, got.Channel, want, v.Channel)
		}
	}
	for name, err := range map[string]error{
		"reserved":             e.Emit(t.Context(), "disconnect"),
		"reserved server-side": e.ServerSideEmit(t.Context(), "connection"),
		"value":                e.Emit(t.Context(), "x", make(chan int)),
		"attachments":          e.Emit(t.Context(), "x", slices.Repeat([][]byte{{1}}, 11)),
		"placeholder":          e.Emit(t.Context(), "x", []byte("b"), map[string]any{"_placeholder": true, "num": 0}),
		"namespace":            e.Of("/a#b").Emit(t.Context(), "x"),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Streams of an emitter are those that nodes read.
func TestStreamsEmitter(t *testing.T) {
	server := miniredis.RunT(t)
	o := redisadapter.StreamsOptions{Options: redisadapter.Options{Logger: quiet(nil)}, StreamCount: 3}
	const namespace = "/notifications"
	node, _ := joinRecorder(t, streamNodes(t, server.Addr(), 1, o)[0], namespace)
	e, err := redisadapter.NewEmitter(client(t, server.Addr()), &redisadapter.EmitterOptions{Streams: &o})
	if err != nil {
		t.Fatal(err)
	}
	to := e.Of(namespace).To("r").Except("x")
	for name, err := range map[string]error{
		"emit":        to.Emit(t.Context(), "event", "text"),
		"binary":      to.Volatile().Emit(t.Context(), "event", []byte{1}),
		"join":        to.Join(t.Context(), "a"),
		"leave":       to.Leave(t.Context(), "a"),
		"disconnect":  to.Disconnect(t.Context(), true),
		"server-side": to.ServerSideEmit(t.Context(), "sse", 1),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	records := node.AwaitRecords(t, 2)
	kinds := map[adapter.Kind]bool{}
	for _, m := range node.Await(t, 1) {
		kinds[m.Kind] = true
	}
	if !kinds[adapter.ServerSideEmit] || len(records[0].Message.Rooms) != 1 || records[0].Offset.IsZero() || records[0].Own {
		t.Errorf("recorded %+v and heard %v", records[0], kinds)
	}
}
