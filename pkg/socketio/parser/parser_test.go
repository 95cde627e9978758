package parser_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"example.com/chorus/pkg/socketio/parser"
)

// parsers are the wire formats that every test of the contract runs with.
var parsers = map[string]func(parser.Limits) parser.Parser{
	"default": parser.Limits.Default,
	"msgpack": parser.Limits.Msgpack,
}

// packets have data in the form that both formats give back byte by byte.
var packets = []parser.Packet{
	{Type: parser.Connect},
	{Type: parser.Connect, Data: []byte(`{"token":"abc"}`), Namespace: []byte("/admin")},
	{Type: parser.Disconnect},
	{Type: parser.Disconnect, Namespace: []byte("/admin")},
	{Type: parser.Event, Data: []byte(`["hello",1,{"a":null},[],-1.5,"é€😀"]`)},
	{Type: parser.Event, Data: []byte(`[1]`), HasID: true, Namespace: []byte("/a")},
	{Type: parser.Event, Data: []byte(`["plain",{"_placeholder":true,"num":3}]`)},
	{Type: parser.Event, Data: []byte(`["b",{"_placeholder":true,"num":0},{"k":{"_placeholder":true,"num":1}}]`), Binary: [][]byte{{1, 2, 0xff}, {}}},
	{Type: parser.Ack, Data: []byte(`[]`), ID: parser.MaxID, HasID: true},
	{Type: parser.Ack, Data: []byte(`[{"_placeholder":true,"num":0}]`), ID: 3, HasID: true, Namespace: []byte("/a"), Binary: [][]byte{[]byte("x")}},
	{Type: parser.ConnectError, Data: []byte(`{"message":"no","data":{"k":1}}`)},
	{Type: parser.ConnectError, Data: []byte(`"no"`), Namespace: []byte("/x")},
}

// decodeAll feeds one decoder and returns the only packet that comes of it.
func decodeAll(d parser.Decoder, chunks []parser.Chunk) (*parser.Packet, error) {
	for i, c := range chunks {
		p, err := d.Add(c)
		switch {
		case err != nil:
			return nil, err
		case p != nil && i < len(chunks)-1:
			return nil, fmt.Errorf("packet after %d of %d chunks", i+1, len(chunks))
		case p != nil:
			return p, nil
		}
	}
	return nil, errors.New("no packet")
}

// same compares what packets mean: a binary form and its plain one are equal.
func same(a, b *parser.Packet) bool {
	plain := func(t parser.Type) parser.Type {
		switch t {
		case parser.BinaryEvent:
			return parser.Event
		case parser.BinaryAck:
			return parser.Ack
		}
		return t
	}
	return plain(a.Type) == plain(b.Type) && a.HasID == b.HasID && a.ID == b.ID && bytes.Equal(a.Namespace, b.Namespace) &&
		bytes.Equal(a.Data, b.Data) && slices.EqualFunc(a.Binary, b.Binary, bytes.Equal)
}

func TestRoundTrip(t *testing.T) {
	for name, format := range parsers {
		t.Run(name, func(t *testing.T) {
			p := format(parser.Limits{})
			d := p.NewDecoder()
			defer d.Close()
			for _, want := range packets {
				chunks, err := p.Encode(want)
				if err != nil {
					t.Fatalf("Encode(%s) = %v", want.Data, err)
				}
				got, err := decodeAll(d, chunks)
				if err != nil || !same(got, &want) {
					t.Errorf("decode of %s = %+v, %v, want %+v", chunks[0].Data, got, err, want)
					continue
				}
				if got.Attachments != len(want.Binary) {
					t.Errorf("%s has %d attachments, want %d", want.Data, got.Attachments, len(want.Binary))
				}
			}
		})
	}
}

