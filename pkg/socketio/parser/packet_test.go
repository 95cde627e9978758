package parser_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"example.com/chorus/pkg/socketio/parser"
)

func TestDecode(t *testing.T) {
	tests := []struct {
		in   string
		want parser.Packet
	}{
		{`0`, parser.Packet{Type: parser.Connect}},
		{`0{"token":"abc"}`, parser.Packet{Type: parser.Connect, Data: []byte(`{"token":"abc"}`)}},
		{`0/admin,{"token":"abc"}`, parser.Packet{Type: parser.Connect, Namespace: []byte("/admin"), Data: []byte(`{"token":"abc"}`)}},
		{`0/admin`, parser.Packet{Type: parser.Connect, Namespace: []byte("/admin")}},
		{`0/,`, parser.Packet{Type: parser.Connect}},
		{`1/admin,`, parser.Packet{Type: parser.Disconnect, Namespace: []byte("/admin")}},
		{`2["hello",1,{"a":null}]`, parser.Packet{Type: parser.Event, Data: []byte(`["hello",1,{"a":null}]`)}},
		{`2 ["hello"]`, parser.Packet{Type: parser.Event, Data: []byte(`["hello"]`)}},
		{`2[1]`, parser.Packet{Type: parser.Event, Data: []byte(`[1]`)}},
		{`2[-1]`, parser.Packet{Type: parser.Event, Data: []byte(`[-1]`)}},
		{`2`, parser.Packet{Type: parser.Event}},
		{`212["q",5]`, parser.Packet{Type: parser.Event, ID: 12, HasID: true, Data: []byte(`["q",5]`)}},
		{`2/admin,12["q"]`, parser.Packet{Type: parser.Event, Namespace: []byte("/admin"), ID: 12, HasID: true, Data: []byte(`["q"]`)}},
		{`3/admin,12[]`, parser.Packet{Type: parser.Ack, Namespace: []byte("/admin"), ID: 12, HasID: true, Data: []byte(`[]`)}},
		{`39007199254740991[]`, parser.Packet{Type: parser.Ack, ID: parser.MaxID, HasID: true, Data: []byte(`[]`)}},
		{`4{"message":"no"}`, parser.Packet{Type: parser.ConnectError, Data: []byte(`{"message":"no"}`)}},
		{`51-["b",{"_placeholder":true,"num":0}]`, parser.Packet{Type: parser.BinaryEvent, Attachments: 1, Data: []byte(`["b",{"_placeholder":true,"num":0}]`)}},
		{`610-/a,3[]`, parser.Packet{Type: parser.BinaryAck, Attachments: 10, Namespace: []byte("/a"), ID: 3, HasID: true, Data: []byte(`[]`)}},
	}
	for _, tt := range tests {
		got, err := parser.Decode([]byte(tt.in))
		if err != nil {
			t.Errorf("Decode(%s) = %v, want no error", tt.in, err)
			continue
		}
		if got.Type != tt.want.Type || got.Attachments != tt.want.Attachments || got.ID != tt.want.ID || got.HasID != tt.want.HasID ||
			!bytes.Equal(got.Namespace, tt.want.Namespace) || !bytes.Equal(got.Data, tt.want.Data) {
			t.Errorf("Decode(%s) = %+v, want %+v", tt.in, got, tt.want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct {
		in   string
		want error
	}{
		{``, parser.ErrUnknownType},
		{`7`, parser.ErrUnknownType},
		{`x`, parser.ErrUnknownType},
		{`5["b"]`, parser.ErrIllegalAttachments},
		{`5-["b"]`, parser.ErrIllegalAttachments},
		{`50-["b"]`, parser.ErrIllegalAttachments},
		{`51["b"]`, parser.ErrIllegalAttachments},
		{`511-["b"]`, parser.ErrTooManyAttachments},
		{`599999999999999999999-["b"]`, parser.ErrTooManyAttachments},
		{`0[]`, parser.ErrInvalidPayload},
		{`0null`, parser.ErrInvalidPayload},
		{`1{}`, parser.ErrInvalidPayload},
		{`2{}`, parser.ErrInvalidPayload},
		{`2[]`, parser.ErrInvalidPayload},
		{`2[null]`, parser.ErrInvalidPayload},
		{`2[{}]`, parser.ErrInvalidPayload},
		{`2["a"`, parser.ErrInvalidPayload},
		{`2["a"]x`, parser.ErrInvalidPayload},
		{`2 `, parser.ErrInvalidPayload},
		{`2 1["a"]`, parser.ErrInvalidPayload},
		{`2["connect"]`, parser.ErrReservedEvent},
		{`2[ "disconnect" ]`, parser.ErrReservedEvent},
		{`2["\u0064isconnect"]`, parser.ErrReservedEvent},
		{`3{}`, parser.ErrInvalidPayload},
		{`39007199254740992[]`, parser.ErrInvalidID},
		{`2["a",` + strings.Repeat("[", 1000) + strings.Repeat("]", 1001), parser.ErrTooDeep},
		{`2["a","["` + strings.Repeat(`,{"a":[]}`, 1000) + "]", nil},
		{`2` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), parser.ErrInvalidPayload},
	}
	for _, tt := range tests {
		if _, err := parser.Decode([]byte(tt.in)); !errors.Is(err, tt.want) {
			t.Errorf("Decode(%.60s) = %v, want %v", tt.in, err, tt.want)
		}
	}
}

func TestSplit(t *testing.T) {
	tests := []struct {
		in, name string
		args     []string
	}{
		{`["hello"]`, `"hello"`, nil},
		{`[ "a\"]" , [1,[2,"]"]] , {"b":"}"},null ,-1.5e3, "x" ]`, `"a\"]"`, []string{`[1,[2,"]"]]`, `{"b":"}"}`, `null`, `-1.5e3`, `"x"`}},
		{`["a","\\","\\\""]`, `"a"`, []string{`"\\"`, `"\\\""`}},
		{`[1,true]`, `1`, []string{`true`}},
		{``, ``, nil},
	}
	for _, tt := range tests {
		name, rest := parser.Split([]byte(tt.in))
		if string(name) != tt.name {
			t.Errorf("Split(%s) name = %s, want %s", tt.in, name, tt.name)
		}
		if n := parser.Count(rest); n != len(tt.args) {
			t.Errorf("Count(%s) = %d, want %d", rest, n, len(tt.args))
		}
		for i, want := range tt.args {
			var got []byte
			if got, rest, _ = parser.Next(rest); string(got) != want {
				t.Errorf("Split(%s) argument %d = %s, want %s", tt.in, i, got, want)
			}
		}
	}
}

func TestHeader(t *testing.T) {
	tests := []struct {
		typ         parser.Type
		attachments int
		nsp         string
		id          uint64
		hasID       bool
		want        string
	}{
		{parser.Event, 0, "/", 0, false, "2"},
		{parser.Event, 0, "", 12, true, "212"},
		{parser.Event, 2, "/admin", 12, true, "52-/admin,12"},
		{parser.Ack, 1, "/", 3, true, "61-3"},
		{parser.Disconnect, 0, "/admin", 0, false, "1/admin,"},
	}
	for _, tt := range tests {
		if got := string(parser.AppendHeader(nil, tt.typ, tt.attachments, tt.nsp, tt.id, tt.hasID)); got != tt.want {
			t.Errorf("AppendHeader(%v, %d, %q, %d, %t) = %s, want %s", tt.typ, tt.attachments, tt.nsp, tt.id, tt.hasID, got, tt.want)
		}
	}
}

func TestAppendString(t *testing.T) {
	for _, s := range []string{"", "plain", "<b>&</b>", "\"\\\n\r\t\x00\x1f", "é€😀", "\u2028", "bad \xff utf"} {
		got := parser.AppendString(nil, s)
		var back string
		if err := json.Unmarshal(got, &back); err != nil || back != strings.ToValidUTF8(s, "\ufffd") {
			t.Errorf("AppendString(%q) = %s, reads back as %q (%v)", s, got, back, err)
		}
	}
	if got := string(parser.AppendString(nil, "<&>")); got != `"<&>"` {
		t.Errorf("AppendString escapes HTML: %s", got)
	}
}

func TestPlaceholders(t *testing.T) {
	tests := []struct {
		in   string
		want []int
	}{
		{`["b",{"_placeholder":true,"num":0}]`, []int{0}},
		{`["b",{"a":[{"num": 1 , "_placeholder" : true }]},{"_placeholder":true,"num":0}]`, []int{1, 0}},
		{`["{\"_placeholder\":true,\"num\":0}"]`, nil},
		{`[{"_placeholder":false,"num":0}]`, nil},
		{`[{"_placeholder":true,"num":-1}]`, nil},
		{`[{"_placeholder":true,"num":0,"x":1}]`, nil},
		{`[{"_placeholder":true}]`, nil},
		{`[{"_placeholder":true,"num":{"num":1}}]`, nil},
		{`[{}, {"a":{}}]`, nil},
	}
	for _, tt := range tests {
		var got []int
		err := parser.Placeholders([]byte(tt.in), func(start, end, num int) error {
			if !json.Valid([]byte(tt.in[start:end])) {
				t.Errorf("Placeholders(%s) cuts %s", tt.in, tt.in[start:end])
			}
			got = append(got, num)
			return nil
		})
		if err != nil || len(got) != len(tt.want) {
			t.Errorf("Placeholders(%s) = %v, %v, want %v", tt.in, got, err, tt.want)
			continue
		}
		for i := range got {
			if got[i] != tt.want[i] {
				t.Errorf("Placeholders(%s) = %v, want %v", tt.in, got, tt.want)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`0{"a":1}`, `1/admin,`, `2/a,12["q",{"b":[1,"]"]}]`, `3[]`, `4"x"`, `52-["b",{"_placeholder":true,"num":0}]`, `61-3[]`, `2["\\\"",{}]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := parser.Decode(in)
		if err != nil {
			return
		}
		out := parser.AppendHeader(nil, p.Type, p.Attachments, string(p.Namespace), p.ID, p.HasID)
		q, err := parser.Decode(append(out, p.Data...))
		if err != nil || q.Type != p.Type || q.ID != p.ID || q.HasID != p.HasID || !bytes.Equal(q.Namespace, p.Namespace) || !bytes.Equal(q.Data, p.Data) {
			t.Fatalf("%q does not survive: %+v, then %+v, %v", in, p, q, err)
		}
		if p.Type != parser.Event && p.Type != parser.BinaryEvent || len(p.Data) == 0 {
			return
		}
		var want []json.RawMessage
		if err := json.Unmarshal(p.Data, &want); err != nil {
			t.Fatal(err)
		}
		name, rest := parser.Split(p.Data)
		got := [][]byte{name}
		for e, r, ok := parser.Next(rest); ok; e, r, ok = parser.Next(r) {
			got = append(got, e)
		}
		if len(got) != len(want) {
			t.Fatalf("Split(%s) finds %d elements, want %d", p.Data, len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("element %d of %s = %s, want %s", i, p.Data, got[i], want[i])
			}
		}
		_ = parser.Placeholders(p.Data, func(start, end, _ int) error {
			if !json.Valid(p.Data[start:end]) {
				t.Fatalf("placeholder %s is cut wrongly", p.Data[start:end])
			}
			return nil
		})
	})
}

func TestCheck(t *testing.T) {
	deep := []byte("[" + `"a",` + strings.Repeat("[", 1001) + strings.Repeat("]", 1001) + "]")
	for name, tt := range map[string]struct {
		packet parser.Packet
		want   error
	}{
		"event":         {parser.Packet{Type: parser.Event, Data: []byte(`["a"]`)}, nil},
		"no data":       {parser.Packet{Type: parser.Event}, nil},
		"binary":        {parser.Packet{Type: parser.Ack, Data: []byte(`[{"_placeholder":true,"num":0}]`), Binary: [][]byte{{1}}}, nil},
		"type":          {parser.Packet{Type: 7}, parser.ErrUnknownType},
		"id":            {parser.Packet{Type: parser.Ack, HasID: true, ID: parser.MaxID + 1, Data: []byte(`[]`)}, parser.ErrInvalidID},
		"no JSON":       {parser.Packet{Type: parser.Ack, Data: []byte(`[`)}, parser.ErrInvalidPayload},
		"no array":      {parser.Packet{Type: parser.Ack, Data: []byte(`1`)}, parser.ErrInvalidPayload},
		"no name":       {parser.Packet{Type: parser.Event, Data: []byte(`[]`)}, parser.ErrInvalidPayload},
		"reserved":      {parser.Packet{Type: parser.Event, Data: []byte(`["connect"]`)}, parser.ErrReservedEvent},
		"deep":          {parser.Packet{Type: parser.Event, Data: deep}, parser.ErrTooDeep},
		"placeholder":   {parser.Packet{Type: parser.Ack, Data: []byte(`[{"_placeholder":true,"num":1}]`), Binary: [][]byte{{1}}}, parser.ErrIllegalAttachments},
		"binary, empty": {parser.Packet{Type: parser.Ack, Binary: [][]byte{{1}}}, nil},
	} {
		if err := tt.packet.Check(); !errors.Is(err, tt.want) {
			t.Errorf("%s: Check = %v, want %v", name, err, tt.want)
		}
	}
}
