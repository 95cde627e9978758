package parser_test

import (
	"testing"

	"example.com/chorus/pkg/socketio/parser"
)

const chat = `2["chat message",{"room":"general","text":"Hello, everybody! How are you today? <b>fine</b>","user":{"id":12345,"name":"Ann"},"tags":["a","b"],"time":1732272000000}]`

func TestDecodeAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools at random: allocations are counted in runs without it")
	}
	msg := []byte(chat)
	if n := testing.AllocsPerRun(100, func() {
		p, err := parser.Decode(msg)
		if err != nil {
			t.Fatal(err)
		}
		parser.Split(p.Data)
	}); n != 0 {
		t.Errorf("Decode and Split allocate %v times, want 0", n)
	}
}

func BenchmarkDecode(b *testing.B) {
	msg := []byte(chat)
	b.ReportAllocs()
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		p, err := parser.Decode(msg)
		if err != nil {
			b.Fatal(err)
		}
		parser.Split(p.Data)
	}
}

// benchPackets go through the contract; Decode and AppendHeader are the shorter way of the default form.
var benchPackets = map[string]parser.Packet{
	"chat":   {Type: parser.Event, Data: []byte(chat[1:])},
	"binary": {Type: parser.Event, Data: []byte(`["b",{"_placeholder":true,"num":0}]`), Binary: [][]byte{make([]byte, 1000)}},
}

func BenchmarkParserDecode(b *testing.B) {
	for format, new := range parsers {
		for name, packet := range benchPackets {
			b.Run(format+"/"+name, func(b *testing.B) {
				p := new(parser.Limits{})
				chunks, err := p.Encode(packet)
				if err != nil {
					b.Fatal(err)
				}
				d := p.NewDecoder()
				b.SetBytes(wireSize(chunks))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := decodeAll(d, chunks); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkParserEncode(b *testing.B) {
	for format, new := range parsers {
		for name, packet := range benchPackets {
			b.Run(format+"/"+name, func(b *testing.B) {
				p := new(parser.Limits{})
				chunks, err := p.Encode(packet)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(wireSize(chunks))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := p.Encode(packet); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func wireSize(chunks []parser.Chunk) (n int64) {
	for _, c := range chunks {
		n += int64(len(c.Data))
	}
	return n
}

// TestTranscodingAllocatesNothing holds the transcoder to what it promises when its buffers are large enough.
func TestTranscodingAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools at random: allocations are counted in runs without it")
	}
	text := []byte(chat[1:])
	packed, unpacked := make([]byte, 0, 1024), make([]byte, 0, 1024)
	n := testing.AllocsPerRun(1000, func() {
		var err error
		if packed, err = (parser.Limits{}).AppendMsgpack(packed[:0], text, nil); err != nil {
			t.Fatal(err)
		}
		if unpacked, _, _, err = (parser.Limits{}).AppendJSON(unpacked[:0], packed); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("transcoding a chat message there and back allocates %v times, want 0", n)
	}
}
