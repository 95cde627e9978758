package parser_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"example.com/chorus/pkg/socketio/parser"
)

// The files in testdata are what the official encoders write and what the official decoders say to it; test/golden
// makes them.

// meant is what a packet of the official packages means.
type meant struct {
	Type        string   `json:"type"`
	NSP         string   `json:"nsp"`
	ID          *uint64  `json:"id"`
	Data        string   `json:"data"`
	Attachments []string `json:"attachments"`
}

func (m *meant) packet(t *testing.T) *parser.Packet {
	t.Helper()
	types := map[string]parser.Type{
		"CONNECT": parser.Connect, "DISCONNECT": parser.Disconnect, "EVENT": parser.Event, "ACK": parser.Ack, "CONNECT_ERROR": parser.ConnectError,
	}
	typ, ok := types[m.Type]
	if !ok {
		t.Fatalf("packet of type %q", m.Type)
	}
	p := &parser.Packet{Type: typ, Data: []byte(m.Data), HasID: m.ID != nil}
	if m.NSP != "/" {
		p.Namespace = []byte(m.NSP)
	}
	if m.ID != nil {
		p.ID = *m.ID
	}
	for _, a := range m.Attachments {
		p.Binary = append(p.Binary, unhex(t, a))
	}
	return p
}

// sent is a message of Engine.IO.
type sent struct {
	Text *string `json:"text"`
	Hex  *string `json:"hex"`
}

