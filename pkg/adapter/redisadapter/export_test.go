package redisadapter

import (
	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

var (
	IsOwn        = isOwn
	ErrMalformed = errMalformed
)

// AppendMessage is appendMessage within the default limits.
func AppendMessage(dst []byte, uid, namespace string, m *adapter.Message) ([]byte, error) {
	return appendMessage(dst, parser.Limits{}, uid, namespace, m)
}

// DecodeMessage is decodeMessage within the default limits; a message for somebody else is nil.
func DecodeMessage(payload, namespace string, hasRoom func(string) bool) (*adapter.Message, error) {
	return decodeMessage(payload, parser.Limits{}, namespace, hasRoom)
}

// UID returns the name of an adapter on the wire.
func UID(a adapter.Adapter) string { return a.(*pubSub).uid }

func (l *line) self() *line { return l }

// Kill ends an adapter as SIGKILL does: its connections are cut, and it says nothing before.
func Kill(a adapter.Adapter) {
	l := a.(interface{ self() *line }).self()
	l.membership.mu.Lock()
	l.membership.departed = true
	l.membership.mu.Unlock()
	l.end()
}
