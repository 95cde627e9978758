package redisadapter

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/tinylib/msgp/msgp"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// A kept session is the base64 text of the MessagePack map {sid, pid, rooms, data}, as Node's streams adapter keeps it.

// appendSession appends the value of a session.
func appendSession(dst []byte, limits parser.Limits, s *adapter.Session) ([]byte, error) {
	b := msgp.AppendMapHeader(nil, 4)
	b = msgp.AppendString(b, "sid")
	b = msgp.AppendString(b, s.SID)
	b = msgp.AppendString(b, "pid")
	b = msgp.AppendString(b, s.PID)
	b = msgp.AppendString(b, "rooms")
	b = appendStrings(b, s.Rooms)
	b = msgp.AppendString(b, "data")
	data := s.Data
	if len(data) == 0 {
		data = []byte("{}")
	}
	b, err := limits.AppendMsgpack(b, data, s.Attachments)
	if err != nil {
		return dst, fmt.Errorf("%w: %w", ErrInvalidData, err)
	}
	return base64.StdEncoding.AppendEncode(dst, b), nil
}

// decodeSession reads the value of a session. Data that is no object, as a Node application may set, is none.
func decodeSession(value string, limits parser.Limits) (*adapter.Session, error) {
	b, err := decodeBase64(value)
	if err != nil {
		return nil, malformed(err)
	}
	s := new(adapter.Session)
	_, err = readMap(b, func(key, b []byte) (rest []byte, err error) {
		switch string(key) {
		case "sid":
			s.SID, rest, err = msgp.ReadStringBytes(b)
		case "pid":
			s.PID, rest, err = msgp.ReadStringBytes(b)
		case "rooms":
			s.Rooms, rest, err = readStrings(b)
		case "data":
			if msgp.NextType(b) != msgp.MapType {
				return skip(b)
			}
			s.Data, s.Attachments, rest, err = limits.AppendJSON(nil, b)
		default:
			return skip(b)
		}
		return rest, err
	})
	switch {
	case err != nil:
		return nil, err
	case s.SID == "" || s.PID == "":
		return nil, fmt.Errorf("%w: session without id", errMalformed)
	}
	return s, nil
}

// decodeBase64 reads the text as JavaScript writes it. Padding may be absent.
func decodeBase64(text string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
}
