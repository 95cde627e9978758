package redisadapter

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// NameHash is nameHash.
func NameHash(name string) int32 { return nameHash(name) }

// StreamOf is streamNames.of.
func StreamOf(name string, count int, namespace string) string {
	return streamNames{name, count}.of(namespace)
}

// AppendSession is appendSession within the default limits.
func AppendSession(s *adapter.Session) (string, error) {
	b, err := appendSession(nil, parser.Limits{}, s)
	return string(b), err
}

// DecodeSession is decodeSession within the default limits.
func DecodeSession(value string) (*adapter.Session, error) {
	return decodeSession(value, parser.Limits{})
}

// EntryValues returns the fields of the entry of a message, as one text.
func EntryValues(m *adapter.Message, uid, namespace string) (string, error) {
	c := newClusterMessage(m, uid, namespace, "")
	data, err := appendEntryData(nil, parser.Limits{}, &c)
	if err != nil {
		return "", err
	}
	f := entryFields{uid: uid, namespace: namespace, kind: c.kind, sent: c.sent}
	var text strings.Builder
	for _, v := range f.args("s", data).Values.([]any) {
		fmt.Fprintf(&text, "%s ", v)
	}
	return text.String(), nil
}

// DecodeEntry reads an entry within the default limits. It is nil for one that is no message.
func DecodeEntry(id string, fields map[string]any) (*adapter.Message, string, error) {
	e, ok, err := readEntry(&redis.XMessage{ID: id, Values: fields})
	if !ok || err != nil {
		return nil, "", err
	}
	c, err := e.decode(parser.Limits{}, everyRoom)
	if err != nil {
		return nil, "", err
	}
	return c.message, e.namespace, nil
}

// Measure lets the readers of a streams adapter ask how far behind they are.
func Measure(ctx context.Context, a adapter.Adapter) {
	for _, r := range a.(*streams).reading() {
		r.measure(ctx)
	}
}
