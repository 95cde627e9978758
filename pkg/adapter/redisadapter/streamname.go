package redisadapter

import (
	"strconv"
	"unicode/utf16"
)

// streamNames finds the stream of a namespace, as @socket.io/redis-streams-adapter does.
type streamNames struct {
	name  string
	count int
}

// of returns the stream to which messages of a namespace are added.
//
// Node takes the remainder of a signed hash. Where that is negative its servers write to a stream that none of them
// reads, such as socket.io--2. We take the remainder that is not negative instead: every server reads that stream and
// looks at the namespace of each entry, so Node's servers hear us. lost returns the stream to hear them from.
func (s streamNames) of(namespace string) string {
	if s.count == 1 {
		return s.name
	}
	n := s.remainder(namespace)
	if n < 0 {
		n += s.count
	}
	return s.numbered(n)
}

// lost returns the stream to which only Node's servers write messages of a namespace, if there is one.
func (s streamNames) lost(namespace string) (string, bool) {
	if s.count == 1 {
		return "", false
	}
	n := s.remainder(namespace)
	return s.numbered(n), n < 0
}

func (s streamNames) remainder(namespace string) int { return int(nameHash(namespace)) % s.count }

func (s streamNames) numbered(n int) string { return s.name + "-" + strconv.Itoa(n) }

// nameHash is the hash of Node's adapter: that of Java, over units of UTF-16.
func nameHash(name string) (h int32) {
	for _, unit := range utf16.Encode([]rune(name)) {
		h = h*31 + int32(unit)
	}
	return h
}
