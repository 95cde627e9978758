package redisadapter

import "example.com/chorus/pkg/adapter"

var (
	AppendMessage = appendMessage
	IsOwn         = isOwn
	ErrMalformed  = errMalformed
)

// DecodeMessage is decodeMessage; a message for somebody else is nil.
func DecodeMessage(payload, namespace string, hasRoom func(string) bool) (*adapter.Message, error) {
	return decodeMessage(payload, namespace, hasRoom)
}

// UID returns the name of an adapter on the wire.
func UID(a adapter.Adapter) string { return a.(*pubSub).uid }
