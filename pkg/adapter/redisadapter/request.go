package redisadapter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/tinylib/msgp/msgp"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// requestType is the number of a request of @socket.io/redis-adapter 8, or of an answer.
type requestType int

const (
	typeSockets        requestType = iota // ids of the selected sockets; Node's version 8 answers and does not ask
	typeAllRooms                          // names of all rooms
	typeJoin                              // no answer
	typeLeave                             // no answer
	typeDisconnect                        // no answer
	typeFetch                             // descriptions of the selected sockets
	typeServerSideEmit                    // an answer if there is a requestId
	typeBroadcast                         // with acknowledgements
	typeClientCount                       // first answer to typeBroadcast
	typeBroadcastAck                      // acknowledgement of one client
)

// Requests are JSON, or MessagePack when the first byte is no brace. Node sends MessagePack for typeBroadcast alone and
// reads both for all; binary values of a server-side emit, which its JSON mangles, are therefore sent as MessagePack.
//
// Chorus adds what Node does not look at: "count" asks for a number instead of a list, "t" is the time of sending
// in microseconds since 1970, and "node" in an answer is the uid of who answers.

// appendRequest appends m as a request. Without an id no answer is wanted.
func appendRequest(dst []byte, limits parser.Limits, uid, id, namespace string, m *adapter.Message) ([]byte, error) {
	switch m.Kind {
	case adapter.Join, adapter.Leave:
		typ := typeJoin
		if m.Kind == adapter.Leave {
			typ = typeLeave
		}
		dst = appendJSONOptions(appendJSONHead(dst, uid, "", typ), m)
		return append(appendJSONList(append(dst, `,"rooms":`...), m.Targets), '}'), nil
	case adapter.Disconnect:
		dst = appendJSONOptions(appendJSONHead(dst, uid, "", typeDisconnect), m)
		return append(strconv.AppendBool(append(dst, `,"close":`...), m.Close), '}'), nil
	case adapter.Fetch:
		return append(appendJSONOptions(appendJSONHead(dst, uid, id, typeFetch), m), '}'), nil
	case adapter.Count:
		const count = `,"count":true}`
		if len(m.Except) > 0 { // of which typeSockets knows nothing
			return append(appendJSONOptions(appendJSONHead(dst, uid, id, typeFetch), m), count...), nil
		}
		dst = append(appendJSONHead(dst, uid, id, typeSockets), `,"rooms":`...)
		return append(appendJSONList(dst, m.Rooms), count...), nil
	case adapter.ServerSideEmit:
		return appendServerSideEmit(dst, limits, uid, id, m)
	case adapter.Broadcast:
		return appendBroadcastRequest(dst, limits, uid, id, namespace, m)
	}
	return dst, fmt.Errorf("%w: kind %d", ErrInvalidData, m.Kind)
}

// appendJSONHead begins a request with Node's order of the fields.
func appendJSONHead(dst []byte, uid, id string, typ requestType) []byte {
	dst = parser.AppendString(append(dst, `{"uid":`...), uid)
	if id != "" {
		dst = parser.AppendString(append(dst, `,"requestId":`...), id)
	}
	return strconv.AppendInt(append(dst, `,"type":`...), int64(typ), 10)
}

func appendJSONOptions(dst []byte, m *adapter.Message) []byte {
	dst = appendJSONList(append(dst, `,"opts":{"rooms":`...), m.Rooms)
	return append(appendJSONList(append(dst, `,"except":`...), m.Except), '}')
}

func appendJSONList(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = parser.AppendString(dst, s)
	}
	return append(dst, ']')
}

func appendServerSideEmit(dst []byte, limits parser.Limits, uid, id string, m *adapter.Message) ([]byte, error) {
	if err := checkArray(m.Packet.Data); err != nil {
		return dst, err
	}
	if plainJSON(m.Packet) {
		if !json.Valid(m.Packet.Data) {
			return dst, fmt.Errorf("%w: no JSON", ErrInvalidData)
		}
		out := append(appendJSONHead(dst, uid, id, typeServerSideEmit), `,"data":`...)
		return append(append(out, m.Packet.Data...), '}'), nil
	}
	out := appendMsgpackHead(dst, uid, id, typeServerSideEmit, 1)
	return appendMsgpackValue(out, dst, limits, "data", m.Packet)
}

// plainJSON tells whether a packet stays what it is as JSON: binary values do not, and neither does what receivers
// would take for one.
func plainJSON(p adapter.Packet) bool {
	return len(p.Attachments) == 0 && !bytes.Contains(p.Data, []byte(`"Buffer"`))
}

func appendBroadcastRequest(dst []byte, limits parser.Limits, uid, id, namespace string, m *adapter.Message) ([]byte, error) {
	more := 2
	if !m.Sent.IsZero() {
		more++
	}
	out := msgp.AppendString(appendMsgpackHead(dst, uid, id, typeBroadcast, more), "packet")
	out, err := appendPacket(out, limits, namespace, m)
	if err != nil {
		return dst, err
	}
	out = appendOptions(msgp.AppendString(out, "opts"), m)
	if !m.Sent.IsZero() {
		out = msgp.AppendInt64(msgp.AppendString(out, "t"), m.Sent.UnixMicro())
	}
	return out, nil
}

