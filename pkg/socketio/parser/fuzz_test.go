package parser_test

import (
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"example.com/chorus/pkg/socketio/parser"
)

// grown is how much larger than its messages a packet may be: the largest growth is that of a control character,
// 1 byte to 6, a comma, and a placeholder.
func grown(input, limit int) int { return 7*input + 40*limit }

func size(p *parser.Packet) int {
	n := len(p.Namespace) + len(p.Data)
	for _, b := range p.Binary {
		n += len(b)
	}
	return n
}

// again encodes a decoded packet and decodes it: it must come back the same, unless its form has no room for it.
func again(t *testing.T, p parser.Parser, got *parser.Packet) {
	t.Helper()
	if err := got.Check(); err != nil {
		t.Fatalf("decoded %+v, which the check refuses: %v", got, err)
	}
	want := *got
	chunks, err := p.Encode(want)
	if err != nil {
		t.Fatalf("decoded %+v, which cannot be encoded: %v", want, err)
	}
	back, err := decodeAll(p.NewDecoder(), chunks)
	if err != nil || !same(back, &want) {
		t.Fatalf("%+v comes back as %+v, %v", want, back, err)
	}
}

// FuzzDefault feeds a decoder of the default form with two text and two binary messages in all orders.
func FuzzDefault(f *testing.F) {
	f.Add([]byte(`52-["b",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]`), []byte{1}, []byte{}, byte(0b0110))
	f.Add([]byte(`61-/a,7[{"num":0 ,"_placeholder": true}]`), []byte("x"), []byte(`2["a",{"_placeholder":true,"num":0}]`), byte(0b0010))
	f.Add([]byte(`0/admin,{"token":1}`), []byte(`1/admin,`), []byte(`4"no"`), byte(0))
	f.Add([]byte(`61-`), []byte("nothing refers to it"), []byte(`0`), byte(0b0010))
	f.Fuzz(func(t *testing.T, a, b, c []byte, binary byte) {
		d := parser.Default().NewDecoder()
		defer d.Close()
		total := 0
		for i, msg := range [][]byte{a, b, c} {
			total += len(msg)
			p, err := d.Add(parser.Chunk{Binary: binary>>i&1 == 1, Data: msg})
			if err != nil {
				return
			}
			if p == nil {
				continue
			}
			if len(p.Binary) != p.Attachments || size(p) > total {
				t.Fatalf("%q, %q, %q are decoded as %+v", a, b, c, p)
			}
			again(t, parser.Default(), p)
		}
	})
}

