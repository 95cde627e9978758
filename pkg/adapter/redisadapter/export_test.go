package redisadapter

import (
	"fmt"

	"example.com/chorus/pkg/adapter"
)

var (
	AppendMessage = appendMessage
	AppendPacked  = appendPacked
	IsOwn         = isOwn
	ErrMalformed  = errMalformed
)

const MaxDepth = maxDepth

// DecodeMessage is decodeMessage; a message for somebody else is nil.
func DecodeMessage(payload, namespace string, hasRoom func(string) bool) (*adapter.Message, error) {
	return decodeMessage(payload, namespace, hasRoom)
}

// UnpackJSON turns one MessagePack value that fills b into JSON text.
func UnpackJSON(b []byte) (text []byte, attachments [][]byte, err error) {
	u := unpacker{in: b}
	if err := u.value(0); err != nil {
		return nil, nil, err
	}
	if len(u.in) > 0 {
		return nil, nil, fmt.Errorf("%d bytes left", len(u.in))
	}
	return u.out, u.attachments, nil
}

// UID returns the name of an adapter on the wire.
func UID(a adapter.Adapter) string { return a.(*pubSub).uid }
