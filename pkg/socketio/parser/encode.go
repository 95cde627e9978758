package parser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
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
// become U+FFFD: a WebSocket text message must not hold any.
func AppendString(dst []byte, s string) []byte { return appendString(dst, s) }

func appendString[S string | []byte](dst []byte, s S) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := decodeRune(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

func decodeRune[S string | []byte](s S) (rune, int) {
	var first [utf8.UTFMax]byte
	return utf8.DecodeRune(first[:copy(first[:], s)])
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

// CheckPlaceholders refuses, in the valid JSON of a packet with attachments, what official clients answer by closing
// their connection, should it be relayed to them: objects with a key "_placeholder" that stand for none of the
// attachments. It also refuses more placeholders than attachments: no encoder writes a number twice, and a receiver
// that fills in copies would multiply one attachment by the length of the text. The error is ErrIllegalAttachments.
func CheckPlaceholders(data []byte, attachments int) error {
	seen := 0
	for i := 0; i < len(data); {
		switch data[i] {
		case '"':
			end := skipString(data, i)
			if isKey(data, end) && saysPlaceholder(data[i:end]) {
				return fmt.Errorf("%w: malformed placeholder", ErrIllegalAttachments)
			}
			i = end
		case '{':
			num, end, ok := placeholder(data, i)
			if !ok {
				i++
				continue
			}
			if num >= attachments {
				return fmt.Errorf("%w: number %d of %d", ErrIllegalAttachments, num, attachments)
			}
			if seen++; seen > attachments {
				return fmt.Errorf("%w: more placeholders than the %d attachments", ErrIllegalAttachments, attachments)
			}
			i = end
		default:
			i++
		}
	}
	return nil
}

// isKey reports whether the string that ends at end is the key of an object.
func isKey(data []byte, end int) bool {
	end = space(data, end)
	return end < len(data) && data[end] == ':'
}

// saysPlaceholder reports whether a string is "_placeholder", also in an escaped form.
func saysPlaceholder(text []byte) bool {
	if bytes.IndexByte(text, '\\') < 0 {
		return bytes.Equal(text, keyPlaceholder)
	}
	const longest = len(`"_placeholder"`) * len(`\u0000`)
	var s string
	return len(text) <= longest && json.Unmarshal(text, &s) == nil && s == "_placeholder"
}
