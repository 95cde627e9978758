package redisadapter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"example.com/chorus/internal/cluster"
	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// appendResponse appends the answer to a request. rooms is of typeAllRooms alone.
func appendResponse(dst []byte, limits parser.Limits, uid string, to *peerRequest, r *adapter.Response, rooms []string) ([]byte, error) {
	switch {
	case to.typ == typeServerSideEmit:
		return appendValueResponse(dst, limits, uid, typeServerSideEmit, "data", to.id, r)
	case to.typ == typeBroadcast && r.Packet != nil:
		return appendValueResponse(dst, limits, uid, typeBroadcastAck, "packet", to.id, r)
	case to.typ == typeBroadcast:
		dst = strconv.AppendInt(append(dst, `{"type":`...), int64(typeClientCount), 10)
		dst = parser.AppendString(append(dst, `,"requestId":`...), to.id)
		dst = strconv.AppendInt(append(dst, `,"clientCount":`...), int64(r.Count), 10)
		return appendJSONNode(dst, uid), nil
	}
	out := parser.AppendString(append(dst, `{"requestId":`...), to.id)
	switch {
	case to.legacy:
	case to.message.Kind == adapter.Count:
		out = strconv.AppendInt(append(out, `,"count":`...), int64(r.Count), 10)
	case to.typ == typeAllRooms:
		out = appendJSONList(append(out, `,"rooms":`...), rooms)
	case to.typ == typeSockets:
		ids := make([]string, len(r.Sockets))
		for i := range r.Sockets {
			ids[i] = r.Sockets[i].ID
		}
		out = appendJSONList(append(out, `,"sockets":`...), ids)
	default:
		out = append(out, `,"sockets":[`...)
		for i := range r.Sockets {
			if i > 0 {
				out = append(out, ',')
			}
			var err error
			if out, err = appendSocket(out, &r.Sockets[i]); err != nil {
				return dst, err
			}
		}
		out = append(out, ']')
	}
	return appendJSONNode(out, uid), nil
}

// appendJSONNode ends an answer with who gives it, which Node does not look at.
func appendJSONNode(dst []byte, uid string) []byte {
	return append(parser.AppendString(append(dst, `,"node":`...), uid), '}')
}

func appendSocket(dst []byte, s *adapter.Socket) ([]byte, error) {
	handshake, data := object(s.Handshake), object(s.Data)
	if !json.Valid(handshake) || !json.Valid(data) {
		return dst, fmt.Errorf("%w: socket %s: no JSON", ErrInvalidData, s.ID)
	}
	out := parser.AppendString(append(dst, `{"id":`...), s.ID)
	out = append(append(out, `,"handshake":`...), handshake...)
	out = appendJSONList(append(out, `,"rooms":`...), s.Rooms)
	return append(append(append(out, `,"data":`...), data...), '}'), nil
}

// appendValueResponse appends the first value of an acknowledgement; Node knows no others. Node sends typeBroadcastAck as
// MessagePack and typeServerSideEmit as JSON, and reads both.
func appendValueResponse(
	dst []byte, limits parser.Limits, uid string, typ requestType, key, id string, r *adapter.Response,
) ([]byte, error) {
	p := adapter.Packet{Data: []byte("[]")}
	if r.Packet != nil {
		p = *r.Packet
	}
	if err := checkArray(p.Data); err != nil {
		return dst, err
	}
	if !json.Valid(p.Data) {
		return dst, fmt.Errorf("%w: no JSON", ErrInvalidData)
	}
	first, _, some := parser.Next(parser.Elements(bytes.TrimSpace(p.Data)))
	value := adapter.Packet{Data: first, Attachments: p.Attachments}
	if typ == typeServerSideEmit && plainJSON(value) {
		out := strconv.AppendInt(append(dst, `{"type":`...), int64(typ), 10)
		out = parser.AppendString(append(out, `,"requestId":`...), id)
		if some {
			out = append(append(out, `,"data":`...), first...)
		}
		return appendJSONNode(out, uid), nil
	}
	fields := uint32(3)
	if some {
		fields++
	}
	out := msgp.AppendMapHeader(dst, fields)
	out = msgp.AppendInt(msgp.AppendString(out, "type"), int(typ))
	out = msgp.AppendString(msgp.AppendString(out, "requestId"), id)
	if some {
		var err error
		if out, err = appendMsgpackValue(out, dst, limits, key, value); err != nil {
			return dst, err
		}
	}
	return msgp.AppendString(msgp.AppendString(out, "node"), uid), nil
}

// asked returns of which kind a request is whose answer is awaited.
type asked func(id string) (adapter.Kind, bool)

// responseFields are those of an answer of either form.
type responseFields struct {
	id, node string
	typ      requestType
	sockets  clusterValue // a list, if there is one
	hasList  bool
	count    int
	hasCount bool
	value    *adapter.Packet // of an acknowledgement; nil without value
}

// decodeResponse reads an answer. ok is false when nobody waits for it; then it was not decoded.
func decodeResponse(payload string, limits parser.Limits, asked asked) (a cluster.Answer, ok bool, err error) {
	id, err := responseID(payload)
	if err != nil {
		return a, false, err
	}
	kind, ok := asked(id)
	if !ok {
		return a, false, nil
	}
	f := responseFields{typ: -1}
	read := readMsgpackResponse
	if payload[0] == '{' {
		read = readJSONResponse
	}
	if err := read([]byte(payload), limits, &f); err != nil {
		return a, true, err
	}
	if f.id != id {
		return a, true, fmt.Errorf("%w: two request ids", errMalformed)
	}
	r, ack, err := f.resolve(kind)
	if err != nil {
		return a, true, err
	}
	return cluster.Answer{Request: f.id, From: f.node, Response: r, Ack: ack}, true, nil
}