func TestEncodeTakesBinaryForms(t *testing.T) {
	for name, format := range parsers {
		p := format(parser.Limits{})
		for _, typ := range []parser.Type{parser.Event, parser.Ack} {
			plain := parser.Packet{Type: typ, Data: []byte(`["b",{"_placeholder":true,"num":0}]`), Binary: [][]byte{{7}}}
			binary := plain
			binary.Type = typ + parser.BinaryEvent - parser.Event
			a, errA := p.Encode(plain)
			b, errB := p.Encode(binary)
			if errA != nil || errB != nil || !reflect.DeepEqual(a, b) {
				t.Errorf("%s: Encode(%s) = %v, %v; of %s it is %v, %v, want equal", name, typ, a, errA, binary.Type, b, errB)
			}
			binary.Data, binary.Binary = []byte(`["b"]`), nil
			chunks, err := p.Encode(binary)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := decodeAll(p.NewDecoder(), chunks); err != nil || got.Type != typ {
				t.Errorf("%s: %s without attachments is decoded as %+v, %v, want %s", name, binary.Type, got, err, typ)
			}
		}
	}
}

func TestAttachmentLimit(t *testing.T) {
	with := func(n int) parser.Packet {
		p := parser.Packet{Type: parser.Event, Data: []byte(`["b"`)}
		for i := range n {
			p.Data = parser.AppendPlaceholder(append(p.Data, ','), i)
			p.Binary = append(p.Binary, []byte{byte(i)})
		}
		p.Data = append(p.Data, ']')
		return p
	}
	for name, format := range parsers {
		for _, limit := range []int{0, 1, 12} {
			effective := limit
			if limit == 0 {
				effective = parser.MaxAttachments
			}
			p := format(parser.Limits{MaxAttachments: limit})
			chunks, err := p.Encode(with(effective))
			if err != nil {
				t.Errorf("%s: Encode of %d attachments, limit %d: %v", name, effective, limit, err)
			}
			if _, err := decodeAll(p.NewDecoder(), chunks); err != nil {
				t.Errorf("%s: decode of %d attachments, limit %d: %v", name, effective, limit, err)
			}
			if _, err := p.Encode(with(effective + 1)); !errors.Is(err, parser.ErrTooManyAttachments) {
				t.Errorf("%s: Encode of %d attachments, limit %d: %v, want %v", name, effective+1, limit, err, parser.ErrTooManyAttachments)
			}
			chunks, err = format(parser.Limits{MaxAttachments: 100}).Encode(with(effective + 1))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := decodeAll(p.NewDecoder(), chunks); !errors.Is(err, parser.ErrTooManyAttachments) {
				t.Errorf("%s: decode of %d attachments, limit %d: %v, want %v", name, effective+1, limit, err, parser.ErrTooManyAttachments)
			}
		}
	}
}

func TestDefaultDecoderOrder(t *testing.T) {
	text := func(s string) parser.Chunk { return parser.Chunk{Data: []byte(s)} }
	binary := parser.Chunk{Binary: true, Data: []byte{1}}
	tests := []struct {
		name   string
		chunks []parser.Chunk
		want   error
	}{
		{"text while attachments are missing", []parser.Chunk{text(`51-["b",{"_placeholder":true,"num":0}]`), text(`2["a"]`)}, parser.ErrPlaintext},
		{"binary first", []parser.Chunk{binary}, parser.ErrBinary},
		{"malformed", []parser.Chunk{text(`2{`)}, parser.ErrInvalidPayload},
		{"number out of range", []parser.Chunk{text(`51-["b",{"_placeholder":true,"num":1}]`)}, parser.ErrIllegalAttachments},
		{"number twice", []parser.Chunk{text(`51-["b",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]`)}, parser.ErrIllegalAttachments},
	}
	for _, tt := range tests {
		if p, err := decodeAll(parser.Default().NewDecoder(), tt.chunks); !errors.Is(err, tt.want) {
			t.Errorf("%s: %+v, %v, want %v", tt.name, p, err, tt.want)
		}
	}
	d := parser.Default().NewDecoder()
	if p, err := d.Add(text(`51-["b",{"_placeholder":true,"num":0}]`)); p != nil || err != nil {
		t.Fatalf("header of a binary event: %+v, %v, want nothing yet", p, err)
	}
	if p, err := d.Add(binary); err != nil || len(p.Binary) != 1 {
		t.Fatalf("its attachment: %+v, %v, want the packet", p, err)
	}
	if _, err := d.Add(binary); !errors.Is(err, parser.ErrBinary) {
		t.Errorf("an attachment too many: %v, want %v", err, parser.ErrBinary)
	}
}

