//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// A message is the one string argument of an event:
// "run:sender:number:nanoseconds:" and filling up to the wanted size.
type message struct {
	sender int
	number int
	at     int64 // intended time of sending, nanoseconds since the swarm's epoch
}

// maxHeader bounds the text before the filling: three numbers of up to 19
// digits, the run and four colons.
const maxHeader = 8 + 3*19 + 4

// codec writes and recognises the messages of one run.
type codec struct {
	prefix []byte // a packet up to the run, "42[\"chat message\",\"0123abcd:"
	text   int    // where in a packet the string starts
	size   int    // bytes of the string
	rooms  bool   // a second argument names the room of the sender
}

func newCodec(event string, run uint32, size int, rooms bool) (*codec, error) {
	if size < maxHeader {
		return nil, fmt.Errorf("--size %d: a message needs %d bytes", size, maxHeader)
	}
	name, err := json.Marshal(event)
	if err != nil {
		return nil, fmt.Errorf("--event: %w", err)
	}
	start := "42[" + string(name) + `,"`
	return &codec{prefix: fmt.Appendf(nil, "%s%08x:", start, run), text: len(start), size: size, rooms: rooms}, nil
}

// appendPacket appends the Engine.IO packet that emits m.
func (c *codec) appendPacket(b []byte, m message) []byte {
	start := len(b)
	b = append(b, c.prefix...)
	for _, v := range [...]int64{int64(m.sender), int64(m.number), m.at} {
		b = strconv.AppendInt(b, v, 10)
		b = append(b, ':')
	}
	for len(b)-start < c.text+c.size {
		b = append(b, 'x')
	}
	if c.rooms {
		b = append(b, `","`...)
		b = append(b, roomName(m.sender)...)
	}
	return append(b, `"]`...)
}

// roomName returns the name of the room that a sender sends to.
func roomName(sender int) string { return "room" + strconv.Itoa(sender) }

// packetKind says what an event packet is.
type packetKind int

const (
	foreign packetKind = iota // not of this run
	damaged                   // of this run, but not as it was sent
	relayed
)

// parse reads a packet that a server relayed. Arguments that a server adds
// after the string are ignored.
func (c *codec) parse(packet []byte) (message, packetKind) {
	rest, ok := bytes.CutPrefix(packet, c.prefix)
	if !ok {
		return message{}, foreign
	}
	end := c.text + c.size
	if len(packet) < end+2 || packet[end] != '"' {
		return message{}, damaged
	}
	var fields [3]int64
	for i := range fields {
		n, after, ok := cutNumber(rest)
		if !ok {
			return message{}, damaged
		}
		fields[i], rest = n, after
	}
	if fields[0] > math.MaxInt32 || fields[1] > math.MaxInt32 {
		return message{}, damaged
	}
	return message{sender: int(fields[0]), number: int(fields[1]), at: fields[2]}, relayed
}

// cutNumber reads digits up to a colon.
func cutNumber(b []byte) (n int64, rest []byte, ok bool) {
	for i, d := range b {
		switch {
		case d == ':':
			return n, b[i+1:], i > 0
		case d < '0' || d > '9' || i == 18:
			return 0, nil, false
		}
		n = n*10 + int64(d-'0')
	}
	return 0, nil, false
}