// responseID finds the id in front of the rest: a server hears the answers to the requests of all others too. Node and
// Chorus write it among the first fields.
func responseID(payload string) (string, error) {
	const near = 128
	if payload == "" {
		return "", fmt.Errorf("%w: empty", errMalformed)
	}
	if payload[0] == '{' {
		const key = `"requestId":"`
		i := strings.Index(payload[:min(near, len(payload))], key)
		if i < 0 {
			return "", nil
		}
		id, _, _ := strings.Cut(payload[i+len(key):min(i+len(key)+near, len(payload))], `"`)
		return id, nil
	}
	b := []byte(payload[:min(near, len(payload))])
	n, b, err := msgp.ReadMapHeaderBytes(b)
	if err != nil {
		return "", malformed(err)
	}
	for range min(n, 8) {
		key, rest, err := msgp.ReadStringZC(b)
		if err != nil {
			return "", nil
		}
		if string(key) == "requestId" {
			id, _, err := msgp.ReadStringBytes(rest)
			if err != nil {
				return "", malformed(err)
			}
			return id, nil
		}
		if b, err = skip(rest); err != nil {
			return "", nil
		}
	}
	return "", nil
}

// resolve gives the fields the meaning that the request asked for.
func (f *responseFields) resolve(kind adapter.Kind) (r *adapter.Response, ack bool, err error) {
	r = new(adapter.Response)
	switch {
	case kind == adapter.Fetch && f.hasList:
		r.Sockets, err = describedSockets(f.sockets)
		return r, false, err
	case kind == adapter.Count && f.hasCount:
		r.Count = f.count
		return r, false, nil
	case kind == adapter.Count && f.hasList:
		err = f.sockets.elements(func(clusterValue) error {
			r.Count++
			return nil
		})
		if err != nil {
			err = malformed(err)
		}
		return r, false, err
	case kind == adapter.Broadcast && f.typ == typeClientCount && f.hasCount:
		r.Count = f.count
		return r, false, nil
	case kind == adapter.Broadcast && f.typ == typeBroadcastAck, kind == adapter.ServerSideEmit && f.typ == typeServerSideEmit:
		r.Packet = &adapter.Packet{Data: []byte("[]")}
		if f.value != nil {
			f.value.Data = append(append([]byte{'['}, f.value.Data...), ']')
			r.Packet = f.value
		}
		return r, kind == adapter.Broadcast, nil
	}
	return nil, false, fmt.Errorf("%w: answer of type %d to a request of kind %d", errMalformed, f.typ, kind)
}

// describedSockets reads the answer to a request for sockets.
func describedSockets(v clusterValue) ([]adapter.Socket, error) {
	sockets, err := readSockets(v)
	if err != nil {
		return nil, malformed(err)
	}
	for i := range sockets {
		s := &sockets[i]
		if s.ID == "" {
			return nil, fmt.Errorf("%w: socket without id", errMalformed)
		}
		s.Handshake, s.Data = object(s.Handshake), object(s.Data)
	}
	if sockets == nil {
		sockets = []adapter.Socket{}
	}
	return sockets, nil
}

// object returns an empty object for what was left out.
func object(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage(`{}`)
	}
	return raw
}

func readJSONResponse(b []byte, limits parser.Limits, f *responseFields) error {
	if !utf8.Valid(b) {
		return fmt.Errorf("%w: JSON with invalid UTF-8", errMalformed)
	}
	v, err := readValue(b, false)
	if err != nil {
		return err
	}
	var data, packet, clients clusterValue
	err = v.members(func(key []byte, value clusterValue) (err error) {
		if value.isAbsent() && string(key) != "data" && string(key) != "packet" {
			return nil
		}
		switch string(key) {
		case "type":
			var n int
			n, err = value.integer()
			f.typ = requestType(n)
		case "requestId":
			f.id, err = value.text()
		case "node":
			f.node, err = value.text()
		case "sockets":
			f.sockets, f.hasList = value, true
		case "count":
			f.count, err = value.integer()
			f.hasCount = true
		case "clientCount":
			clients = value
		case "data":
			data = value
		case "packet":
			packet = value
		}
		return err
	})
	if err != nil {
		return malformed(err)
	}
	switch f.typ {
	case typeClientCount:
		if f.count, err = clients.integer(); err != nil {
			return malformed(err)
		}
		f.hasCount = true
	case typeBroadcastAck:
		data = packet
	}
	if f.count > math.MaxInt32 {
		return fmt.Errorf("%w: count %d", errMalformed, f.count)
	}
	if len(data.b) == 0 {
		return nil
	}
	p, err := restoreBuffers(data.b, limits)
	f.value = &p
	return err
}

func readMsgpackResponse(b []byte, limits parser.Limits, f *responseFields) error {
	var data, packet []byte
	_, err := readMap(b, func(key, b []byte) (rest []byte, err error) {
		switch string(key) {
		case "type":
			var n int64
			n, rest, err = msgp.ReadInt64Bytes(b)
			f.typ = requestType(n)
		case "requestId":
			f.id, rest, err = msgp.ReadStringBytes(b)
		case "node":
			f.node, rest, err = msgp.ReadStringBytes(b)
		case "data":
			data = b
			return skip(b)
		case "packet":
			packet = b
			return skip(b)
		default:
			return skip(b)
		}
		return rest, err
	})
	if err != nil {
		return err
	}
	if f.typ == typeBroadcastAck {
		data = packet
	}
	if data != nil {
		f.value, err = readMsgpackJSON(data, limits)
	}
	return err
}
