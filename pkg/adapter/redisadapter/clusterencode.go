package redisadapter

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/tinylib/msgp/msgp"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// appendCluster appends a message as the sharded adapter publishes it: as MessagePack if it has binary data, else as
// JSON. The error wraps ErrInvalidData; dst is returned as it was then.
func appendCluster(dst []byte, limits parser.Limits, c *clusterMessage) ([]byte, error) {
	return appendClusterAs(dst, limits, c, c.isBinary())
}

// appendClusterAs appends a message as MessagePack or as JSON.
func appendClusterAs(dst []byte, limits parser.Limits, c *clusterMessage, packed bool) ([]byte, error) {
	w := clusterWriter{out: dst, packed: packed, limits: limits}
	hasData := c.message != nil || c.response != nil
	w.object(3 + one(hasData) + one(!c.sent.IsZero()))
	w.key("type")
	w.integer(uint64(c.kind))
	if hasData {
		w.key("data")
		w.data(c)
	}
	w.key("uid")
	w.text(c.uid)
	w.key("nsp")
	w.text(c.namespace)
	if !c.sent.IsZero() {
		w.key("t")
		w.integer(uint64(max(c.sent.UnixMicro(), 0)))
	}
	w.end()
	return w.result(dst)
}

// appendClusterData appends the data of a message alone, as the streams adapter does, and reports whether it is
// MessagePack, because there is binary data in it, or JSON. The message must have data.
func appendClusterData(dst []byte, limits parser.Limits, c *clusterMessage) (out []byte, packed bool, err error) {
	w := clusterWriter{out: dst, packed: c.isBinary(), limits: limits}
	w.data(c)
	out, err = w.result(dst)
	return out, w.packed, err
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// clusterWriter writes one value in either form, so that the fields and their order stand in one place. The first error
// stays.
type clusterWriter struct {
	out    []byte
	packed bool // MessagePack
	inside bool // JSON: the innermost object or list has elements, so that a comma is due
	limits parser.Limits
	err    error
}

func (w *clusterWriter) result(dst []byte) ([]byte, error) {
	if w.err != nil {
		return dst, w.err
	}
	return w.out, nil
}

func (w *clusterWriter) data(c *clusterMessage) {
	switch c.kind {
	case clusterBroadcast:
		w.object(2 + one(c.request != ""))
		w.key("packet")
		w.object(2)
		w.key("type")
		w.integer(uint64(parser.Event))
		w.key("data")
		w.array(&c.message.Packet)
		w.end()
		w.requestID(c)
		w.options(c.message)
	case clusterJoin, clusterLeave:
		w.object(2)
		w.options(c.message)
		w.key("rooms")
		w.texts(c.message.Targets)
	case clusterDisconnect:
		w.object(2)
		w.options(c.message)
		w.key("close")
		w.boolean(c.message.Close)
	case clusterFetch:
		w.object(2 + one(c.message.Kind == adapter.Count))
		w.options(c.message)
		w.requestID(c)
		if c.message.Kind == adapter.Count {
			w.key("count")
			w.boolean(true)
		}
	case clusterServerSideEmit:
		w.object(1 + one(c.request != ""))
		w.requestID(c)
		w.key("packet")
		w.array(&c.message.Packet)
	default:
		w.response(c)
	}
	w.end()
}

// response begins the data of an answer.
func (w *clusterWriter) response(c *clusterMessage) {
	switch c.kind {
	case clusterFetchResponse:
		w.object(2 + one(c.response.Count > 0))
		w.requestID(c)
		w.key("sockets")
		w.sockets(c.response.Sockets)
		if c.response.Count > 0 {
			w.key("count")
			w.integer(uint64(c.response.Count))
		}
	case clusterClientCount:
		w.object(2)
		w.requestID(c)
		w.key("clientCount")
		w.integer(uint64(max(c.response.Count, 0)))
	case clusterAck, clusterServerSideEmitResponse:
		first := w.first(c.response.Packet)
		w.object(1 + one(len(first) > 0))
		w.requestID(c)
		if len(first) > 0 {
			w.key("packet")
			w.json(first, c.response.Packet.Attachments)
		}
	default:
		w.fail(fmt.Errorf("%w: message of type %d", ErrInvalidData, c.kind))
	}
}

// first returns the first value of an acknowledgement, which is all that Node's servers send; nil if there is none.
func (w *clusterWriter) first(p *adapter.Packet) []byte {
	if p == nil {
		return nil
	}
	if err := parser.CheckJSON(p.Data); err != nil || !isArray(p.Data) {
		w.fail(fmt.Errorf("%w: acknowledgement is no array", ErrInvalidData))
		return nil
	}
	first, _ := parser.Split(p.Data[bytes.IndexByte(p.Data, '['):])
	return first
}

func (w *clusterWriter) requestID(c *clusterMessage) {
	if c.request != "" {
		w.key("requestId")
		w.text(c.request)
	}
}

func (w *clusterWriter) options(m *adapter.Message) {
	w.key("opts")
	w.object(3)
	w.key("rooms")
	w.texts(m.Rooms)
	w.key("except")
	w.texts(m.Except)
	w.key("flags")
	w.object(one(m.Flags.Volatile) + one(m.Flags.Uncompressed) + one(m.Timeout > 0))
	if m.Flags.Volatile {
		w.key("volatile")
		w.boolean(true)
	}
	if m.Flags.Uncompressed {
		w.key("compress")
		w.boolean(false)
	}
	if m.Timeout > 0 {
		w.key("timeout")
		w.integer(uint64(m.Timeout.Milliseconds()))
	}
	w.end()
	w.end()
}

func (w *clusterWriter) sockets(list []adapter.Socket) {
	w.list(len(list))
	for i := range list {
		s := &list[i]
		w.element(i)
		w.object(4)
		w.key("id")
		w.text(s.ID)
		w.key("handshake")
		w.jsonOr(s.Handshake, "{}")
		w.key("rooms")
		w.texts(s.Rooms)
		w.key("data")
		w.jsonOr(s.Data, "{}")
		w.end()
	}
	w.endList()
}

// array writes a packet whose data must be an array.
func (w *clusterWriter) array(p *adapter.Packet) {
	if !isArray(p.Data) {
		w.fail(fmt.Errorf("%w: not an array", ErrInvalidData))
		return
	}
	w.json(p.Data, p.Attachments)
}

func isArray(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	return len(text) > 0 && text[0] == '['
}

func (w *clusterWriter) jsonOr(text []byte, absent string) {
	if len(text) == 0 {
		text = []byte(absent)
	}
	w.json(text, nil)
}

// json writes the JSON value text. In JSON it is copied as it is.
func (w *clusterWriter) json(text []byte, attachments [][]byte) {
	if w.packed {
		out, err := w.limits.AppendMsgpack(w.out, text, attachments)
		if err != nil {
			w.fail(fmt.Errorf("%w: %w", ErrInvalidData, err))
		}
		w.out = out
		return
	}
	if err := parser.CheckJSON(text); err != nil {
		w.fail(fmt.Errorf("%w: %w", ErrInvalidData, err))
	}
	w.out = append(w.out, text...)
}

func (w *clusterWriter) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// object begins an object with n keys.
func (w *clusterWriter) object(n int) {
	if w.packed {
		w.out = msgp.AppendMapHeader(w.out, uint32(n))
		return
	}
	w.out = append(w.out, '{')
	w.inside = false
}

// end ends an object.
func (w *clusterWriter) end() {
	if !w.packed {
		w.out = append(w.out, '}')
		w.inside = true
	}
}

func (w *clusterWriter) key(name string) {
	if w.packed {
		w.out = msgp.AppendString(w.out, name)
		return
	}
	if w.inside {
		w.out = append(w.out, ',')
	}
	w.inside = true
	w.out = append(w.out, '"')
	w.out = append(w.out, name...)
	w.out = append(w.out, '"', ':')
}

// list begins a list of n elements; element comes before each of them.
func (w *clusterWriter) list(n int) {
	if w.packed {
		w.out = msgp.AppendArrayHeader(w.out, uint32(n))
		return
	}
	w.out = append(w.out, '[')
}

func (w *clusterWriter) element(i int) {
	if !w.packed && i > 0 {
		w.out = append(w.out, ',')
	}
}

func (w *clusterWriter) endList() {
	if !w.packed {
		w.out = append(w.out, ']')
		w.inside = true
	}
}

func (w *clusterWriter) texts(list []string) {
	w.list(len(list))
	for i, s := range list {
		w.element(i)
		w.text(s)
	}
	w.endList()
}

func (w *clusterWriter) text(s string) {
	if w.packed {
		w.out = msgp.AppendString(w.out, s)
	} else {
		w.out = parser.AppendString(w.out, s)
	}
}

func (w *clusterWriter) integer(n uint64) {
	if w.packed {
		w.out = msgp.AppendUint64(w.out, n)
	} else {
		w.out = strconv.AppendUint(w.out, n, 10)
	}
}

func (w *clusterWriter) boolean(v bool) {
	if w.packed {
		w.out = msgp.AppendBool(w.out, v)
	} else {
		w.out = strconv.AppendBool(w.out, v)
	}
}

// appendPackedTail appends how the MessagePack of each message of a sender ends, but for the time.
func appendPackedTail(dst []byte, uid, namespace string) []byte {
	w := clusterWriter{out: dst, packed: true}
	w.key("uid")
	w.text(uid)
	w.key("nsp")
	w.text(namespace)
	return w.out
}
