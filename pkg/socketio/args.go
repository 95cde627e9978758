package socketio

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"example.com/chorus/internal/binaryjson"
	"example.com/chorus/pkg/socketio/parser"
)

// Args are the arguments of a received event or acknowledgement, not decoded. They are valid until the handler
// returns; Clone keeps them. Given to Emit, they are passed on unchanged without being decoded, with all their
// binary values.
type Args struct {
	elements    []byte // JSON values with commas between them
	attachments [][]byte
	reply       *reply
}

// NewArgs returns values as arguments, written as Socket.Emit writes them: for calling a Handler, or for passing on
// what was made once.
func NewArgs(values ...any) (Args, error) {
	p := takePayload()
	defer p.release()
	if err := p.array(nil, values); err != nil {
		return Args{}, fmt.Errorf("socketio: %w", err)
	}
	return Args{elements: bytes.Clone(parser.Elements(p.json)), attachments: p.attachments}, nil
}

// ParseArgs returns the arguments in data, a JSON array in which placeholders stand for the binary values. Both belong
// to the Args from then on.
func ParseArgs(data []byte, binary [][]byte) (Args, error) {
	if !json.Valid(data) || len(bytes.TrimSpace(data)) == 0 || bytes.TrimSpace(data)[0] != '[' {
		return Args{}, fmt.Errorf("socketio: parse arguments: %w", parser.ErrInvalidPayload)
	}
	if len(binary) > 0 {
		if err := parser.CheckPlaceholders(data, len(binary)); err != nil {
			return Args{}, fmt.Errorf("socketio: parse arguments: %w", err)
		}
	}
	return Args{elements: parser.Elements(bytes.TrimSpace(data)), attachments: binary}, nil
}

// Encode returns the JSON array of the arguments and the binary values that its placeholders refer to.
func (a Args) Encode() (data []byte, binary [][]byte) {
	data = append(make([]byte, 0, len(a.elements)+2), '[')
	data = append(data, a.elements...)
	return append(data, ']'), a.attachments
}

// Len returns the number of arguments.
func (a Args) Len() int { return parser.Count(a.elements) }

// Raw returns argument i, counted from 0. It is empty when there is no such argument.
func (a Args) Raw(i int) Raw {
	rest := a.elements
	for {
		e, r, ok := parser.Next(rest)
		if !ok {
			return Raw{}
		}
		if i == 0 {
			return Raw{json: e, attachments: a.attachments}
		}
		rest = r
		i--
	}
}

// Decode decodes the first arguments into what dst points to, one each. Binary values become []byte. A missing
// argument is ErrMissingArgument.
func (a Args) Decode(dst ...any) error {
	rest := a.elements
	for i, d := range dst {
		e, r, ok := parser.Next(rest)
		if !ok {
			return fmt.Errorf("socketio: argument %d: %w", i, ErrMissingArgument)
		}
		if err := (Raw{json: e, attachments: a.attachments}).Decode(d); err != nil {
			return fmt.Errorf("socketio: argument %d: %w", i, err)
		}
		rest = r
	}
	return nil
}

// Size returns the bytes of the arguments as they came, binary values included.
func (a Args) Size() int {
	n := len(a.elements)
	for _, b := range a.attachments {
		n += len(b)
	}
	return n
}

// Clone returns a copy that stays valid.
func (a Args) Clone() Args {
	a.elements = bytes.Clone(a.elements)
	a.attachments = slices.Clone(a.attachments)
	return a
}

// WantsAck reports whether the client waits for an acknowledgement.
func (a Args) WantsAck() bool { return a.reply != nil }

// Ack sends the acknowledgement with the given values. It may be called once, also after the handler returned and
// from another goroutine. ErrNoAck tells that the client asked for none, ErrAcked that it has it.
func (a Args) Ack(ctx context.Context, values ...any) error {
	if a.reply == nil {
		return fmt.Errorf("socketio: ack: %w", ErrNoAck)
	}
	return a.reply.send(ctx, values)
}

// Raw is one argument as JSON text, with placeholders where binary values stand.
type Raw struct {
	json        []byte
	attachments [][]byte
}