// TestDefaultDecoderCopies: the bytes of a chunk are the transport's, who uses them again for the next one.
func TestDefaultDecoderCopies(t *testing.T) {
	d := parser.Default().NewDecoder()
	const data = `["b",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`
	want := &parser.Packet{
		Type: parser.BinaryEvent, Attachments: 2, Namespace: []byte("/a"), Data: []byte(data), Binary: [][]byte{{1, 2}, {3}},
	}
	buf := make([]byte, 0, 128)
	var got *parser.Packet
	for _, c := range []parser.Chunk{{Data: []byte("52-/a," + data)}, {Binary: true, Data: want.Binary[0]}, {Binary: true, Data: want.Binary[1]}} {
		var err error
		if got, err = d.Add(parser.Chunk{Binary: c.Binary, Data: append(buf, c.Data...)}); err != nil {
			t.Fatal(err)
		}
		clear(buf[:cap(buf)])
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("decoded %+v, want %+v", got, want)
	}
}

func TestCheckPlaceholders(t *testing.T) {
	ph := func(n int) string { return string(parser.AppendPlaceholder(nil, n)) }
	tests := []struct {
		in          string
		attachments int
		ok          bool
	}{
		{`["b",` + ph(0) + `]`, 1, true},
		{`["b",` + ph(1) + `,{"a":` + ph(0) + `}]`, 2, true},
		{`["b"]`, 1, true},
		{`["_placeholder",{"a":"_placeholder"}]`, 1, true},
		{`["{\"_placeholder\":true,\"num\":9}"]`, 1, true},
		{`["b",{"placeholder":true,"num":9}]`, 1, true},
		{`["b",{"x\"_placeholder":true,"num":9}]`, 1, true},
		{`["b",` + ph(1) + `]`, 1, false},
		{`["b",` + ph(0) + `,` + ph(0) + `]`, 1, false},
		{`["b",{"_placeholder":true,"num":0,"x":1}]`, 1, false},
		{`["b",{"x":1,"_placeholder":true,"num":9}]`, 1, false},
		{`["b",{"_placeholder":true}]`, 1, false},
		{`["b",{"_placeholder":true,"num":-1}]`, 1, false},
		{`["b",{"_placeholder":true,"num":"0"}]`, 1, false},
		{`["b",{"_placeholder" : true,"num":[]}]`, 1, false},
		{`["b",{"_placeholder":true,"num":0.0}]`, 1, false},
		{`["b",{"_placeholder":true,"num":0,"num":0}]`, 1, false},
		{`["b",{"_placeholder":false,"_placeholder":true,"num":0}]`, 1, false},
		{`["b",{"_placeholder":true,"num":65536}]`, 1, false},
		{`["b",{"_placeholder":true,"num":18446744073709551616}]`, 1, false},
		{`["b",` + ph(0) + `,` + ph(2) + `,` + ph(0) + `]`, 3, false},
		{`["b",{"_placeholder":false,"num":9}]`, 1, true},
		{`["b",{"_placeholder":"true","num":9}]`, 1, true},
		{`["b",{"\u005fplaceholder":true,"num":9}]`, 1, false},
		{`["b",{"num":0,"\u005f\u0070\u006c\u0061\u0063\u0065\u0068\u006f\u006c\u0064\u0065\u0072":true}]`, 1, false},
		{`["b",{"num":{"_placeholder":true,"num":9},"a":1}]`, 1, false},
	}
	for _, tt := range tests {
		err := parser.CheckPlaceholders([]byte(tt.in), tt.attachments)
		if ok := err == nil; ok != tt.ok || err != nil && !errors.Is(err, parser.ErrIllegalAttachments) {
			t.Errorf("CheckPlaceholders(%s, %d) = %v, want ok %t", tt.in, tt.attachments, err, tt.ok)
		}
	}
}

