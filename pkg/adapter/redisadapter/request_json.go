package redisadapter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// jsonRequest is the JSON form of all requests.
type jsonRequest struct {
	UID       string          `json:"uid"`
	RequestID *string         `json:"requestId"`
	Type      *int            `json:"type"`
	Opts      *jsonOptions    `json:"opts"`
	Rooms     roomList        `json:"rooms"`
	SID       string          `json:"sid"`
	Room      roomName        `json:"room"`
	Close     bool            `json:"close"`
	Count     bool            `json:"count"`
	Sent      int64           `json:"t"`
	Data      json.RawMessage `json:"data"`
	Packet    *struct {
		Data      json.RawMessage `json:"data"`
		Namespace string          `json:"nsp"`
	} `json:"packet"`
}

type jsonOptions struct {
	Rooms  roomList `json:"rooms"`
	Except roomList `json:"except"`
	Flags  struct {
		Volatile bool    `json:"volatile"`
		Compress *bool   `json:"compress"`
		Timeout  float64 `json:"timeout"` // ms
	} `json:"flags"`
}

// roomName is a room of JavaScript, which may be a number.
type roomName string

// UnmarshalJSON takes what readRoom takes.
func (r *roomName) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case '"':
		return json.Unmarshal(b, (*string)(r))
	case '{', '[':
		return fmt.Errorf("room of another type than a string")
	}
	*r = roomName(b)
	return nil
}

// roomList is a list of rooms.
type roomList []roomName

func (l roomList) strings() []string {
	if len(l) == 0 {
		return nil
	}
	list := make([]string, len(l))
	for i, r := range l {
		list[i] = string(r)
	}
	return list
}

// unmarshal is json.Unmarshal for what a peer sent; text that is no UTF-8 must not reach clients.
func unmarshal(b []byte, v any) error {
	if !utf8.Valid(b) {
		return fmt.Errorf("%w: JSON with invalid UTF-8", errMalformed)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return malformed(err)
	}
	return nil
}

func readJSONRequest(b []byte, limits parser.Limits, f *requestFields) (err error) {
	var j jsonRequest
	if err := unmarshal(b, &j); err != nil {
		return err
	}
	if j.Type != nil {
		f.typ = requestType(*j.Type)
	}
	f.uid, f.rooms, f.sid, f.room, f.close, f.count = j.UID, j.Rooms.strings(), j.SID, string(j.Room), j.Close, j.Count
	if j.RequestID != nil {
		f.id, f.wantsAck = *j.RequestID, true
	}
	if j.Sent != 0 {
		f.sent = time.UnixMicro(j.Sent)
	}
	if o := j.Opts; o != nil {
		f.hasOpts, f.hasRooms = true, o.Rooms != nil
		f.options.Rooms, f.options.Except = o.Rooms.strings(), o.Except.strings()
		f.options.Flags.Volatile = o.Flags.Volatile
		f.options.Flags.Uncompressed = o.Flags.Compress != nil && !*o.Flags.Compress
		f.options.Timeout = milliseconds(o.Flags.Timeout)
	}
	switch {
	case f.typ == typeServerSideEmit && j.Data != nil:
		f.packet, err = readJSONEvent(j.Data, limits)
	case f.typ == typeBroadcast && j.Packet != nil && j.Packet.Data != nil:
		if j.Packet.Namespace != "" {
			f.namespace = j.Packet.Namespace
		}
		if f.packet, err = readJSONEvent(j.Packet.Data, limits); err == nil {
			err = checkEventName(f.packet.Data)
		}
	}
	return err
}

// milliseconds returns a time that JavaScript said; nonsense is none.
func milliseconds(ms float64) time.Duration {
	const most = float64(math.MaxInt64 / int64(time.Millisecond) / 2)
	if !(ms > 0 && ms < most) {
		return 0
	}
	return time.Duration(ms * float64(time.Millisecond))
}

// readJSONEvent reads an array that begins with the name of an event, and brings its binary values back.
func readJSONEvent(data []byte, limits parser.Limits) (*adapter.Packet, error) {
	if err := checkArray(data); err != nil {
		return nil, malformed(err)
	}
	name, _ := parser.Split(data)
	if len(name) == 0 || name[0] != '"' && (name[0] < '0' || name[0] > '9') && name[0] != '-' {
		return nil, fmt.Errorf("%w: no event name", errMalformed)
	}
	p, err := restoreBuffers(data, limits)
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// checkEventName refuses reserved events, which would make official clients close their connection.
func checkEventName(data []byte) error {
	quoted, _ := parser.Split(data)
	if len(quoted) == 0 || quoted[0] != '"' {
		return nil
	}
	var name string
	if err := json.Unmarshal(quoted, &name); err != nil {
		return malformed(err)
	}
	if parser.Reserved(name) {
		return fmt.Errorf("%w: reserved event %q", errMalformed, name)
	}
	return nil
}

// JavaScript's JSON.stringify writes a Buffer like this, with the bytes as numbers. A string in JSON cannot hold this
// text, because it would hold quotes without backslashes.
const (
	bufferHead = `{"type":"Buffer","data":[`
	bufferTail = `]}`
)

// restoreBuffers makes attachments of the buffers in valid JSON that JavaScript wrote.
func restoreBuffers(data []byte, limits parser.Limits) (adapter.Packet, error) {
	most := limits.MaxAttachments
	if most <= 0 {
		most = parser.MaxAttachments
	}
	var p adapter.Packet
	for {
		i := bytes.Index(data, []byte(bufferHead))
		if i < 0 {
			break
		}
		p.Data = append(p.Data, data[:i]...)
		attachment, rest, ok := readBytes(data[i+len(bufferHead):])
		if !ok {
			p.Data = append(p.Data, bufferHead...)
			data = data[i+len(bufferHead):]
			continue
		}
		if len(p.Attachments) == most {
			return p, malformed(parser.ErrTooManyAttachments)
		}
		p.Data = parser.AppendPlaceholder(p.Data, len(p.Attachments))
		p.Attachments = append(p.Attachments, attachment)
		data = rest
	}
	p.Data = append(p.Data, data...)
	if len(p.Attachments) > 0 {
		if err := parser.CheckPlaceholders(p.Data, len(p.Attachments)); err != nil {
			return p, malformed(err)
		}
	}
	return p, nil
}

// readBytes reads numbers up to the end of a buffer. It looks no further than at the first byte that does not fit, so
// that a search stays linear.
func readBytes(b []byte) (list, rest []byte, ok bool) {
	if rest, ok = bytes.CutPrefix(b, []byte(bufferTail)); ok {
		return []byte{}, rest, true
	}
	for i := 0; ; i++ {
		digits, n := i, 0
		for ; i < len(b) && i < digits+3 && b[i] >= '0' && b[i] <= '9'; i++ {
			n = n*10 + int(b[i]-'0')
		}
		if i == digits || i == len(b) || n > math.MaxUint8 {
			return nil, b, false
		}
		list = append(list, byte(n))
		if b[i] == ',' {
			continue
		}
		rest, ok = bytes.CutPrefix(b[i:], []byte(bufferTail))
		return list, rest, ok
	}
}

// checkArray refuses data that is no array.
func checkArray(data []byte) error {
	if first := bytes.TrimLeft(data, " \t\r\n"); len(first) == 0 || first[0] != '[' {
		return fmt.Errorf("%w: not an array", ErrInvalidData)
	}
	return nil
}
