package parser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// A placeholder stands for a binary value in a packet that has attachments. The wire has exactly this form, but white
// space and the order of the keys may vary, as clients of other makers write them. JavaScript's decoder takes every
// object whose key "_placeholder" is true for one, and closes the connection when it is not as it should be: in a
// packet with attachments such objects are refused.
const (
	placeholderHead = `{"_placeholder":true,"num":`
	placeholderTail = '}'
	placeholderKey  = "_placeholder"
)

var (
	keyPlaceholder = []byte(`"` + placeholderKey + `"`)
	keyNum         = []byte(`"num"`)
	wordTrue       = []byte("true")
)

// AppendPlaceholder appends the placeholder of attachment num.
func AppendPlaceholder(dst []byte, num int) []byte {
	dst = append(dst, placeholderHead...)
	dst = strconv.AppendInt(dst, int64(num), 10)
	return append(dst, placeholderTail)
}

// Placeholders calls fn for each placeholder outside of strings in valid JSON, in the order of the text, with
// its place and number.
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

// CheckPlaceholders refuses, in the valid JSON of a packet with attachments, what must not be relayed: an object that
// JavaScript takes for a placeholder but has another form, a number that is none of the attachments, and a number that
// comes twice, which no encoder writes: a receiver that fills in copies would multiply one attachment by the length
// of the text. The error wraps ErrIllegalAttachments.
func CheckPlaceholders(data []byte, attachments int) error {
	named := make([]bool, attachments)
	for i := 0; i < len(data); {
		switch data[i] {
		case '"':
			end := skipString(data, i)
			if falsePlaceholder(data, i, end) {
				return fmt.Errorf("%w: malformed placeholder", ErrIllegalAttachments)
			}
			i = end
		case '{':
			num, end, ok := placeholder(data, i)
			if !ok {
				i++
				continue
			}
			if err := markNamed(named, num); err != nil {
				return err
			}
			i = end
		default:
			i++
		}
	}
	return nil
}

// markNamed notes that a placeholder names attachment num.
func markNamed(named []bool, num int) error {
	if num >= len(named) {
		return fmt.Errorf("%w: number %d of %d", ErrIllegalAttachments, num, len(named))
	}
	if named[num] {
		return fmt.Errorf("%w: number %d twice", ErrIllegalAttachments, num)
	}
	named[num] = true
	return nil
}

// falsePlaceholder reports whether the string between start and end is the key of an object that only JavaScript takes
// for a placeholder.
func falsePlaceholder(data []byte, start, end int) bool {
	text := data[start:end]
	if bytes.IndexByte(text, '\\') >= 0 {
		const longest = len(`""`) + len(placeholderKey)*len(`\u0000`)
		var s string
		if len(text) > longest || json.Unmarshal(text, &s) != nil || s != placeholderKey {
			return false
		}
	} else if !bytes.Equal(text, keyPlaceholder) {
		return false
	}
	if end = space(data, end); end == len(data) || data[end] != ':' {
		return false
	}
	return bytes.HasPrefix(data[space(data, end+1):], wordTrue)
}

// placeholder reads the object at i if it is a placeholder: two members, in any order. It looks no further than at
// the first byte that does not fit, so that a search stays linear.
func placeholder(b []byte, i int) (num, end int, ok bool) {
	num = -1
	marked := false
	i = space(b, i+1)
	for members := range 2 {
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
		if isMark {
			if marked = bytes.HasPrefix(b[i:], wordTrue); !marked {
				return 0, 0, false
			}
			i += len(wordTrue)
		} else if num, i = attachmentNumber(b, i); num < 0 {
			return 0, 0, false
		}
		i = space(b, i)
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

// attachmentNumber reads the number at i; -1 is what cannot be the number of an attachment.
func attachmentNumber(b []byte, i int) (num, end int) {
	const digits = 5
	for end = i; end < len(b) && end < i+digits && isDigit(b[end]); end++ {
		num = num*10 + int(b[end]-'0')
	}
	if end == i {
		return -1, i
	}
	return num, end
}