// JSON returns the text. It must not be changed.
func (r Raw) JSON() []byte { return r.json }

// MarshalJSON returns the text, so that an argument may stand inside another value. One with binary values must be an
// argument of its own: inside, they would be lost.
func (r Raw) MarshalJSON() ([]byte, error) {
	switch {
	case len(r.json) == 0:
		return []byte("null"), nil
	case len(r.attachments) > 0 && hasPlaceholder(r.json):
		return nil, errNestedBinary
	}
	return r.json, nil
}

// MarshalJSON returns the arguments as an array; see Raw.MarshalJSON.
func (a Args) MarshalJSON() ([]byte, error) {
	if len(a.attachments) > 0 {
		return nil, errNestedBinary
	}
	data, _ := a.Encode()
	return data, nil
}

var errNestedBinary = errors.New("socketio: Raw or Args with binary values inside of another value: give it as an argument of its own")

func hasPlaceholder(text []byte) bool {
	found := false
	_ = parser.Placeholders(text, func(int, int, int) error {
		found = true
		return nil
	})
	return found
}

// Size returns the bytes of the argument as it came, with the binary values that it refers to.
func (r Raw) Size() int {
	n := len(r.json)
	if len(r.attachments) > 0 {
		_ = parser.Placeholders(r.json, func(_, _, num int) error {
			if num < len(r.attachments) {
				n += len(r.attachments[num])
			}
			return nil
		})
	}
	return n
}

// Decode decodes the argument as encoding/json does. Binary values become []byte wherever dst has a field of that
// type, and anywhere if dst points to an interface, a []any or a map[string]any.
func (r Raw) Decode(dst any) error {
	if raw, ok := dst.(*Raw); ok { // a copy, since r ends with the handler
		*raw = Raw{json: bytes.Clone(r.json), attachments: r.attachments}
		return nil
	}
	if len(r.attachments) == 0 {
		return json.Unmarshal(r.json, dst)
	}
	switch dst.(type) {
	case *any, *[]any, *map[string]any:
		return r.decodeTree(dst)
	}
	text, err := r.inline(func(num int) []byte { // as encoding/json expects a []byte
		return []byte(base64.StdEncoding.EncodeToString(r.attachments[num]))
	})
	if err != nil {
		return err
	}
	return json.Unmarshal(text, dst)
}

// inline replaces placeholders by strings.
func (r Raw) inline(instead func(num int) []byte) ([]byte, error) {
	var out []byte
	last := 0
	err := parser.Placeholders(r.json, func(start, end, num int) error {
		if num >= len(r.attachments) {
			return fmt.Errorf("%w: number %d of %d", parser.ErrIllegalAttachments, num, len(r.attachments))
		}
		out = append(append(out, r.json[last:start]...), '"')
		out = append(append(out, instead(num)...), '"')
		last = end
		return nil
	})
	return append(out, r.json[last:]...), err
}

// decodeTree decodes into values without types of their own, where a base64 string could be the client's: unguessable
// strings stand for the binary values meanwhile.
func (r Raw) decodeTree(dst any) error {
	t := binaryjson.NewToken()
	binaries := make(map[string][]byte, len(r.attachments))
	text, err := r.inline(func(num int) []byte {
		name := base64.StdEncoding.EncodeToString(t.Bytes(num))
		binaries[name] = r.attachments[num]
		return []byte(name)
	})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, dst); err != nil {
		return err
	}
	switch d := dst.(type) {
	case *any:
		*d = restore(*d, binaries)
	case *[]any:
		restore(*d, binaries)
	case *map[string]any:
		restore(*d, binaries)
	}
	return nil
}

// restore puts binary values in the place of their names.
func restore(v any, binaries map[string][]byte) any {
	switch v := v.(type) {
	case string:
		if b, ok := binaries[v]; ok {
			return bytes.Clone(b)
		}
	case []any:
		for i := range v {
			v[i] = restore(v[i], binaries)
		}
	case map[string]any:
		for k := range v {
			v[k] = restore(v[k], binaries)
		}
	}
	return v
}
