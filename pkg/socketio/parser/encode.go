package parser

import (
	"bytes"
	"strconv"
)

// AppendHeader appends everything that stands before the JSON: type, attachments, namespace and id. The
// namespace is "" or "/" for the main one. Event and Ack become their binary form when there are attachments.
func AppendHeader(dst []byte, t Type, attachments int, namespace string, id uint64, hasID bool) []byte {
	if attachments > 0 {
		switch t {
		case Event:
			t = BinaryEvent
		case Ack:
			t = BinaryAck
		}
	}
	dst = append(dst, '0'+byte(t))
	if attachments > 0 {
		dst = strconv.AppendInt(dst, int64(attachments), 10)
		dst = append(dst, '-')
	}
	if len(namespace) > 1 {
		dst = append(dst, namespace...)
		dst = append(dst, ',')
	}
	if hasID {
		dst = strconv.AppendUint(dst, id, 10)
	}
	return dst
}

// AppendString appends s as JSON as JavaScript writes it: without HTML escapes. Bytes that are not UTF-8
// become U+FFFD.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, '\\', 'n')
		case r == '\r':
			dst = append(dst, '\\', 'r')
		case r == '\t':
			dst = append(dst, '\\', 't')
		case r < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			dst = appendRune(dst, r)
		}
	}
	return append(dst, '"')
}

func appendRune(dst []byte, r rune) []byte {
	if r < 0x80 {
		return append(dst, byte(r))
	}
	return append(dst, string(r)...)
}

// A placeholder stands for a binary value: exactly this, with the attachment's number.
const (
	placeholderHead = `{"_placeholder":true,"num":`
	placeholderTail = '}'
)

// AppendPlaceholder appends the placeholder of attachment num.
func AppendPlaceholder(dst []byte, num int) []byte {
	dst = append(dst, placeholderHead...)
	dst = strconv.AppendInt(dst, int64(num), 10)
	return append(dst, placeholderTail)
}

// Placeholders calls fn for each placeholder outside of strings in valid JSON, in the order of the text, with
// its place and number. White space and the order of the two keys may vary, as clients of other makers write them.
func Placeholders(data []byte, fn func(start, end, num int) error) error {
	for i := 0; i < len(data); {
		switch data[i] {
		case '"':
			i = skipString(data, i)
		case '{':
			num, end, ok := placeholder(data, i)
			if !ok {
				i++
				continue
			}
			if err := fn(i, end, num); err != nil {
				return err
			}
			i = end
		default:
			i++
		}
	}
	return nil
}

var (
	keyPlaceholder = []byte(`"_placeholder"`)
	keyNum         = []byte(`"num"`)
	wordTrue       = []byte("true")
)

// placeholder reads the object at i if it is a placeholder: two members, in any order.
func placeholder(b []byte, i int) (num, end int, ok bool) {
	num = -1
	marked := false
	i = space(b, i+1)
	for members := 0; members < 2; members++ {
		isMark := bytes.HasPrefix(b[i:], keyPlaceholder)
		switch {
		case isMark:
			i += len(keyPlaceholder)
		case bytes.HasPrefix(b[i:], keyNum):
			i += len(keyNum)
		default:
			return 0, 0, false
		}
		if i = space(b, i); i == len(b) || b[i] != ':' {
			return 0, 0, false
		}
		i = space(b, i+1)
		value := b[i:skipValue(b, i)]
		i = space(b, i+len(value))
		if isMark {
			marked = bytes.Equal(value, wordTrue)
		} else if n, err := strconv.ParseUint(string(value), 10, 16); err == nil {
			num = int(n)
		}
		if members == 0 {
			if i == len(b) || b[i] != ',' {
				return 0, 0, false
			}
			i = space(b, i+1)
		}
	}
	if i == len(b) || b[i] != '}' || !marked || num < 0 {
		return 0, 0, false
	}
	return num, i + 1, true
}
