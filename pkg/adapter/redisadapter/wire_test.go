package redisadapter_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/redisadapter"
	"example.com/chorus/pkg/socketio/parser"
)

const nodeUID = "TYCk5e"

func everyRoom(string) bool { return true }

// nodeMessages are messages as Node publishes them: the first was captured from redis-adapter 8.3, the others
// were made by its encoder, notepack.io 3.
var nodeMessages = []struct {
	name      string
	hex       string
	namespace string
	message   adapter.Message
	oneWay    bool // Node's bytes hold what JSON text cannot say, so they are only decoded
}{
	{
		name:      "captured",
		hex:       "93a65459436b356583a47479706502a46461746194a568656c6c6f01a17881a161c0a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
		namespace: "/",
		message:   event(`["hello",1,"x",{"a":null}]`),
	}, {
		name:      "integers",
		hex:       "93a65459436b356583a47479706502a464617461dc0014a4696e7473007fcc80ccffcd0100cdffffce00010000ceffffffffcf0000000100000000ffe0d0dfd080d1ff7fd18000d2ffff7fffd280000000d3ffffffff7fffffffcf001fffffffffffffa36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
		namespace: "/",
		message:   event(`["ints",0,127,128,255,256,65535,65536,4294967295,4294967296,-1,-32,-33,-128,-129,-32768,-32769,-2147483648,-2147483649,9007199254740991]`),
	}, {
		name:      "strings, rooms and flags",
		hex:       "93a65459436b356583a47479706502a46461746193a474657874d931c3bce4bda0f09f8e89" + strings.Repeat("78", 40) + "da012c" + strings.Repeat("79", 300) + "a36e7370a62f61646d696e83a5726f6f6d7392a161a162a665786365707491a163a5666c61677381a8766f6c6174696c65c3",
		namespace: "/admin",
		message: adapter.Message{
			Packet: adapter.Packet{Data: []byte(`["text","ü你🎉` + strings.Repeat("x", 40) + `","` + strings.Repeat("y", 300) + `"]`)},
			Rooms:  []string{"a", "b"}, Except: []string{"c"}, Flags: adapter.Flags{Volatile: true},
		},
	}, {
		name:      "binary",
		hex:       "93a65459436b356583a47479706502a46461746193a362696ec40301020381a162c400a36e7370a12f83a5726f6f6d7391a172a665786365707490a5666c61677380",
		namespace: "/",
		message: adapter.Message{
			Packet: adapter.Packet{
				Data:        []byte(`["bin",{"_placeholder":true,"num":0},{"b":{"_placeholder":true,"num":1}}]`),
				Attachments: [][]byte{{1, 2, 3}, {}},
			},
			Rooms: []string{"r"},
		},
	}, {
		name:      "volatile without compression",
		hex:       "93a65459436b356583a47479706502a46461746191a178a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677382a8766f6c6174696c65c3a8636f6d7072657373c2",
		namespace: "/",
		message: adapter.Message{
			Packet: adapter.Packet{Data: []byte(`["x"]`)},
			Flags:  adapter.Flags{Volatile: true, Uncompressed: true},
		},
	}, {
		name:      "nested",
		hex:       "93a65459436b356583a47479706502a46461746195a46e65737491908081a16181a16293c3c2c0dc00110101010101010101010101010101010101a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
		namespace: "/",
		message:   event(`["nest",[[]],{},{"a":{"b":[true,false,null]}},[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]]`),
	}, {
		name:      "dates",
		hex:       "93a65459436b356583a47479706502a46461746196a464617465d7ffa1a5d600695735a5d6ff00000000c70cff3b8b87c0ffffffffffffffffc70cff00000000000007dba8218000c70cff00000000fffffff184aa5080a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
		namespace: "/",
		message:   event(`["date","2026-01-02T03:04:05.678Z","1970-01-01T00:00:00.000Z","1969-12-31T23:59:59.999Z","+275760-09-13T00:00:00.000Z","-000001-01-01T00:00:00.000Z"]`),
		oneWay:    true,
	}, {
		name:      "numbers that JSON has not, room of a number, unknown flags",
		hex:       "93a65459436b356583a47479706502a46461746197a36f6464c0cb7ff8000000000000cb7ff000000000000000cb0000000000000001cb419d6f3454800000a36e7370a12f83a5726f6f6d739201a161a665786365707490a5666c61677383a8766f6c6174696c65c2a8636f6d7072657373c3a962726f616463617374c3",
		namespace: "/",
		message: adapter.Message{
			Packet: adapter.Packet{Data: []byte(`["odd",null,null,null,0,5e-324,123456789.125]`)},
			Rooms:  []string{"1", "a"},
		},
		oneWay: true,
	}, {
		name:      "emitter without nsp and rooms",
		hex:       hexOf(msgpackMessage("emitter", []any{"em", 1}, map[string]any{"flags": nil})),
		namespace: "/",
		message:   event(`["em",1]`),
		oneWay:    true,
	},
}

