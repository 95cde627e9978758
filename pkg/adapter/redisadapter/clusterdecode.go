package redisadapter

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// clusterHead is a received message of which only the outside was read. Its data is part of the payload.
type clusterHead struct {
	kind      clusterType
	uid       string
	namespace string
	sent      time.Time
	data      clusterValue
}

// readCluster reads the outside of a payload: JSON if it begins with a brace, else MessagePack. What it refuses is
// malformed. A field that is absent is empty.
func readCluster(payload []byte) (h clusterHead, err error) {
	v, err := readValue(payload, len(payload) == 0 || payload[0] != '{')
	if err != nil {
		return h, err
	}
	err = v.members(func(key []byte, value clusterValue) (err error) {
		switch string(key) {
		case "type":
			var n int
			if n, err = value.integer(); err == nil && n <= 0xff {
				h.kind = clusterType(n)
			}
		case "uid":
			h.uid, err = value.id()
		case "nsp":
			h.namespace, err = value.text()
		case "data":
			h.data = value
		case "t": // another program's may be anything
			if us, err := value.integer(); err == nil {
				h.sent = time.UnixMicro(int64(us))
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	if err != nil {
		return h, malformed(err)
	}
	return h, nil
}

// readClusterData checks the data of a stream's entry: JSON if it begins with a brace, else MessagePack.
func readClusterData(data []byte) (clusterValue, error) {
	return readValue(data, len(data) == 0 || data[0] != '{')
}

// decode reads the rest of a message. It returns nil when no socket of this node can be concerned, as hasRoom tells;
// then the packet was not decoded. Requests that are to be answered are never skipped. Types that are not known are
// malformed.
func (h *clusterHead) decode(limits parser.Limits, hasRoom func(string) bool) (*clusterMessage, error) {
	c := &clusterMessage{kind: h.kind, uid: h.uid, namespace: h.namespace, sent: h.sent}
	switch h.kind {
	case clusterInitialHeartbeat, clusterHeartbeat, clusterClose:
		return c, nil
	case clusterBroadcast, clusterJoin, clusterLeave, clusterDisconnect, clusterFetch, clusterServerSideEmit,
		clusterFetchResponse, clusterServerSideEmitResponse, clusterClientCount, clusterAck:
	default:
		return nil, fmt.Errorf("%w: message of type %d", errMalformed, h.kind)
	}
	var f clusterFields
	if err := f.read(h.data); err != nil {
		return nil, malformed(err)
	}
	if !f.requestID.isAbsent() {
		var err error
		if c.request, err = f.requestID.id(); err != nil {
			return nil, clusterMalformed("requestId", err)
		}
	}
	if h.kind.isResponse() || h.kind == clusterFetch {
		if c.request == "" {
			return nil, clusterMalformed("requestId", errMissing)
		}
	}
	var err error
	if h.kind.isResponse() {
		c.response, err = f.response(h.kind, limits)
	} else {
		c.message, err = f.message(c, limits, hasRoom)
		if err == nil && c.message == nil {
			return nil, nil
		}
	}
	if err != nil {
		return nil, malformed(err)
	}
	return c, nil
}

// clusterFields are the members that the data of a message may have, not decoded. Of one that comes twice the last
// counts, as in JavaScript.
type clusterFields struct {
	packet, opts, requestID, rooms, closes, count, sockets, clientCount clusterValue
}

func (f *clusterFields) read(data clusterValue) error {
	err := data.members(func(key []byte, value clusterValue) error {
		switch string(key) {
		case "packet":
			f.packet = value
		case "opts":
			f.opts = value
		case "requestId":
			f.requestID = value
		case "rooms":
			f.rooms = value
		case "close":
			f.closes = value
		case "count":
			f.count = value
		case "sockets":
			f.sockets = value
		case "clientCount":
			f.clientCount = value
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	return nil
}

func (f *clusterFields) message(c *clusterMessage, limits parser.Limits, hasRoom func(string) bool) (*adapter.Message, error) {
	m := &adapter.Message{Sent: c.sent}
	if c.kind == clusterServerSideEmit {
		m.Kind = adapter.ServerSideEmit
		return m, f.serverSideEmit(&m.Packet, limits)
	}
	listed, err := readClusterOptions(f.opts, m)
	if err != nil {
		return nil, err
	}
	switch c.kind {
	case clusterJoin, clusterLeave, clusterDisconnect: // what lost its receivers would be for everybody
		if !listed {
			return nil, errors.New("opts: no rooms")
		}
	}
	if c.request == "" && len(m.Rooms) > 0 && !anyRoom(m.Rooms, hasRoom) {
		return nil, nil
	}
	switch c.kind {
	case clusterBroadcast:
		err = readClusterPacket(f.packet, limits, &m.Packet)
	case clusterJoin, clusterLeave:
		if m.Kind = adapter.Join; c.kind == clusterLeave {
			m.Kind = adapter.Leave
		}
		if m.Targets, err = f.targets(); err != nil {
			err = fmt.Errorf("rooms: %w", err)
		}
	case clusterDisconnect:
		m.Kind = adapter.Disconnect
		m.Close, _ = f.closes.boolean()
	case clusterFetch:
		m.Kind = adapter.Fetch
		if only, _ := f.count.boolean(); only {
			m.Kind = adapter.Count
		}
	}
	return m, err
}

// targets reads the rooms to join or leave: older servers send one alone.
func (f *clusterFields) targets() ([]string, error) {
	if list, err := f.rooms.names(); !errors.Is(err, errNoArray) {
		return list, err
	}
	one, err := f.rooms.name()
	return []string{one}, err
}

func (f *clusterFields) serverSideEmit(p *adapter.Packet, limits parser.Limits) (err error) {
	if p.Data, p.Attachments, err = f.packet.json(limits); err != nil {
		return fmt.Errorf("packet: %w", err)
	}
	if !isArray(p.Data) {
		return fmt.Errorf("packet: %w", errNoArray)
	}
	if name, _ := parser.Split(p.Data); len(name) == 0 || name[0] != '"' {
		return errors.New("packet: has no name")
	}
	return nil
}

func (f *clusterFields) response(kind clusterType, limits parser.Limits) (r *adapter.Response, err error) {
	r = new(adapter.Response)
	switch kind {
	case clusterFetchResponse:
		if r.Sockets, err = readSockets(f.sockets); err != nil {
			return nil, fmt.Errorf("sockets: %w", err)
		}
		if !f.count.isAbsent() {
			if r.Count, err = f.count.integer(); err != nil {
				return nil, fmt.Errorf("count: %w", err)
			}
		}
	case clusterClientCount:
		if r.Count, err = f.clientCount.integer(); err != nil {
			return nil, fmt.Errorf("clientCount: %w", err)
		}
	default:
		if r.Packet, err = readAcknowledgement(f.packet, limits); err != nil {
			return nil, fmt.Errorf("packet: %w", err)
		}
	}
	return r, nil
}

// readAcknowledgement makes a list of the one value that Node sends. An absent one is a list without values.
func readAcknowledgement(v clusterValue, limits parser.Limits) (*adapter.Packet, error) {
	if len(v.b) == 0 {
		return &adapter.Packet{Data: []byte("[]")}, nil
	}
	text, attachments, err := v.json(limits)
	if err != nil {
		return nil, err
	}
	list := make([]byte, 0, len(text)+2)
	list = append(append(append(list, '['), text...), ']')
	return &adapter.Packet{Data: list, Attachments: attachments}, nil
}

func readClusterPacket(packet clusterValue, limits parser.Limits, p *adapter.Packet) error {
	var data clusterValue
	typ := int(parser.Event)
	err := packet.members(func(key []byte, value clusterValue) (err error) {
		switch string(key) {
		case "type":
			typ, err = value.integer()
		case "data":
			data = value
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("packet: %w", err)
	}
	if typ != int(parser.Event) && typ != int(parser.BinaryEvent) {
		return fmt.Errorf("packet of type %d", typ)
	}
	if data.packed {
		if err := checkEvent(data.b); err != nil {
			return err
		}
	} else if len(data.b) == 0 {
		return errors.New("packet without data")
	} else if err := parser.CheckEvent(data.b); err != nil {
		return err
	}
	p.Data, p.Attachments, err = data.json(limits)
	return err
}

// readClusterOptions reads the options of a message. listed tells that there is a list of rooms, though it may be empty.
func readClusterOptions(opts clusterValue, m *adapter.Message) (listed bool, err error) {
	err = opts.members(func(key []byte, value clusterValue) (err error) {
		switch string(key) {
		case "rooms":
			listed = !value.isAbsent()
			m.Rooms, err = value.names()
		case "except":
			m.Except, err = value.names()
		case "flags":
			if !value.isAbsent() {
				err = value.members(func(key []byte, value clusterValue) error {
					readClusterFlag(key, value, m)
					return nil
				})
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("opts: %w", err)
	}
	return listed, nil
}

// readClusterFlag takes what is of use. Applications may set flags to anything.
func readClusterFlag(key []byte, value clusterValue, m *adapter.Message) {
	switch string(key) {
	case "volatile":
		m.Flags.Volatile, _ = value.boolean()
	case "compress":
		if on, ok := value.boolean(); ok {
			m.Flags.Uncompressed = !on
		}
	case "timeout":
		const longest = 24 * time.Hour
		if ms, err := value.integer(); err == nil {
			m.Timeout = time.Duration(min(int64(ms), longest.Milliseconds())) * time.Millisecond
		}
	}
}

func readSockets(v clusterValue) (list []adapter.Socket, err error) {
	err = v.elements(func(e clusterValue) error {
		var s adapter.Socket
		err := e.members(func(key []byte, value clusterValue) (err error) {
			switch string(key) {
			case "id":
				s.ID, err = value.text()
			case "handshake":
				s.Handshake, err = value.plainJSON()
			case "rooms":
				s.Rooms, err = value.names()
			case "data":
				s.Data, err = value.plainJSON()
			}
			if err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			return nil
		})
		list = append(list, s)
		return err
	})
	return list, err
}

// ownTails are what the messages end with that one sender writes: own messages are told from the end, without reading
// them.
type ownTails struct{ text, packed string }

func newOwnTails(uid, namespace string) ownTails {
	text := append([]byte(`,"uid":"`), uid...)
	text = append(text, `","nsp":`...)
	return ownTails{
		text:   string(parser.AppendString(text, namespace)),
		packed: string(appendPackedTail(nil, uid, namespace)),
	}
}

func (o *ownTails) match(payload string) bool {
	if payload == "" {
		return false
	}
	if payload[0] != '{' {
		const stamp = len("\xa1t") + 9 // a time is written with 8 bytes
		if n := len(payload) - stamp; n > 0 && strings.HasPrefix(payload[n:], "\xa1t\xcf") && strings.HasSuffix(payload[:n], o.packed) {
			return true
		}
		return strings.HasSuffix(payload, o.packed)
	}
	payload = payload[:len(payload)-1] // the brace
	n := len(payload)
	for n > 0 && payload[n-1] >= '0' && payload[n-1] <= '9' {
		n--
	}
	if n < len(payload) {
		payload = strings.TrimSuffix(payload[:n], `,"t":`)
	}
	return strings.HasSuffix(payload, o.text)
}
