//go:build linux

package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func newTestCodec(t testing.TB, size int) *codec {
	t.Helper()
	c, err := newCodec(`say "hi"`, 0xbeef, size, false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMessageRoundTrip(t *testing.T) {
	for _, size := range []int{maxHeader, 100, 70_000} {
		c := newTestCodec(t, size)
		for _, m := range []message{{0, 0, 0}, {3, 17, 123_456_789_012}, {math.MaxInt32, math.MaxInt32, 999_999_999_999_999_999}} {
			packet := c.appendPacket(nil, m)
			var args []string
			if err := json.Unmarshal(packet[2:], &args); err != nil {
				t.Fatalf("appendPacket(%v) = %.80q: %v", m, packet, err)
			}
			if string(packet[:2]) != "42" || len(args) != 2 || args[0] != `say "hi"` || len(args[1]) != size {
				t.Errorf("appendPacket(%v) = %.80q, want an event with a text of %d bytes", m, packet, size)
			}
			if got, kind := c.parse(packet); got != m || kind != relayed {
				t.Errorf("parse(appendPacket(%v)) = %v, %v, want it back", m, got, kind)
			}
		}
	}
}

func TestParse(t *testing.T) {
	c := newTestCodec(t, 100)
	good := string(c.appendPacket(nil, message{1, 2, 3}))
	for _, tc := range []struct {
		name, packet string
		want         packetKind
	}{
		{"as sent", good, relayed},
		{"argument added by the server", strings.Replace(good, `"]`, `","offset"]`, 1), relayed},
		{"other event", `42["news",1]`, foreign},
		{"other run", strings.Replace(good, "beef", "cafe", 1), foreign},
		{"nothing", ``, foreign},
		{"cut short", good[:len(good)-3], damaged},
		{"shorter text", strings.Replace(good, "xxx", "xx", 1), damaged},
		{"longer text", strings.Replace(good, "xxx", "xxxx", 1), damaged},
		{"no digits", strings.Replace(good, ":1:2:", "::12:", 1), damaged},
		{"letter in a number", strings.Replace(good, ":1:2:", ":1:a:", 1), damaged},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, got := c.parse([]byte(tc.packet)); got != tc.want {
				t.Errorf("parse(%.40q) = %v, want %v", tc.packet, got, tc.want)
			}
		})
	}
}

func TestCodecRefusesShortTexts(t *testing.T) {
	if _, err := newCodec("e", 1, maxHeader-1, false); err == nil || !strings.Contains(err.Error(), "--size 68") {
		t.Errorf("newCodec(size %d) = %v, want an error that names the size", maxHeader-1, err)
	}
}

func FuzzParse(f *testing.F) {
	c := newTestCodec(f, 100)
	f.Add(c.appendPacket(nil, message{1, 2, 3}))
	f.Add([]byte(`42["say \"hi\"","0000beef:`))
	f.Add([]byte(`42["say \"hi\"","0000beef:1:2:999999999999999999999:`))
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, kind := c.parse(packet)
		if kind == relayed && (m.sender < 0 || m.number < 0 || m.at < 0) {
			t.Errorf("parse(%q) = %v, want no negative numbers", packet, m)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	c := newTestCodec(b, 100)
	packet := c.appendPacket(nil, message{1, 2000, 123_456_789_012})
	b.ReportAllocs()
	for b.Loop() {
		if _, kind := c.parse(packet); kind != relayed {
			b.Fatal(kind)
		}
	}
}
