package engineio

import (
	"bytes"
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
		for p, valid := range packets([]byte(tc.body)) {
			if !valid {
				p = []byte("!")
			}
			got = append(got, string(p))
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("packets(%q) = %q, want %q", tc.body, got, tc.want)
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

// FuzzPayload decodes what it is given, and what it has encoded.
func FuzzPayload(f *testing.F) {
	f.Add([]byte("4hello\x1e2\x1e4world"), []byte{1, 2, 3, 4})
	f.Add([]byte("4hello\x1ebAQIDBA=="), []byte{})
	f.Add([]byte("\x1e\x1e4\xff"), []byte{0xff})
	f.Fuzz(func(t *testing.T, body, binary []byte) {
		for p, valid := range packets(bytes.Clone(body)) {
			if len(p) > 0 && p[0] == 'b' {
				_, _ = decodeBase64(p[1:])
			}
			if !valid {
				break
			}
		}
		if !utf8.Valid(body) || bytes.IndexByte(body, frame.Separator) >= 0 {
			return
		}
		text := "4" + string(body)
		encoded := frame.Text(append(frame.Begin(0), text...), binary, binary).Polling()
		want := []string{text, string(binary), string(binary)}
		for p, valid := range packets(bytes.Clone(encoded)) {
			if !valid || len(want) == 0 {
				t.Fatalf("%q of %q: not what was encoded", p, encoded)
			}
			got := string(p)
			if p[0] == 'b' {
				b, err := decodeBase64(p[1:])
				if err != nil {
					t.Fatalf("%q: %v", p, err)
				}
				got = string(b)
			}
			if got != want[0] {
				t.Fatalf("packet = %q, want %q", got, want[0])
			}
			want = want[1:]
		}
		if len(want) > 0 {
			t.Fatalf("%q lost %q", encoded, want)
		}
	})
}