func event(data string) adapter.Message {
	return adapter.Message{Packet: adapter.Packet{Data: []byte(data)}}
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// msgpackMessage returns the bytes of a message whose packet has no nsp.
func msgpackMessage(uid string, data []any, opts map[string]any) []byte {
	b, err := msgp.AppendIntf(nil, []any{uid, map[string]any{"type": 2, "data": data}, opts})
	if err != nil {
		panic(err)
	}
	return b
}

func TestNodeMessages(t *testing.T) {
	for _, test := range nodeMessages {
		t.Run(test.name, func(t *testing.T) {
			wire, err := hex.DecodeString(test.hex)
			if err != nil {
				t.Fatal(err)
			}
			got, err := redisadapter.DecodeMessage(string(wire), test.namespace, everyRoom)
			if err != nil {
				t.Fatalf("decode: %v", err)
			}
			if !reflect.DeepEqual(got, &test.message) {
				t.Errorf("decoded %s, want %s", show(got), show(&test.message))
			}
			if test.oneWay {
				return
			}
			b, err := redisadapter.AppendMessage(nil, nodeUID, test.namespace, &test.message)
			if err != nil || !bytes.Equal(b, wire) {
				t.Errorf("encoded %x (%v), want %x", b, err, wire)
			}
		})
	}
}

func show(m *adapter.Message) string {
	b, _ := json.Marshal(struct {
		*adapter.Message
		Text string
	}{m, string(m.Packet.Data)})
	return string(b)
}

func TestSent(t *testing.T) {
	m := event(`["x"]`)
	m.Sent = time.Now().Add(-time.Hour)
	b, err := redisadapter.AppendMessage(nil, nodeUID, "/", &m)
	if err != nil {
		t.Fatal(err)
	}
	if b[0] != 0x94 {
		t.Errorf("encoded array header %#x, want 0x94", b[0])
	}
	got, err := redisadapter.DecodeMessage(string(b), "/", everyRoom)
	if err != nil || !got.Sent.Equal(m.Sent.Truncate(time.Microsecond)) {
		t.Errorf("decoded Sent %v (%v), want %v", got.Sent, err, m.Sent)
	}
	// What others put in the fourth place is theirs.
	foreign := append(bytes.Clone(b[:len(b)-len(msgp.AppendInt64(nil, m.Sent.UnixMicro()))-3]), 0xa1, 'x')
	if got, err := redisadapter.DecodeMessage(string(foreign), "/", everyRoom); err != nil || !got.Sent.IsZero() {
		t.Errorf("decoded a foreign fourth element: Sent %v, %v", got.Sent, err)
	}
}

// TestEncodeFaults: what the transcoder refuses is in its own tests.
func TestEncodeFaults(t *testing.T) {
	for _, test := range []struct {
		name, data  string
		attachments int
		want        error
	}{
		{"empty", ``, 0, redisadapter.ErrInvalidData},
		{"no array", `{"a":1}`, 0, redisadapter.ErrInvalidData},
		{"string", `"a"`, 0, redisadapter.ErrInvalidData},
		{"open array", `["a"`, 0, redisadapter.ErrInvalidData},
		{"deepest", strings.Repeat("[", parser.MaxDepth) + strings.Repeat("]", parser.MaxDepth), 0, nil},
		{"too deep", strings.Repeat("[", parser.MaxDepth+1) + strings.Repeat("]", parser.MaxDepth+1), 0, redisadapter.ErrTooDeep},
		{"placeholder without attachment", `["a",{"_placeholder":true,"num":1}]`, 1, redisadapter.ErrInvalidData},
		{"eleven attachments", `["a"]`, 11, redisadapter.ErrTooManyAttachments},
	} {
		m := event(test.data)
		m.Packet.Attachments = make([][]byte, test.attachments)
		kept := []byte("kept")
		b, err := redisadapter.AppendMessage(kept, nodeUID, "/", &m)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", test.name, err, test.want)
		}
		if err != nil && string(b) != "kept" {
			t.Errorf("%s: %d bytes were appended in spite of the error", test.name, len(b)-len(kept))
		}
	}
}

