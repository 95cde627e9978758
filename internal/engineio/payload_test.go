package engineio

import (
	"bytes"
	"iter"
	"slices"
	"testing"
	"unicode/utf8"

	"example.com/chorus/internal/frame"
)

func TestPackets(t *testing.T) {
	for _, tc := range []struct {
		body string
		want []string // an item "!" is a packet that is not UTF-8
	}{
		{"4hello\x1e2\x1e4world", []string{"4hello", "2", "4world"}},
		{"", []string{""}},
		{"4a\x1e", []string{"4a", ""}},
		{"4a\x1e\x1e4b", []string{"4a", "", "4b"}},
		{"4a\x1e4\xff\x1e4b", []string{"4a", "!"}},
	} {
		var got []string
		for p, err := range packets4([]byte(tc.body)) {
			if err != nil {
				p.Data = []byte("!")
			}
			got = append(got, string(p.Data))
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("packets4(%q) = %q, want %q", tc.body, got, tc.want)
		}
	}
}

func TestDecodeBase64(t *testing.T) {
	for in, want := range map[string]string{"": "", "AQIDBA==": "\x01\x02\x03\x04", "AQIDBA": "\x01\x02\x03\x04",
		"_-_-": "\xff\xef\xfe", "/+/+": "\xff\xef\xfe"} {
		if got, err := decodeBase64([]byte(in)); err != nil || string(got) != want {
			t.Errorf("decodeBase64(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	if got, err := decodeBase64([]byte("A*==")); err == nil {
		t.Errorf("decodeBase64 of nonsense = %q, want an error", got)
	}
}

// decoded is a packet as packet sees it.
type decoded struct {
	kind   byte
	binary bool
	data   string
}

func decodeAll(body iter.Seq2[frame.Part, error], decode func(bool, []byte) (byte, bool, []byte, bool)) (all []decoded, ok bool) {
	for p, err := range body {
		if err != nil {
			return all, false
		}
		kind, binary, data, ok := decode(p.Binary, p.Data)
		if !ok {
			return all, false
		}
		all = append(all, decoded{kind, binary, string(data)})
	}
	return all, true
}

// FuzzPayload decodes what it is given in every way, and what was encoded of it.
func FuzzPayload(f *testing.F) {
	f.Add([]byte("4hello\x1e2\x1e4world"), []byte{1, 2, 3, 4})
	f.Add([]byte("4hello\x1ebAQIDBA=="), []byte{})
	f.Add([]byte("\x1e\x1e4\xff"), []byte{0xff})
	f.Add([]byte("14:42[\"t\",\"é€😀\"]6:b4AQL/"), []byte{1, 2, 0xff})
	f.Add([]byte("\x00\x04\x04\xff4hel\x01\x04\xff\x04\x01\x02\xff"), []byte{7})
	f.Add([]byte("0:1:😀99999999999:"), []byte{0})
	f.Fuzz(func(t *testing.T, body, binary []byte) {
		for _, packets := range []func([]byte) iter.Seq2[frame.Part, error]{packets4, packets3, packets3Binary} {
			total := 0
			for p, err := range packets(bytes.Clone(body)) {
				if total += len(p.Data); total > len(body) || err != nil && p.Data != nil {
					t.Fatalf("%d bytes of %d", total, len(body))
				}
				_, _, _, _ = decode4(p.Binary, bytes.Clone(p.Data))
				_, _, _, _ = decode3(p.Binary, p.Data)
			}
		}
		if !utf8.Valid(body) {
			return
		}
		frames := []*frame.Frame{
			frame.Parts(frame.Part{Data: body}, frame.Part{Binary: true, Data: binary}, frame.Part{Data: body}),
			frame.Packet("2"),
			frame.Parts(frame.Part{Binary: true, Data: binary}),
		}
		want := []decoded{{'4', false, string(body)}, {'4', true, string(binary)}, {'4', false, string(body)}, {'2', false, ""},
			{'4', true, string(binary)}}
		for name, tc := range map[string]struct {
			session *Session
			octets  bool
		}{
			"protocol 4":           {&Session{protocol: 4}, false},
			"protocol 3":           {&Session{protocol: 3}, true},
			"protocol 3 in base64": {&Session{protocol: 3, base64: true}, false},
		} {
			if tc.session.protocol == 4 && bytes.IndexByte(body, frame.Separator) >= 0 {
				continue // which it does not escape
			}
			p := tc.session.payload(frames)
			var b bytes.Buffer
			if n, err := p.writeTo(&b); err != nil || n != p.size || (p.contentType == octetStream) != tc.octets {
				t.Fatalf("%s: %d bytes of %s, %v, want %d", name, n, p.contentType, err, p.size)
			}
			decode := decode4
			if tc.session.protocol == 3 {
				decode = decode3
			}
			encoded := b.String()
			if got, ok := decodeAll(tc.session.packets(b.Bytes(), tc.octets), decode); !ok || !slices.Equal(got, want) {
				t.Fatalf("%s: %q decodes to %+v, want %+v", name, encoded, got, want)
			}
		}
	})
}