// appendMsgpackHead begins a request that has more fields than these.
func appendMsgpackHead(dst []byte, uid, id string, typ requestType, more int) []byte {
	if id != "" {
		more++
	}
	dst = msgp.AppendMapHeader(dst, uint32(2+more))
	dst = msgp.AppendString(msgp.AppendString(dst, "uid"), uid)
	if id != "" {
		dst = msgp.AppendString(msgp.AppendString(dst, "requestId"), id)
	}
	return msgp.AppendInt(msgp.AppendString(dst, "type"), int(typ))
}

// appendMsgpackValue appends one field; on an error it returns dst.
func appendMsgpackValue(out, dst []byte, limits parser.Limits, key string, p adapter.Packet) ([]byte, error) {
	out, err := limits.AppendMsgpack(msgp.AppendString(out, key), p.Data, p.Attachments)
	if err != nil {
		return dst, fmt.Errorf("%w: %w", ErrInvalidData, err)
	}
	return out, nil
}

// requestFields are those of a request of either form.
type requestFields struct {
	uid, id   string
	wantsAck  bool // there is a requestId
	typ       requestType
	hasOpts   bool
	hasRooms  bool            // in the options: a list, which may be empty
	options   adapter.Message // Rooms, Except, Flags, Timeout
	rooms     []string        // of sockets, join and leave
	sid, room string          // of the legacy forms
	close     bool
	count     bool
	sent      time.Time
	packet    *adapter.Packet // the data of a server-side emit or the packet of a broadcast
	namespace string          // of the packet
}

// peerRequest is what another server asks.
type peerRequest struct {
	uid     string // who asks; empty if it does not say
	id      string
	typ     requestType
	message adapter.Message
	legacy  bool // acts on one socket by its id, and is answered where that socket is
}

// wantsAnswer tells whether the message goes to Local.Answer.
func (r *peerRequest) wantsAnswer() bool {
	switch r.message.Kind {
	case adapter.Fetch, adapter.Count:
		return true
	case adapter.Broadcast, adapter.ServerSideEmit:
		return r.id != ""
	}
	return false
}

// decodeRequest reads what was published on the channel of requests.
func decodeRequest(payload string, limits parser.Limits, namespace string) (*peerRequest, error) {
	read := readMsgpackRequest
	if len(payload) > 0 && payload[0] == '{' {
		read = readJSONRequest
	}
	f := requestFields{typ: -1, namespace: "/"}
	if err := read([]byte(payload), limits, &f); err != nil {
		return nil, err
	}
	return f.resolve(namespace)
}

// resolve gives the fields their meaning.
func (f *requestFields) resolve(namespace string) (*peerRequest, error) {
	r := &peerRequest{uid: f.uid, id: f.id, typ: f.typ, message: f.options}
	m := &r.message
	m.Sent = f.sent
	switch f.typ {
	case typeSockets:
		m.Kind, m.Rooms, m.Except = adapter.Fetch, f.rooms, nil
	case typeAllRooms:
		m.Kind, m.Rooms, m.Except = adapter.Fetch, nil, nil
	case typeFetch:
		m.Kind = adapter.Fetch
	case typeJoin, typeLeave, typeDisconnect:
		m.Kind = [...]adapter.Kind{adapter.Join, adapter.Leave, adapter.Disconnect}[f.typ-typeJoin]
		m.Targets, m.Close = f.rooms, f.close
		if !f.hasOpts {
			r.legacy = true
			m.Rooms, m.Targets = []string{f.sid}, []string{f.room}
		}
		// What lost its receivers would be for everybody.
		if r.legacy && f.sid == "" {
			return nil, fmt.Errorf("%w: request %d without opts and sid", errMalformed, f.typ)
		}
		if f.hasOpts && !f.hasRooms {
			return nil, fmt.Errorf("%w: request %d without rooms in its opts", errMalformed, f.typ)
		}
		if m.Kind == adapter.Disconnect {
			m.Targets = nil
		}
		return r, nil
	case typeServerSideEmit, typeBroadcast:
		m.Kind = adapter.ServerSideEmit
		if f.typ == typeBroadcast {
			m.Kind = adapter.Broadcast
			if f.namespace != namespace {
				return nil, fmt.Errorf("%w: broadcast for another namespace", errMalformed)
			}
		}
		if f.packet == nil {
			return nil, fmt.Errorf("%w: request %d without data", errMalformed, f.typ)
		}
		m.Packet = *f.packet
		if f.typ == typeServerSideEmit && !f.wantsAck {
			return r, nil
		}
	default:
		return nil, fmt.Errorf("%w: request of unknown type %d", errMalformed, f.typ)
	}
	if f.typ == typeFetch && !f.hasOpts || f.typ == typeBroadcast && !f.hasOpts {
		return nil, fmt.Errorf("%w: request %d without opts", errMalformed, f.typ)
	}
	if f.id == "" {
		return nil, fmt.Errorf("%w: request %d without requestId", errMalformed, f.typ)
	}
	if f.count && m.Kind == adapter.Fetch {
		m.Kind = adapter.Count
	}
	return r, nil
}