// TestReceivedFaults decodes what no adapter sends. Nothing but the named error may come of it.
func TestReceivedFaults(t *testing.T) {
	m := event(`["x",{"a":[1,2.5,"ü"]},{"_placeholder":true,"num":0}]`)
	m.Packet.Attachments = [][]byte{{1, 2, 3}}
	m.Rooms, m.Sent = []string{"r", "s"}, time.Now()
	whole, err := redisadapter.AppendMessage(nil, nodeUID, "/", &m)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		if _, err := redisadapter.DecodeMessage(string(whole[:i]), "/", everyRoom); !errors.Is(err, redisadapter.ErrMalformed) {
			t.Errorf("first %d of %d bytes: error %v, want %v", i, len(whole), err, redisadapter.ErrMalformed)
		}
	}
	message := func(data ...byte) string { // [uid, {data}, {}] around the bytes of data
		b := append([]byte("\x93\xa6abcdef\x82\xa4type\x02\xa4data"), data...)
		return string(append(b, 0x80))
	}
	huge := []byte{0xff, 0xff, 0xff, 0xff}
	for name, payload := range map[string]string{
		"no array":            "\x81\xa1a\x01",
		"array of two":        "\x92\xa1a\x80",
		"uid of a number":     "\x93\x01\x80\x80",
		"packet of a number":  "\x93\xa1a\x01\x80",
		"options of a number": "\x93\xa1a\x80\x01",
		"no data":             "\x93\xa1a\x80\x80",
		"packet type 4":       "\x93\xa1a\x82\xa4type\x04\xa4data\x91\xa1x\x80",
		"room of an array":    "\x93\xa1a\x81\xa4data\x91\xa1x\x81\xa5rooms\x91\x90",
		"rooms of a string":   "\x93\xa1a\x81\xa4data\x91\xa1x\x81\xa5rooms\xa1a",
		"huge rooms":          "\x93\xa1a\x81\xa4data\x91\xa1x\x81\xa5rooms\xdd\xff\xff\xff\xff\x01",
		"huge options":        "\x93\xa1a\x81\xa4data\x91\xa1x\xdf\xff\xff\xff\xff\x01",
		"empty data":          message(0x90),
		"data of a map":       message(0x80),
		"name of nil":         message(0x91, 0xc0),
		"name of an array":    message(0x91, 0x90),
		"reserved event":      message(append([]byte{0x91, 0xaa}, "disconnect"...)...),
		"huge array":          message(append([]byte{0x92, 0xa1, 'x', 0xdd}, huge...)...),
		"huge map":            message(append([]byte{0x92, 0xa1, 'x', 0xdf}, huge...)...),
		"huge string":         message(append([]byte{0x92, 0xa1, 'x', 0xdb}, huge...)...),
		"huge binary":         message(append([]byte{0x92, 0xa1, 'x', 0xc6}, huge...)...),
		"huge extension":      message(append([]byte{0x92, 0xa1, 'x', 0xc9}, huge...)...),
		"unknown extension":   message(0x92, 0xa1, 'x', 0xd4, 7, 1),
		"odd timestamp":       message(0x92, 0xa1, 'x', 0xd5, 0xff, 1, 2),
		"unused byte":         message(0x92, 0xa1, 'x', 0xc1),
		"key of an array":     message(0x92, 0xa1, 'x', 0x81, 0x90, 1),
		"too deep":            message(append([]byte{0x92, 0xa1, 'x'}, append(bytes.Repeat([]byte{0x91}, 2000), 1)...)...),
		"very deep options":   "\x93\xa1a\x81\xa4data\x91\xa1x\x81\xa1z" + strings.Repeat("\x91", 1<<20),
		"eleven attachments":  message(append([]byte{0x9c, 0xa1, 'x'}, bytes.Repeat([]byte{0xc4, 1, 0}, 11)...)...),
	} {
		if got, err := redisadapter.DecodeMessage(payload, "/", everyRoom); !errors.Is(err, redisadapter.ErrMalformed) {
			t.Errorf("%s: %v, error %v, want %v", name, got, err, redisadapter.ErrMalformed)
		}
	}
}

func TestNotForUs(t *testing.T) {
	m := event(`["x"]`)
	m.Rooms = []string{"a", "b"}
	b, err := redisadapter.AppendMessage(nil, nodeUID, "/admin", &m)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, namespace string
		room            string
		want            bool
	}{
		{"first room", "/admin", "a", true},
		{"second room", "/admin", "b", true},
		{"no room", "/admin", "c", false},
		{"other namespace", "/", "a", false},
	} {
		got, err := redisadapter.DecodeMessage(string(b), test.namespace, func(r string) bool { return r == test.room })
		if err != nil || got != nil != test.want {
			t.Errorf("%s: %v, %v, want a message: %v", test.name, got, err, test.want)
		}
	}
	if !redisadapter.IsOwn(string(b), nodeUID) || redisadapter.IsOwn(string(b), "other6") || redisadapter.IsOwn("\x93\xa6TYCk5e"[:7], nodeUID) {
		t.Error("IsOwn does not tell the sender")
	}
}
