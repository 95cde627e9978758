package parser

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Decode reads the text message of a packet in the default form, within the default limits. It allocates nothing
// unless it fails.
func Decode(msg []byte) (Packet, error) { return Limits{}.Decode(msg) }

// Decode is the function Decode within these limits.
func (l Limits) Decode(msg []byte) (Packet, error) {
	var p Packet
	if len(msg) == 0 {
		return p, fmt.Errorf("%w: empty packet", ErrUnknownType)
	}
	if msg[0] < '0' || msg[0] > '6' {
		return p, fmt.Errorf("%w %q", ErrUnknownType, msg[0])
	}
	p.Type = Type(msg[0] - '0')
	rest := msg[1:]
	var err error
	if p.Type == BinaryEvent || p.Type == BinaryAck {
		if p.Attachments, rest, err = attachments(rest, l.attachments()); err != nil {
			return p, err
		}
	}
	if len(rest) > 0 && rest[0] == '/' {
		if i := bytes.IndexByte(rest, ','); i >= 0 {
			p.Namespace, rest = rest[:i], rest[i+1:]
		} else {
			p.Namespace, rest = rest, nil
		}
		if len(p.Namespace) == 1 {
			p.Namespace = nil
		}
	}
	if p.ID, p.HasID, rest, err = ackID(rest); err != nil {
		return p, err
	}
	if len(rest) == 0 {
		return p, nil
	}
	p.Data = rest[space(rest, 0):]
	return p, checkData(p.Type, p.Data)
}

// checkData refuses text that is not JSON of the shape that a packet of the type has.
func checkData(t Type, data []byte) error {
	if !shapeFits(t, data) || !json.Valid(data) {
		return fmt.Errorf("%w of %s packet", ErrInvalidPayload, t)
	}
	if tooDeep(data) {
		return fmt.Errorf("%w: %w", ErrInvalidPayload, ErrTooDeep)
	}
	if t == Event || t == BinaryEvent {
		return checkName(data)
	}
	return nil
}

func attachments(b []byte, limit int) (n int, rest []byte, err error) {
	i := 0
	for ; i < len(b) && isDigit(b[i]); i++ {
		if n = n*10 + int(b[i]-'0'); n > limit {
			return 0, nil, fmt.Errorf("%w: %d or more, limit %d", ErrTooManyAttachments, n, limit)
		}
	}
	if i == len(b) || b[i] != '-' || n == 0 {
		return 0, nil, ErrIllegalAttachments
	}
	return n, b[i+1:], nil
}

func ackID(b []byte) (id uint64, has bool, rest []byte, err error) {
	i := 0
	for ; i < len(b) && isDigit(b[i]); i++ {
		if id = id*10 + uint64(b[i]-'0'); id > MaxID {
			return 0, false, nil, fmt.Errorf("%w: above %d", ErrInvalidID, uint64(MaxID))
		}
	}
	return id, i > 0, b[i:], nil
}

// shapeFits looks at the first bytes only; the JSON is validated besides.
func shapeFits(t Type, data []byte) bool {
	if len(data) == 0 {
		return false
	}
	first := data[0]
	switch t {
	case Connect:
		return first == '{'
	case Disconnect:
		return false
	case ConnectError:
		return first == '{' || first == '"'
	}
	return first == '['
}

// tooDeep looks at valid JSON that is long enough to be too deep.
func tooDeep(data []byte) bool {
	if len(data) <= 2*MaxDepth {
		return false
	}
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			i = skipString(data, i) - 1
		case '{', '[':
			if depth++; depth > MaxDepth {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}

// checkName demands that the first element of valid JSON is a number or a string that is not reserved.
func checkName(data []byte) error {
	i := space(data, 1)
	switch c := data[i]; {
	case c == '-' || isDigit(c):
		return nil
	case c != '"':
		return fmt.Errorf("%w: event without a name", ErrInvalidPayload)
	}
	name := data[i:skipString(data, i)]
	if bytes.IndexByte(name, '\\') >= 0 { // an escaped form of a reserved name is that name
		var s string
		if err := json.Unmarshal(name, &s); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalidPayload, err)
		}
		name = []byte(`"` + s + `"`)
	}
	if Reserved(string(name[1 : len(name)-1])) {
		return fmt.Errorf("%w: %w %s", ErrInvalidPayload, ErrReservedEvent, name)
	}
	return nil
}

// Split divides the valid JSON of an event into its name and the arguments. name is the JSON text of the first
// element, with its quotes if it is a string; args is what stands behind the comma that follows it, without
// the closing bracket: elements for Next. Both are empty for empty data.
func Split(data []byte) (name, args []byte) {
	if len(data) == 0 {
		return nil, nil
	}
	name, args, _ = Next(Elements(data))
	return name, args
}

// Elements returns what stands between the brackets of a valid JSON array.
func Elements(data []byte) []byte {
	if len(data) < 2 {
		return nil
	}
	end := len(data) - 1
	for data[end] != ']' {
		end--
	}
	return data[space(data, 1):end]
}

// Next takes the first of the elements of a valid JSON array that Elements or Split returned. ok is false
// when there is none.
func Next(elements []byte) (element, rest []byte, ok bool) {
	i := space(elements, 0)
	if i == len(elements) {
		return nil, nil, false
	}
	end := skipValue(elements, i)
	element = elements[i:end]
	if end = space(elements, end); end < len(elements) && elements[end] == ',' {
		end++
	}
	return element, elements[space(elements, end):], true
}

// Count returns the number of the elements.
func Count(elements []byte) int {
	n := 0
	for {
		_, rest, ok := Next(elements)
		if !ok {
			return n
		}
		n++
		elements = rest
	}
}

// skipValue returns the end of the valid JSON value that begins at i.
func skipValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		depth := 0
		for ; i < len(b); i++ {
			switch b[i] {
			case '"':
				i = skipString(b, i) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
		return i
	}
	for i < len(b) && b[i] != ',' && b[i] != ']' && b[i] != '}' && !isSpace(b[i]) {
		i++
	}
	return i
}

// skipString returns the position behind the closing quote of the string that begins at i.
func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		j := bytes.IndexByte(b[i:], '"')
		if j < 0 {
			return len(b)
		}
		i += j
		slashes := 0
		for k := i - 1; b[k] == '\\'; k-- {
			slashes++
		}
		if slashes%2 == 0 {
			return i + 1
		}
	}
	return i
}

func space(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
