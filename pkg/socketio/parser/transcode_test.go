package parser_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"example.com/chorus/pkg/socketio/parser"
)

func TestAppendMsgpackRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	mark := `{"_placeholder":true,"num":0}`
	for _, test := range []struct {
		name, data  string
		attachments int
		want        error
	}{
		{"empty", ``, 0, parser.ErrInvalidPayload},
		{"two values", `1 2`, 0, parser.ErrInvalidPayload},
		{"open array", `["a"`, 0, parser.ErrInvalidPayload},
		{"open string", `["a]`, 0, parser.ErrInvalidPayload},
		{"open escape", `["a\`, 0, parser.ErrInvalidPayload},
		{"open object", `["a",{"b":1]`, 0, parser.ErrInvalidPayload},
		{"crossed", `["a",{"b":[1}]]`, 0, parser.ErrInvalidPayload},
		{"trailing text", `["a"] x`, 0, parser.ErrInvalidPayload},
		{"trailing bracket", `["a"]]`, 0, parser.ErrInvalidPayload},
		{"two arrays", `["a"]["b"]`, 0, parser.ErrInvalidPayload},
		{"missing comma", `["a" "b"]`, 0, parser.ErrInvalidPayload},
		{"trailing comma", `["a",]`, 0, parser.ErrInvalidPayload},
		{"leading comma", `[,"a"]`, 0, parser.ErrInvalidPayload},
		{"only comma", `[,]`, 0, parser.ErrInvalidPayload},
		{"comma in object", `["a",{"b":1,}]`, 0, parser.ErrInvalidPayload},
		{"no key", `["a",{1:2}]`, 0, parser.ErrInvalidPayload},
		{"no value", `["a",{"b"}]`, 0, parser.ErrInvalidPayload},
		{"no colon", `["a",{"b" 1}]`, 0, parser.ErrInvalidPayload},
		{"literal", `["a",nul]`, 0, parser.ErrInvalidPayload},
		{"long literal", `["a",nullx]`, 0, parser.ErrInvalidPayload},
		{"leading zero", `["a",01]`, 0, parser.ErrInvalidPayload},
		{"only minus", `["a",-]`, 0, parser.ErrInvalidPayload},
		{"open fraction", `["a",1.]`, 0, parser.ErrInvalidPayload},
		{"open exponent", `["a",1e+]`, 0, parser.ErrInvalidPayload},
		{"control character", "[\"a\n\"]", 0, parser.ErrInvalidPayload},
		{"control after escape", "[\"a\\n\n\"]", 0, parser.ErrInvalidPayload},
		{"unknown escape", `["\x"]`, 0, parser.ErrInvalidPayload},
		{"short unicode", `["\u12"]`, 0, parser.ErrInvalidPayload},
		{"no hex", `["\u12g4"]`, 0, parser.ErrInvalidPayload},
		{"deepest", deep(parser.MaxDepth), 0, nil},
		{"too deep", deep(parser.MaxDepth + 1), 0, parser.ErrTooDeep},
		{"placeholder without attachment", `["a",{"_placeholder":true,"num":1}]`, 1, parser.ErrIllegalAttachments},
		{"placeholder without number", `["a",{"_placeholder":true}]`, 1, parser.ErrIllegalAttachments},
		{"negative placeholder", `["a",{"_placeholder":true,"num":-1}]`, 1, parser.ErrIllegalAttachments},
		{"fractional placeholder", `["a",{"_placeholder":true,"num":0.5}]`, 1, parser.ErrIllegalAttachments},
		{"placeholder with a third key", `["a",{"_placeholder":true,"num":0,"x":1}]`, 1, parser.ErrIllegalAttachments},
		{"two placeholders", `["a",{"num": 1 , "_placeholder" : true},` + mark + `]`, 2, nil},
		{"placeholder twice", `["a",` + mark + `,` + mark + `]`, 2, parser.ErrIllegalAttachments},
		{"placeholder as plain data", `["a",{"_placeholder":true,"num":7}]`, 0, nil},
		{"eleven attachments", `["a"]`, 11, parser.ErrTooManyAttachments},
	} {
		kept := []byte("kept")
		b, err := parser.Limits{}.AppendMsgpack(kept, []byte(test.data), make([][]byte, test.attachments))
		if !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", test.name, err, test.want)
		}
		if err != nil && string(b) != "kept" {
			t.Errorf("%s: %d bytes were appended in spite of the error", test.name, len(b)-len(kept))
		}
	}
}

func TestAppendJSON(t *testing.T) {
	for _, test := range []struct {
		name string
		wire []byte
		want string
	}{
		{"float32", msgp.AppendFloat32(nil, 0.5), `0.5`},
		{"large float", msgp.AppendFloat64(nil, 1e21), `1e+21`},
		{"small float", msgp.AppendFloat64(nil, 1e-7), `1e-7`},
		{"minus zero", msgp.AppendFloat64(nil, math.Copysign(0, -1)), `0`},
		{"uint64", msgp.AppendUint64(nil, math.MaxUint64), `18446744073709551615`},
		{"int64", msgp.AppendInt64(nil, math.MinInt64), `-9223372036854775808`},
		{"simple keys", []byte{0x85, 1, 0, 0xff, 0, 0xc3, 0, 0xc0, 0, 0xc4, 1, 'b', 0}, `{"1":0,"-1":0,"true":0,"null":0,"b":0}`},
		{"invalid text", []byte{0xa4, 'a', 0xff, 0xc3, 'b'}, "\"a\ufffd\ufffdb\""},
		{"control characters", append([]byte{0xa6}, "\x00\x1f\"\\\n\x7f"...), "\"\\u0000\\u001f\\\"\\\\\\n\x7f\""},
		{"undefined of notepack 2", []byte{0xd4, 0, 0}, `null`},
		{"date of notepack 2", []byte{0xd7, 0, 0, 0, 0, 0, 0, 0, 0x03, 0xe8}, `"1970-01-01T00:00:01.000Z"`},
		{"timestamp out of range", []byte{0xc7, 12, 0xff, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0}, `null`},
		{"undefined in an object", []byte{0x83, 0xa1, 'a', 0xd4, 0, 0, 0xa1, 'b', 1, 0xa1, 'c', 0xd4, 0, 0}, `{"b":1}`},
		{"undefined in an array", []byte{0x92, 0xd4, 0, 0, 1}, `[null,1]`},
		{"one byte in an ArrayBuffer", []byte{0xc7, 1, 0, 9}, `{"_placeholder":true,"num":0}`},
		{"eight bytes in an ArrayBuffer", []byte{0xc7, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8}, `{"_placeholder":true,"num":0}`},
		{"placeholder as plain data", append(append([]byte{0x82, 0xac}, "_placeholder\xc3"...), "\xa3num\x07"...), `{"_placeholder":true,"num":7}`},
		{"empty extension is an ArrayBuffer", []byte{0xc7, 0, 0}, `{"_placeholder":true,"num":0}`},
	} {
		got, _, rest, err := parser.Limits{}.AppendJSON(nil, test.wire)
		if err != nil || len(rest) > 0 || string(got) != test.want {
			t.Errorf("%s: %s (%v), want %s", test.name, got, err, test.want)
		}
		if !json.Valid(got) {
			t.Errorf("%s: %q is no JSON", test.name, got)
		}
	}
}

// FuzzAppendMsgpack sends JSON through MessagePack. What encoding/json takes must come back equal in meaning,
// everything else must be refused.
func FuzzAppendMsgpack(f *testing.F) {
	for _, text := range []string{
		`["a",{"_placeholder":true,"num":0},1e400,-0,0.1,123456789012345678901234567890,"\ud83d\u00e9\ud83c\udf89"]`,
		"[\"\xbd\xa0\"]",
		` [ { "a" : [ ] , "" : [ { } ] } , 1.0 , 1e3 ] `,
		`["ints",0,127,128,255,256,65536,4294967296,-1,-33,-129,-32769,-2147483649,9007199254740991]`,
		`["nest",[[]],{},{"a":{"b":[true,false,null]}}]`, `"text"`, `{"a":1}`, `7`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := parser.Limits{}.AppendMsgpack(nil, data, nil)
		if want := json.Valid(data); want != (err == nil) && !errors.Is(err, parser.ErrTooDeep) {
			t.Fatalf("AppendMsgpack(%q) = %v, json.Valid says %v", data, err, want)
		}
		if err != nil {
			return
		}
		back, binary, rest, err := parser.Limits{}.AppendJSON(nil, b)
		if err != nil || len(binary) > 0 || len(rest) > 0 {
			t.Fatalf("%q was packed to %x, which cannot be unpacked: %v, %d binary values, %d bytes left", data, b, err, len(binary), len(rest))
		}
		if !sameJSON(data, back) {
			t.Fatalf("%q came back as %q", data, back)
		}
		// Binary values are put in without harm whatever the placeholders are.
		if b, err = (parser.Limits{}).AppendMsgpack(nil, data, [][]byte{{1}, {2, 3}}); err == nil {
			if _, _, _, err := (parser.Limits{}).AppendJSON(nil, b); err != nil && !errors.Is(err, parser.ErrIllegalAttachments) {
				t.Fatalf("%q with binary values was packed to %x: %v", data, b, err)
			}
		}
	})
}

// sameJSON compares as JavaScript would read it: all numbers are float64, too large ones are infinite, which is
// written as null.
func sameJSON(a, b []byte) bool {
	return reflect.DeepEqual(meaning(a), meaning(b))
}

func meaning(text []byte) any {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return err.Error()
	}
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case json.Number:
			f, _ := v.Float64()
			if math.IsInf(f, 0) {
				return nil
			}
			return f + 0 // minus zero is zero
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case map[string]any:
			for k := range v {
				v[k] = walk(v[k])
			}
		}
		return v
	}
	return walk(v)
}
