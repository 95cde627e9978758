package redisadapter

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// An entry of a stream has the fields of @socket.io/redis-streams-adapter 0.3:
//
//	uid   16 hexadecimal digits, who sent it, or "emitter"
//	nsp   the namespace
//	type  the clusterType in decimal
//	data  the data of the message: JSON, or the base64 text of MessagePack when there is binary data in it
//
// Chorus adds what Node does not look at: t, the microseconds since 1970 when it was emitted, and n, which counts the
// entries of a sender in the order of each stream: by it a sender finds its entries again, and one that is there twice is
// read once. Entries without nsp are ignored by everyone.

// streamEntry is an entry as it was read, with its data not looked at.
type streamEntry struct {
	offset    adapter.Offset
	uid       string
	namespace string
	kind      clusterType
	data      string
	sent      time.Time
	number    uint64 // 0 for none
}

// entryFields are what stands beside the data of an entry that is added.
type entryFields struct {
	uid, namespace string
	kind           clusterType
	sent           time.Time
	maxLen         int64

	number uint64        // 0 until it is sent for the first time
	next   func() uint64 // returns the number; it is called on the goroutine of the publisher
}

// addCommand is the command of an outgoing entry, whose channel is the name of the stream.
func addCommand(ctx context.Context, pipe redis.Pipeliner, o *outgoing) {
	f := o.entry
	if f.number == 0 {
		f.number = f.next()
	}
	pipe.XAdd(ctx, f.args(o.channel, *o.payload))
}

func (f *entryFields) args(stream string, data []byte) *redis.XAddArgs {
	values := make([]any, 0, 12)
	values = append(values, "uid", f.uid, "nsp", f.namespace, "type", strconv.Itoa(int(f.kind)), "data", data)
	if !f.sent.IsZero() {
		values = append(values, "t", strconv.FormatInt(f.sent.UnixMicro(), 10))
	}
	if f.number > 0 {
		values = append(values, "n", strconv.FormatUint(f.number, 10))
	}
	return &redis.XAddArgs{Stream: stream, MaxLen: f.maxLen, Approx: true, Values: values}
}

// appendEntryData appends the field data of a message.
func appendEntryData(dst []byte, limits parser.Limits, c *clusterMessage) ([]byte, error) {
	start := len(dst)
	out, packed, err := appendClusterData(dst, limits, c)
	if err != nil || !packed {
		return out, err
	}
	text := base64.StdEncoding.AppendEncode(make([]byte, 0, base64.StdEncoding.EncodedLen(len(out)-start)), out[start:])
	return append(out[:start], text...), nil
}

// readEntry takes the fields of an entry. It reports false for one that is no message.
func readEntry(x *redis.XMessage) (e streamEntry, ok bool, err error) {
	if e.offset, ok = adapter.ParseOffset(x.ID); !ok {
		return e, false, fmt.Errorf("%w: entry %.64q", errMalformed, x.ID)
	}
	field := func(name string) string {
		text, _ := x.Values[name].(string)
		return text
	}
	e.namespace = field("nsp")
	if e.namespace == "" {
		return e, false, nil
	}
	e.uid, e.data = field("uid"), field("data")
	if len(e.uid) > maxClusterID {
		return e, true, fmt.Errorf("%w: uid of %d bytes", errMalformed, len(e.uid))
	}
	kind, err := strconv.ParseUint(field("type"), 10, 8)
	if err != nil {
		return e, true, fmt.Errorf("%w: type %.16q", errMalformed, field("type"))
	}
	e.kind = clusterType(kind)
	if us, err := strconv.ParseInt(field("t"), 10, 64); err == nil { // another program's may be anything
		e.sent = time.UnixMicro(us)
	}
	e.number, _ = strconv.ParseUint(field("n"), 10, 64)
	return e, true, nil
}

// decode reads the data. It returns nil when no socket of this node can be concerned, as hasRoom tells.
func (e *streamEntry) decode(limits parser.Limits, hasRoom func(string) bool) (*clusterMessage, error) {
	h := clusterHead{kind: e.kind, uid: e.uid, namespace: e.namespace, sent: e.sent}
	switch e.kind {
	case clusterBroadcast, clusterJoin, clusterLeave, clusterDisconnect, clusterServerSideEmit:
	default:
		return nil, fmt.Errorf("%w: entry of type %d", errMalformed, e.kind)
	}
	data := []byte(e.data)
	if e.data != "" && e.data[0] != '{' {
		var err error
		if data, err = decodeBase64(e.data); err != nil {
			return nil, malformed(err)
		}
	}
	var err error
	if h.data, err = readClusterData(data); err != nil {
		return nil, malformed(err)
	}
	return h.decode(limits, hasRoom)
}

func everyRoom(string) bool { return true }
