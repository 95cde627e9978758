package parser

import (
	"fmt"
	"math"
	"strconv"
	"sync"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// AppendMsgpack appends the JSON value text as MessagePack, as JavaScript's encoders write it: integers in their
// smallest form, all other numbers as float64, too large ones as nil. Placeholders become the binary values that
// they stand for; without binary values they are plain data. On an error, which wraps ErrInvalidPayload, ErrTooDeep,
// ErrTooManyAttachments or ErrIllegalAttachments, dst is returned as it was. It allocates nothing when dst is large
// enough, unless text is large or far from UTF-8.
func (l Limits) AppendMsgpack(dst, text []byte, binary [][]byte) ([]byte, error) {
	if limit := l.attachments(); len(binary) > limit {
		return dst, fmt.Errorf("%w: %d, limit %d", ErrTooManyAttachments, len(binary), limit)
	}
	p := packers.Get().(*packer)
	p.src, p.pos, p.out, p.binary, p.next = text, 0, dst, binary, 0
	err := p.document()
	out := p.out
	p.src, p.out, p.binary = nil, nil, nil
	const keep = 64 << 10 // what one huge message grew is not kept for the small ones
	if cap(p.text) <= keep && cap(p.counts) <= keep/4 {
		packers.Put(p)
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

// packer turns JSON text into MessagePack without a tree of values in between. MessagePack says the length of
// an array in front of it, so a first pass counts elements and a second writes.
type packer struct {
	src    []byte
	pos    int
	out    []byte
	binary [][]byte
	counts []uint32 // elements of each container, in the order of opening
	next   int      // container that opens next
	open   []int    // of the first pass: containers that are open
	text   []byte   // a string with its escapes resolved
}

var packers = sync.Pool{New: func() any { return new(packer) }}

func (p *packer) document() error {
	if len(p.binary) > 0 {
		if err := CheckPlaceholders(p.src, len(p.binary)); err != nil {
			return err
		}
	}
	if err := p.count(); err != nil {
		return err
	}
	if err := p.value(); err != nil {
		return err
	}
	if p.space(); p.pos != len(p.src) {
		return p.syntax()
	}
	return nil
}

// count is the first pass. It checks nothing but the depth; the second pass finds what is wrong.
func (p *packer) count() error {
	p.counts, p.open = p.counts[:0], p.open[:0]
	empty := false // the innermost container is open and nothing in it was seen
	for i := 0; i < len(p.src); i++ {
		c := p.src[i]
		if empty && c > ' ' {
			if empty = false; c != ']' && c != '}' {
				p.counts[p.open[len(p.open)-1]]++
			}
		}
		switch c {
		case '"':
			for i++; i < len(p.src) && p.src[i] != '"'; i++ {
				if p.src[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			if len(p.open) == MaxDepth {
				return ErrTooDeep
			}
			p.open = append(p.open, len(p.counts))
			p.counts = append(p.counts, 0)
			empty = true
		case ',':
			if len(p.open) > 0 {
				p.counts[p.open[len(p.open)-1]]++
			}
		case ']', '}':
			if len(p.open) > 0 {
				p.open = p.open[:len(p.open)-1]
			}
		}
	}
	return nil
}

func (p *packer) value() error {
	p.space()
	if p.pos >= len(p.src) {
		return p.syntax()
	}
	switch c := p.src[p.pos]; {
	case c == '{':
		return p.object()
	case c == '[':
		return p.array()
	case c == '"':
		s, err := p.string()
		if err == nil {
			p.out = msgp.AppendStringFromBytes(p.out, s)
		}
		return err
	case c == '-' || isDigit(c):
		return p.number()
	case p.literal("true"):
		p.out = msgp.AppendBool(p.out, true)
	case p.literal("false"):
		p.out = msgp.AppendBool(p.out, false)
	case p.literal("null"):
		p.out = msgp.AppendNil(p.out)
	default:
		return p.syntax()
	}
	return nil
}

func (p *packer) array() error {
	n := p.counts[p.next]
	p.next++
	p.pos++
	p.out = msgp.AppendArrayHeader(p.out, n)
	for i := range n {
		if i > 0 && !p.token(',') {
			return p.syntax()
		}
		if err := p.value(); err != nil {
			return err
		}
	}
	if !p.token(']') {
		return p.syntax()
	}
	return nil
}

func (p *packer) object() error {
	n := p.counts[p.next]
	p.next++
	if len(p.binary) > 0 {
		if num, end, ok := placeholder(p.src, p.pos); ok {
			p.pos = end
			p.out = msgp.AppendBytes(p.out, p.binary[num])
			return nil
		}
	}
	p.pos++
	p.out = msgp.AppendMapHeader(p.out, n)
	for i := range n {
		if i > 0 && !p.token(',') {
			return p.syntax()
		}
		if p.space(); p.pos >= len(p.src) || p.src[p.pos] != '"' {
			return p.syntax()
		}
		key, err := p.string()
		if err != nil {
			return err
		}
		p.out = msgp.AppendStringFromBytes(p.out, key)
		if !p.token(':') {
			return p.syntax()
		}
		if err := p.value(); err != nil {
			return err
		}
	}
	if !p.token('}') {
		return p.syntax()
	}
	return nil
}

// string reads a string with its quotes. The result is valid until the next call.
func (p *packer) string() ([]byte, error) {
	p.pos++
	start, ascii := p.pos, true
	for ; p.pos < len(p.src); p.pos++ {
		switch c := p.src[p.pos]; {
		case c == '"':
			s := p.src[start:p.pos]
			p.pos++
			if !ascii {
				s = repair(s)
			}
			return s, nil
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			return nil, p.syntax()
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, p.syntax()
}

var unescape = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escaped goes on with a string of which a first part without escapes was read.
func (p *packer) escaped(start int) ([]byte, error) {
	p.text = append(p.text[:0], p.src[start:p.pos]...)
	for p.pos < len(p.src) {
		c := p.src[p.pos]
		p.pos++
		switch {
		case c == '"':
			return repair(p.text), nil
		case c < ' ':
			return nil, p.syntax()
		case c != '\\':
			p.text = append(p.text, c)
			continue
		}
		if p.pos >= len(p.src) {
			break
		}
		c = p.src[p.pos]
		p.pos++
		if c != 'u' {
			if unescape[c] == 0 {
				return nil, p.syntax()
			}
			p.text = append(p.text, unescape[c])
			continue
		}
		r, ok := p.hex4()
		if !ok {
			return nil, p.syntax()
		}
		if utf16.IsSurrogate(r) {
			r = p.surrogate(r)
		}
		p.text = utf8.AppendRune(p.text, r)
	}
	return nil, p.syntax()
}

// repair replaces every byte that is no UTF-8 with U+FFFD.
func repair(s []byte) []byte {
	if utf8.Valid(s) {
		return s
	}
	return []byte(string([]rune(string(s))))
}

// surrogate joins a first half with the second half that follows it; a lone half is U+FFFD.
func (p *packer) surrogate(first rune) rune {
	if p.pos+1 < len(p.src) && p.src[p.pos] == '\\' && p.src[p.pos+1] == 'u' {
		back := p.pos
		p.pos += 2
		if second, ok := p.hex4(); ok {
			if r := utf16.DecodeRune(first, second); r != utf8.RuneError {
				return r
			}
		}
		p.pos = back
	}
	return utf8.RuneError
}

func (p *packer) hex4() (rune, bool) {
	if p.pos+4 > len(p.src) {
		return 0, false
	}
	var r rune
	for _, c := range p.src[p.pos : p.pos+4] {
		switch {
		case isDigit(c):
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	p.pos += 4
	return r, true
}

// number writes integers in their smallest form, as JavaScript's encoders do, and all else as float64.
func (p *packer) number() error {
	start := p.pos
	if p.src[p.pos] == '-' {
		p.pos++
	}
	first := p.pos
	digits := p.digits()
	if digits == 0 || digits > 1 && p.src[first] == '0' {
		return p.syntax()
	}
	integer := true
	if p.pos < len(p.src) && p.src[p.pos] == '.' {
		integer = false
		if p.pos++; p.digits() == 0 {
			return p.syntax()
		}
	}
	if p.pos < len(p.src) && p.src[p.pos]|0x20 == 'e' {
		integer = false
		p.pos++
		if p.pos < len(p.src) && (p.src[p.pos] == '+' || p.src[p.pos] == '-') {
			p.pos++
		}
		if p.digits() == 0 {
			return p.syntax()
		}
	}
	text := p.src[start:p.pos]
	if integer && p.integer(text) {
		return nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	const exact = 1 << 53
	switch {
	case err != nil: // too large for a number: JavaScript writes infinity as null
		p.out = msgp.AppendNil(p.out)
	case f == math.Trunc(f) && math.Abs(f) <= exact:
		p.appendInt(int64(f))
	default:
		p.out = msgp.AppendFloat64(p.out, f)
	}
	return nil
}

func (p *packer) integer(text []byte) bool {
	negative := text[0] == '-'
	if negative {
		text = text[1:]
	}
	var u uint64
	for _, c := range text {
		d := uint64(c - '0')
		if u > (math.MaxUint64-d)/10 {
			return false
		}
		u = u*10 + d
	}
	switch {
	case !negative:
		p.out = msgp.AppendUint64(p.out, u)
	case u <= math.MaxInt64:
		p.appendInt(-int64(u))
	default:
		return false
	}
	return true
}

// appendInt writes numbers from zero on unsigned: that form is the smaller one.
func (p *packer) appendInt(i int64) {
	if i >= 0 {
		p.out = msgp.AppendUint64(p.out, uint64(i))
	} else {
		p.out = msgp.AppendInt64(p.out, i)
	}
}

func (p *packer) digits() int {
	start := p.pos
	for p.pos < len(p.src) && isDigit(p.src[p.pos]) {
		p.pos++
	}
	return p.pos - start
}

func (p *packer) literal(s string) bool {
	if len(p.src)-p.pos < len(s) || string(p.src[p.pos:p.pos+len(s)]) != s {
		return false
	}
	p.pos += len(s)
	return true
}

func (p *packer) token(c byte) bool {
	p.space()
	if p.pos >= len(p.src) || p.src[p.pos] != c {
		return false
	}
	p.pos++
	return true
}

func (p *packer) space() { p.pos = space(p.src, p.pos) }

func (p *packer) syntax() error {
	return fmt.Errorf("%w: JSON syntax at byte %d", ErrInvalidPayload, p.pos)
}
