package redisadapter

import (
	"fmt"
	"time"

	"github.com/tinylib/msgp/msgp"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

func readMsgpackRequest(b []byte, limits parser.Limits, f *requestFields) error {
	var data, packet []byte
	_, err := readMap(b, func(key, b []byte) (rest []byte, err error) {
		if msgp.IsNil(b) { // as if it were not there
			f.wantsAck = f.wantsAck || string(key) == "requestId"
			return skip(b)
		}
		switch string(key) {
		case "uid":
			f.uid, rest, err = msgp.ReadStringBytes(b)
		case "requestId":
			f.wantsAck = true
			f.id, rest, err = msgp.ReadStringBytes(b)
		case "type":
			var n int64
			n, rest, err = msgp.ReadInt64Bytes(b)
			f.typ = requestType(n)
		case "opts":
			f.hasOpts = true
			f.hasRooms, rest, err = readOptions(b, &f.options)
		case "rooms":
			f.rooms, rest, err = readStrings(b)
		case "sid":
			f.sid, rest, err = msgp.ReadStringBytes(b)
		case "room":
			f.room, rest, err = readRoom(b)
		case "close":
			f.close, rest, err = msgp.ReadBoolBytes(b)
		case "count":
			f.count, rest, err = msgp.ReadBoolBytes(b)
		case "t":
			var us int64
			us, rest, err = msgp.ReadInt64Bytes(b)
			f.sent = time.UnixMicro(us)
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
	switch {
	case f.typ == typeServerSideEmit && data != nil:
		f.packet, err = readMsgpackEvent(data, limits)
	case f.typ == typeBroadcast && packet != nil:
		err = f.readMsgpackPacket(packet, limits)
	}
	return err
}

// readMsgpackEvent reads an array that begins with the name of an event.
func readMsgpackEvent(b []byte, limits parser.Limits) (*adapter.Packet, error) {
	n, rest, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		return nil, malformed(err)
	}
	if n == 0 || msgp.NextType(rest) != msgp.StrType && msgp.NextType(rest) != msgp.IntType && msgp.NextType(rest) != msgp.UintType {
		return nil, fmt.Errorf("%w: no event name", errMalformed)
	}
	return readMsgpackJSON(b, limits)
}

// readMsgpackJSON reads one value.
func readMsgpackJSON(b []byte, limits parser.Limits) (*adapter.Packet, error) {
	text, attachments, _, err := limits.AppendJSON(nil, b)
	if err != nil {
		return nil, malformed(err)
	}
	return &adapter.Packet{Data: text, Attachments: attachments}, nil
}

func (f *requestFields) readMsgpackPacket(b []byte, limits parser.Limits) error {
	var m adapter.Message
	p, err := readPacketFields(b)
	if err != nil {
		return err
	}
	f.namespace = p.namespace
	if err := p.decode(limits, &m); err != nil {
		return err
	}
	f.packet = &m.Packet
	return nil
}