func FuzzMsgpack(f *testing.F) {
	for _, p := range packets {
		chunks, err := parser.Msgpack().Encode(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(chunks[0].Data)
	}
	f.Add([]byte("\x85\xa4type\x02\xa4data\x94\xa1x\xd7\x00\x00\x00\x00\x00\x00\x00\x03\xe8\xc7\x01\x00\x09\xd4\x00\x00\xa3nsp\xa1/\xa2id\xd4\x00\x00\xa7options\x81\xa8compress\xc3"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		p, err := parser.Msgpack().NewDecoder().Add(parser.Chunk{Binary: true, Data: msg})
		if err != nil {
			return
		}
		if len(p.Data) > 0 && !json.Valid(p.Data) || !utf8.Valid(p.Data) || !utf8.Valid(p.Namespace) {
			t.Fatalf("%x is decoded as %+v", msg, p)
		}
		if n, limit := size(p), grown(len(msg), parser.MaxAttachments); n > limit || len(p.Binary) != p.Attachments {
			t.Fatalf("%d bytes are decoded to %d, limit %d: %+v", len(msg), n, limit, p)
		}
		again(t, parser.Msgpack(), p)
	})
}

// FuzzAcross carries packets from one form to the other, as a broadcast does whose emitter and receivers use
// different parsers: the meaning must stay.
func FuzzAcross(f *testing.F) {
	for _, p := range packets {
		f.Add(p.Data, []byte("/a"), uint64(7), []byte{1})
	}
	f.Fuzz(func(t *testing.T, data, nsp []byte, id uint64, binary []byte) {
		header := parser.AppendHeader(nil, parser.Event, 1, "/"+string(nsp), id%parser.MaxID, true)
		d := parser.Default().NewDecoder()
		p, err := decodeAll(d, []parser.Chunk{{Data: append(header, data...)}, {Binary: true, Data: binary}})
		if err != nil || len(p.Data) == 0 || !utf8.Valid(p.Namespace) {
			return
		}
		want := *p
		chunks, err := parser.Msgpack().Encode(want)
		if err != nil {
			t.Fatalf("%+v has no MessagePack form: %v", want, err)
		}
		got, err := decodeAll(parser.Msgpack().NewDecoder(), chunks)
		if err != nil {
			t.Fatalf("%+v becomes %x, which is refused: %v", want, chunks[0].Data, err)
		}
		again(t, parser.Default(), got)
		// A binary value that no placeholder stands for is not carried, and placeholders get numbers in their order.
		if !same(got, &want) && (string(got.Namespace) != string(want.Namespace) || got.ID != want.ID || len(got.Binary) > 1 || !sameJSON(got.Data, want.Data)) {
			t.Fatalf("%+v becomes %+v", want, got)
		}
	})
}

// FuzzAppendJSON: what the transcoder takes is JSON of a bounded size and is written back unchanged.
func FuzzAppendJSON(f *testing.F) {
	f.Add([]byte{0x93, 0xc4, 1, 9, 0xd4, 0, 0, 0x82, 0xa1, 'a', 0xd4, 0, 0, 0xa1, 'b', 0xcb, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte{0xc7, 12, 0xff, 0x3b, 0x8b, 0x87, 0xc0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, msg []byte) {
		limits := parser.Limits{MaxAttachments: 3}
		text, binary, rest, err := limits.AppendJSON([]byte("kept"), msg)
		if string(text[:4]) != "kept" {
			t.Fatalf("%x changes what was before: %q", msg, text)
		}
		if text = text[4:]; err != nil {
			if len(text) > 0 {
				t.Fatalf("%x appends %q in spite of %v", msg, text, err)
			}
			return
		}
		if n, limit := len(text), grown(len(msg)-len(rest), 3); !json.Valid(text) || !utf8.Valid(text) || n > limit {
			t.Fatalf("%x is decoded to %q, limit %d", msg, text, limit)
		}
		again, err := limits.AppendMsgpack(nil, text, binary)
		if err != nil {
			t.Fatalf("%q of %x is refused: %v", text, msg, err)
		}
		back, _, _, err := limits.AppendJSON(nil, again)
		if err != nil || string(back) != string(text) {
			t.Fatalf("%q comes back as %q, %v", text, back, err)
		}
	})
}

// FuzzCheckPlaceholders: what it lets through, JavaScript's decoder must take: every object that says that it is a
// placeholder names an attachment, and each is named at most once.
func FuzzCheckPlaceholders(f *testing.F) {
	f.Add([]byte(`["b",{"_placeholder":true,"num":0},{"\u005fplaceholder":true}]`))
	f.Add([]byte(`["b",{"num":{"_placeholder":true},"_placeholder":false},{"num":1,"_placeholder":true}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v any
		if json.Unmarshal(data, &v) != nil {
			return
		}
		err := parser.CheckPlaceholders(data, 2)
		if err != nil && !errors.Is(err, parser.ErrIllegalAttachments) {
			t.Fatal(err)
		}
		if err == nil && !legalPlaceholders(v, make(map[float64]bool)) {
			t.Fatalf("CheckPlaceholders(%s) lets a bad placeholder through", data)
		}
	})
}

// legalPlaceholders looks at a tree as JavaScript's decoder does that has two attachments.
func legalPlaceholders(v any, named map[float64]bool) bool {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if !legalPlaceholders(e, named) {
				return false
			}
		}
	case map[string]any:
		if v["_placeholder"] == true {
			num, ok := v["num"].(float64)
			ok = ok && (num == 0 || num == 1) && !named[num]
			named[num] = true
			return ok
		}
		for _, e := range v {
			if !legalPlaceholders(e, named) {
				return false
			}
		}
	}
	return true
}