func chunks(t *testing.T, messages []sent) []parser.Chunk {
	t.Helper()
	list := make([]parser.Chunk, len(messages))
	for i, m := range messages {
		if m.Text != nil {
			list[i] = parser.Chunk{Data: []byte(*m.Text)}
		} else {
			list[i] = parser.Chunk{Binary: true, Data: unhex(t, *m.Hex)}
		}
	}
	return list
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readVectors(t *testing.T, name string, dst any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err == nil {
		err = json.Unmarshal(b, dst)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// like compares a decoded packet with what it should mean. White space in the data may differ, and attachments that
// no placeholder names are not in the meaning.
func like(got, want *parser.Packet) bool {
	c := *got
	c.Binary = c.Binary[:min(len(c.Binary), len(want.Binary))]
	if len(got.Data) > 0 && len(want.Data) > 0 && sameJSON(got.Data, want.Data) {
		c.Data = want.Data
	}
	return same(&c, want)
}

// text writes a packet in a form to read.
func text(p *parser.Packet) string {
	if p == nil {
		return "no packet"
	}
	return fmt.Sprintf("%s nsp %q id %d %t data %s binary %x", p.Type, p.Namespace, p.ID, p.HasID, p.Data, p.Binary)
}

// show writes messages in a form to read.
func show(chunks []parser.Chunk) string {
	var b strings.Builder
	for _, c := range chunks {
		if c.Binary {
			fmt.Fprintf(&b, "<%x>", c.Data)
		} else {
			fmt.Fprintf(&b, "<%s>", c.Data)
		}
	}
	return b.String()
}

func sameChunks(a, b []parser.Chunk) bool {
	return slices.EqualFunc(a, b, func(a, b parser.Chunk) bool { return a.Binary == b.Binary && bytes.Equal(a.Data, b.Data) })
}

func TestGoldenDefault(t *testing.T) {
	for _, file := range []string{"default.json", "default2.json"} {
		var vectors struct {
			Packets []struct {
				meant
				Name     string `json:"name"`
				Messages []sent `json:"messages"`
			} `json:"packets"`
		}
		readVectors(t, file, &vectors)
		if len(vectors.Packets) < 40 {
			t.Fatalf("%s has %d packets", file, len(vectors.Packets))
		}
		for _, v := range vectors.Packets {
			t.Run(file+"/"+v.Name, func(t *testing.T) {
				wire, want := chunks(t, v.Messages), v.packet(t)
				if got, err := decodeAll(parser.Default().NewDecoder(), wire); err != nil || !same(got, want) {
					t.Errorf("decode of %s = %s, %v, want %s", show(wire), text(got), err, text(want))
				}
				if got, err := parser.Default().Encode(*want); err != nil || !sameChunks(got, wire) {
					t.Errorf("Encode(%s) = %s, %v, want %s", text(want), show(got), err, show(wire))
				}
			})
		}
	}
}

func TestGoldenMsgpack(t *testing.T) {
	var vectors struct {
		Packets []struct {
			meant
			Name      string `json:"name"`
			Canonical string `json:"canonical"` // in our order of keys, and without what JSON cannot say
			Server    string `json:"server"`
			Client    string `json:"client"`
		} `json:"packets"`
	}
	readVectors(t, "msgpack.json", &vectors)
	if len(vectors.Packets) < 40 {
		t.Fatalf("%d packets", len(vectors.Packets))
	}
	for _, v := range vectors.Packets {
		t.Run(v.Name, func(t *testing.T) {
			want := v.packet(t)
			for who, wire := range map[string]string{"canonical": v.Canonical, "server": v.Server, "client": v.Client} {
				got, err := parser.Msgpack().NewDecoder().Add(parser.Chunk{Binary: true, Data: unhex(t, wire)})
				if err != nil || !same(got, want) {
					t.Errorf("decode of %s's %s = %s, %v, want %s", who, wire, text(got), err, text(want))
				}
			}
			got, err := parser.Msgpack().Encode(*want)
			if err != nil || !sameChunks(got, []parser.Chunk{{Binary: true, Data: unhex(t, v.Canonical)}}) {
				t.Errorf("Encode(%s) = %s, %v, want %s", text(want), show(got), err, v.Canonical)
			}
		})
	}
}

// attempt is a sequence of messages and what the official decoder says.
type attempt struct {
	Name     string  `json:"name"`
	Messages []sent  `json:"messages"`
	Hex      *string `json:"hex"`
	Accepted *meant  `json:"accepted"`
	Refused  string  `json:"refused"`
}

// TestGoldenAttempts: what the official decoders refuse is refused, with the error of that name, and what they accept
// is accepted, but for what would harm the receivers of a broadcast or has no form in a Packet.
func TestGoldenAttempts(t *testing.T) {
	for file, tt := range map[string]struct {
		parser   parser.Parser
		refusals map[string]error // theirs and ours
		stricter map[string]error // accepted by them
	}{
		"default.json": {parser.Default(), map[string]error{
			"unknown packet type 7":                            parser.ErrUnknownType,
			"unknown packet type NaN":                          parser.ErrUnknownType,
			"Illegal attachments":                              parser.ErrIllegalAttachments,
			"illegal attachments":                              parser.ErrIllegalAttachments,
			"too many attachments":                             parser.ErrTooManyAttachments,
			"invalid payload":                                  parser.ErrInvalidPayload,
			"got binary data when not reconstructing a packet": parser.ErrBinary,
			"got plaintext data when reconstructing a packet":  parser.ErrPlaintext,
		}, nil},
		"msgpack.json": {parser.Msgpack(), map[string]error{
			"invalid packet type": parser.ErrUnknownType,
			"invalid namespace":   parser.ErrInvalidNamespace,
			"invalid payload":     parser.ErrInvalidPayload,
			"invalid packet id":   parser.ErrInvalidID,
			"1 trailing bytes":    parser.ErrMalformed,
			"Could not parse":     parser.ErrMalformed,
		}, map[string]error{
			"eleven binary values":     parser.ErrTooManyAttachments,
			"reserved event":           parser.ErrReservedEvent,
			"event without a name":     parser.ErrInvalidPayload,
			"auth with a binary value": parser.ErrInvalidPayload,
			"false placeholder":        parser.ErrIllegalAttachments,
		}},
	} {
		var vectors struct {
			Attempts []attempt `json:"attempts"`
		}
		readVectors(t, file, &vectors)
		if len(vectors.Attempts) < 25 {
			t.Fatalf("%s has %d attempts", file, len(vectors.Attempts))
		}
		for _, v := range vectors.Attempts {
			t.Run(file+"/"+v.Name, func(t *testing.T) {
				wire := chunks(t, v.Messages)
				if v.Hex != nil {
					wire = []parser.Chunk{{Binary: true, Data: unhex(t, *v.Hex)}}
				}
				got, err := feed(tt.parser.NewDecoder(), wire)
				if v.Accepted == nil || tt.stricter[v.Name] != nil {
					want := tt.stricter[v.Name]
					if v.Accepted == nil {
						want = tt.refusals[v.Refused]
					}
					if want == nil || !errors.Is(err, want) {
						t.Errorf("decode of %s = %s, %v, want %v (theirs: %s)", show(wire), text(got), err, want, v.Refused)
					}
					return
				}
				if want := v.Accepted.packet(t); err != nil || got == nil || !like(got, want) {
					t.Errorf("decode of %s = %s, %v, want %s", show(wire), text(got), err, text(want))
				}
			})
		}
	}
}

// feed gives all chunks to one decoder and returns its last packet.
func feed(d parser.Decoder, wire []parser.Chunk) (last *parser.Packet, err error) {
	for _, c := range wire {
		p, err := d.Add(c)
		if err != nil {
			return nil, err
		}
		if p != nil {
			last = p
		}
	}
	return last, nil
}

// TestGoldenValues: the transcoder reads both versions of notepack.io and writes what both can read.
func TestGoldenValues(t *testing.T) {
	var vectors struct {
		Values []struct {
			meant
			Name      string `json:"name"`
			Canonical string `json:"canonical"`
			Notepack2 string `json:"notepack2"`
			Notepack3 string `json:"notepack3"`
		} `json:"values"`
	}
	readVectors(t, "values.json", &vectors)
	if len(vectors.Values) < 50 {
		t.Fatalf("%d values", len(vectors.Values))
	}
	for _, v := range vectors.Values {
		t.Run(v.Name, func(t *testing.T) {
			var attachments [][]byte
			for _, a := range v.Attachments {
				attachments = append(attachments, unhex(t, a))
			}
			for version, wire := range map[string]string{"canonical": v.Canonical, "2": v.Notepack2, "3": v.Notepack3} {
				got, binary, rest, err := parser.Limits{}.AppendJSON(nil, unhex(t, wire))
				if err != nil || len(rest) > 0 || string(got) != v.Data || !reflect.DeepEqual(binary, attachments) {
					t.Errorf("AppendJSON of %s's %s = %s, %x, %v, want %s, %x", version, wire, got, binary, err, v.Data, attachments)
				}
			}
			got, err := parser.Limits{}.AppendMsgpack(nil, []byte(v.Data), attachments)
			if err != nil || hex.EncodeToString(got) != v.Canonical {
				t.Errorf("AppendMsgpack(%s) = %x, %v, want %s", v.Data, got, err, v.Canonical)
			}
		})
	}
}