// BenchmarkPlaceholdersNested searches text that looks like a placeholder at every level: the time must grow with the
// length, not with its square.
func BenchmarkPlaceholdersNested(b *testing.B) {
	for _, kB := range []int{10, 1000} {
		text := []byte(strings.Repeat(`{"_placeholder":`, kB*1000/17) + "1" + strings.Repeat("}", kB*1000/17))
		b.Run(fmt.Sprintf("%dkB", kB), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if err := parser.CheckPlaceholders(text, 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// pack makes a MessagePack map of keys and values, in their order.
func pack(t *testing.T, pairs ...any) []byte {
	t.Helper()
	b := msgp.AppendMapHeader(nil, uint32(len(pairs)/2))
	for _, v := range pairs {
		var err error
		if raw, ok := v.(msgp.Raw); ok {
			b = append(b, raw...)
		} else if b, err = msgp.AppendIntf(b, v); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestMsgpackDecoder(t *testing.T) {
	undefined := msgp.Raw{0xd4, 0, 0}
	hello := []any{"hello"}
	tests := []struct {
		name string
		msg  []byte
		want parser.Packet
	}{
		{"id first", pack(t, "id", 7, "type", 3, "data", []any{1}, "nsp", "/"), parser.Packet{Type: parser.Ack, ID: 7, HasID: true, Data: []byte(`[1]`)}},
		{"undefined id and data", pack(t, "type", 0, "id", undefined, "data", undefined, "nsp", "/zz"), parser.Packet{Type: parser.Connect, Namespace: []byte("/zz")}},
		{"options and other keys", pack(t, "options", map[string]any{"compress": true}, "type", 2, "data", hello, "x", []any{[]any{}}, "nsp", "/"), parser.Packet{Type: parser.Event, Data: []byte(`["hello"]`)}},
		{"last of two", pack(t, "type", 3, "type", 2, "data", hello, "nsp", "/a", "nsp", "/b"), parser.Packet{Type: parser.Event, Namespace: []byte("/b"), Data: []byte(`["hello"]`)}},
		{"wide integers", pack(t, "type", msgp.Raw{0xd3, 0, 0, 0, 0, 0, 0, 0, 2}, "id", msgp.Raw{0xcf, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "data", hello, "nsp", "/"),
			parser.Packet{Type: parser.Event, ID: parser.MaxID, HasID: true, Data: []byte(`["hello"]`)}},
	}
	for _, tt := range tests {
		got, err := parser.Msgpack().NewDecoder().Add(parser.Chunk{Binary: true, Data: tt.msg})
		if err != nil || !same(got, &tt.want) {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
}

func TestMsgpackDecoderRefuses(t *testing.T) {
	hello := []any{"hello"}
	whole := pack(t, "type", 2, "data", []any{"hello", []byte{1}, 2.5, map[string]any{"a": nil}}, "id", 300, "nsp", "/a")
	tests := []struct {
		name string
		msg  []byte
		want error
	}{
		{"nothing", nil, parser.ErrMalformed},
		{"array", []byte{0x90}, parser.ErrMalformed},
		{"empty map", []byte{0x80}, parser.ErrUnknownType},
		{"bytes behind", append(pack(t, "type", 2, "data", hello, "nsp", "/"), 0xc0), parser.ErrMalformed},
		{"key of a number", pack(t, 1, 2), parser.ErrMalformed},
		{"type 5", pack(t, "type", 5, "data", hello, "nsp", "/"), parser.ErrUnknownType},
		{"type -1", pack(t, "type", -1, "data", hello, "nsp", "/"), parser.ErrUnknownType},
		{"type of text", pack(t, "type", "2", "data", hello, "nsp", "/"), parser.ErrUnknownType},
		{"type of a fraction", pack(t, "type", 2.5, "data", hello, "nsp", "/"), parser.ErrUnknownType},
		{"no namespace", pack(t, "type", 2, "data", hello), parser.ErrInvalidNamespace},
		{"empty namespace", pack(t, "type", 2, "data", hello, "nsp", ""), parser.ErrInvalidNamespace},
		{"namespace of a number", pack(t, "type", 2, "data", hello, "nsp", 1), parser.ErrInvalidNamespace},
		{"namespace that is not UTF-8", pack(t, "type", 2, "data", hello, "nsp", "/\xff"), parser.ErrInvalidNamespace},
		{"negative id", pack(t, "type", 2, "data", hello, "nsp", "/", "id", -1), parser.ErrInvalidID},
		{"huge id", pack(t, "type", 2, "data", hello, "nsp", "/", "id", uint64(parser.MaxID+1)), parser.ErrInvalidID},
		{"nil id", pack(t, "type", 2, "data", hello, "nsp", "/", "id", nil), parser.ErrInvalidID},
		{"event without data", pack(t, "type", 2, "nsp", "/"), parser.ErrInvalidPayload},
		{"event of a map", pack(t, "type", 2, "nsp", "/", "data", map[string]any{}), parser.ErrInvalidPayload},
		{"event without name", pack(t, "type", 2, "nsp", "/", "data", []any{}), parser.ErrInvalidPayload},
		{"event with a name of nil", pack(t, "type", 2, "nsp", "/", "data", []any{nil}), parser.ErrInvalidPayload},
		{"reserved event", pack(t, "type", 2, "nsp", "/", "data", []any{"connect"}), parser.ErrReservedEvent},
		{"acknowledgement without data", pack(t, "type", 3, "nsp", "/", "id", 1), parser.ErrInvalidPayload},
		{"auth of an array", pack(t, "type", 0, "nsp", "/", "data", hello), parser.ErrInvalidPayload},
		{"auth of nil", pack(t, "type", 0, "nsp", "/", "data", nil), parser.ErrInvalidPayload},
		{"auth with a binary value", pack(t, "type", 0, "nsp", "/", "data", map[string]any{"a": []byte{1}}), parser.ErrInvalidPayload},
		{"disconnect with data", pack(t, "type", 1, "nsp", "/", "data", hello), parser.ErrInvalidPayload},
		{"error without data", pack(t, "type", 4, "nsp", "/"), parser.ErrInvalidPayload},
		{"false placeholder", pack(t, "type", 2, "nsp", "/", "data", []any{"a", []byte{1}, map[string]any{"_placeholder": true, "num": 0}}), parser.ErrIllegalAttachments},
		{"too deep", pack(t, "type", 2, "nsp", "/", "data", msgp.Raw(strings.Repeat("\x91", 100_000)+"\xc0")), parser.ErrTooDeep},
		{"too deep where nobody looks", pack(t, "x", msgp.Raw(strings.Repeat("\x91", 100_000)+"\xc0")), parser.ErrUnknownType},
		{"huge array", pack(t, "type", 2, "nsp", "/", "data", msgp.Raw{0xdd, 0xff, 0xff, 0xff, 0xff, 1}), parser.ErrMalformed},
		{"huge map", []byte{0xdf, 0xff, 0xff, 0xff, 0xff, 0xa1, 'x', 1}, parser.ErrMalformed},
		{"huge binary value", pack(t, "type", 2, "nsp", "/", "data", msgp.Raw{0xc6, 0xff, 0xff, 0xff, 0xff, 1}), parser.ErrMalformed},
		{"huge extension", pack(t, "type", 2, "nsp", "/", "data", msgp.Raw{0xc9, 0xff, 0xff, 0xff, 0xff, 0, 1}), parser.ErrMalformed},
		{"unknown extension", pack(t, "type", 2, "nsp", "/", "data", msgp.Raw{0x92, 0xa1, 'x', 0xd4, 7, 1}), parser.ErrMalformed},
	}
	for i := range whole {
		tests = append(tests, struct {
			name string
			msg  []byte
			want error
		}{fmt.Sprintf("first %d of %d bytes", i, len(whole)), whole[:i], parser.ErrMalformed})
	}
	for _, tt := range tests {
		p, err := parser.Msgpack().NewDecoder().Add(parser.Chunk{Binary: true, Data: tt.msg})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %+v, error %v, want %v", tt.name, p, err, tt.want)
		}
	}
	if _, err := parser.Msgpack().NewDecoder().Add(parser.Chunk{Data: []byte("0")}); !errors.Is(err, parser.ErrMalformed) {
		t.Errorf("text message: error %v, want %v", err, parser.ErrMalformed)
	}
}
