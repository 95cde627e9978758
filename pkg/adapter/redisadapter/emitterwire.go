package redisadapter

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
	"github.com/tinylib/msgp/msgp"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// classicEmitter writes what @socket.io/redis-emitter 5.1 writes: broadcasts whose options come in another order than a
// server's, and requests whose sender is named only in server-side emits.
type classicEmitter struct{ prefix string }

func (w classicEmitter) command(ctx context.Context, limits parser.Limits, namespace string, m *adapter.Message) (redis.Cmder, error) {
	c := channels{prefix: w.prefix, namespace: namespace}
	channel := c.request()
	var payload []byte
	var err error
	switch m.Kind {
	case adapter.Broadcast:
		if channel = c.broadcast(); len(m.Rooms) == 1 {
			channel = c.room(m.Rooms[0])
		}
		payload, err = appendEmission(nil, limits, namespace, m)
	case adapter.ServerSideEmit:
		payload, err = appendRequest(nil, limits, emitterUID, "", namespace, m)
	default:
		payload, err = appendRequest(nil, limits, "", "", namespace, m)
		payload = append([]byte{'{'}, bytes.TrimPrefix(payload, []byte(`{"uid":"",`))...)
	}
	if err != nil {
		return nil, err
	}
	return redis.NewIntCmd(ctx, "publish", channel, payload), nil
}

// appendEmission appends a broadcast of an emitter.
func appendEmission(dst []byte, limits parser.Limits, namespace string, m *adapter.Message) ([]byte, error) {
	elements := uint32(3)
	if !m.Sent.IsZero() {
		elements++
	}
	out := msgp.AppendArrayHeader(dst, elements)
	out = msgp.AppendString(out, emitterUID)
	out, err := appendPacket(out, limits, namespace, m)
	if err != nil {
		return dst, err
	}
	out = msgp.AppendMapHeader(out, 3)
	out = appendStrings(msgp.AppendString(out, "rooms"), m.Rooms)
	out = appendFlags(msgp.AppendString(out, "flags"), m.Flags, 0)
	out = appendStrings(msgp.AppendString(out, "except"), m.Except)
	if elements > 3 {
		out = msgp.AppendMapHeader(out, 1)
		out = msgp.AppendInt64(msgp.AppendString(out, "t"), m.Sent.UnixMicro())
	}
	return out, nil
}

// streamsEmitter writes entries as a server does, to the stream that all servers read for the namespace. Server-side emits
// are entries too, as those of Node's streams emitter.
type streamsEmitter struct {
	names  streamNames
	maxLen int64
	plain  bool
}

func (w streamsEmitter) command(ctx context.Context, limits parser.Limits, namespace string, m *adapter.Message) (redis.Cmder, error) {
	c := newClusterMessage(m, emitterUID, namespace, "")
	if w.plain && c.isBinary() {
		return nil, fmt.Errorf("%w: binary values, which the option OnlyPlaintext refuses", ErrInvalidData)
	}
	data, err := appendEntryData(nil, limits, &c)
	if err != nil {
		return nil, err
	}
	f := entryFields{uid: c.uid, namespace: namespace, kind: c.kind, sent: c.sent, maxLen: w.maxLen}
	stream := w.names.of(namespace)
	args := append([]any{"xadd", stream, "maxlen", "~", strconv.FormatInt(w.maxLen, 10), "*"}, f.args(stream, data).Values.([]any)...)
	return redis.NewStringCmd(ctx, args...), nil
}
