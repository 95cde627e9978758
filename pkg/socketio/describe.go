package socketio

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// describeAll describes the selected sockets of this node for another one.
func (n *Namespace) describeAll(sel selection) []adapter.Socket {
	sockets := n.selected(sel)
	out := make([]adapter.Socket, len(sockets))
	for i, s := range sockets {
		out[i] = adapter.Socket{ID: s.id, Handshake: encodeHandshake(s), Rooms: s.Rooms(), Data: s.encodeData()}
	}
	return out
}

// nodeTime is how JavaScript writes a date.
const nodeTime = "Mon Jan 02 2006 15:04:05 GMT-0700 (Coordinated Universal Time)"

// encodeHandshake writes a handshake as Node has it (reference, section "API", Socket): names of headers in lower case,
// xdomain for whether there is an Origin, the time once as text and once in ms since 1970.
func encodeHandshake(s *Socket) json.RawMessage {
	h := s.session.Handshake()
	b := append(make([]byte, 0, 1024), `{"headers":{`...)
	if h.Host != "" {
		b = append(parser.AppendString(appendKey(b, "host"), h.Host), ',')
	}
	for name, values := range h.Header {
		b = append(appendHeader(b, name, values), ',')
	}
	b = append(endObject(b), `,"time":`...)
	b = parser.AppendString(b, h.Time.UTC().Format(nodeTime))
	b = appendKey(append(b, ','), "address")
	if host, _, err := net.SplitHostPort(h.RemoteAddr); err == nil {
		b = parser.AppendString(b, host)
	} else {
		b = parser.AppendString(b, h.RemoteAddr)
	}
	b = strconv.AppendBool(append(b, `,"xdomain":`...), h.Header.Get("Origin") != "")
	b = strconv.AppendBool(append(b, `,"secure":`...), h.Secure)
	b = strconv.AppendInt(append(b, `,"issued":`...), h.Time.UnixMilli(), 10)
	b = parser.AppendString(append(b, `,"url":`...), h.URL)
	b = append(b, `,"query":{`...)
	for key, value := range h.Query {
		b = append(parser.AppendString(appendKey(b, key), value), ',')
	}
	b = append(endObject(b), `,"auth":`...)
	if len(s.auth) == 0 {
		b = append(b, '{', '}')
	}
	return append(append(b, s.auth...), '}') // auth was validated at reception
}

func appendKey(b []byte, key string) []byte { return append(parser.AppendString(b, key), ':') }

// endObject closes an object behind whose members there are commas.
func endObject(b []byte) []byte { return append(bytes.TrimSuffix(b, []byte{','}), '}') }

// appendHeader joins values as Node does.
func appendHeader(b []byte, name string, values []string) []byte {
	b = appendKey(b, strings.ToLower(name))
	switch name {
	case "Set-Cookie":
		b = append(b, '[')
		for _, v := range values {
			b = append(parser.AppendString(b, v), ',')
		}
		return append(bytes.TrimSuffix(b, []byte{','}), ']')
	case "Cookie":
		return parser.AppendString(b, strings.Join(values, "; "))
	}
	return parser.AppendString(b, strings.Join(values, ", "))
}

// decodeHandshake reads what any node sent. Each field is read for itself: one of another type is left out.
func decodeHandshake(raw json.RawMessage) Handshake {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return Handshake{}
	}
	h := Handshake{Header: make(http.Header), Query: make(map[string]string)}
	_ = json.Unmarshal(fields["url"], &h.URL)
	_ = json.Unmarshal(fields["address"], &h.RemoteAddr)
	_ = json.Unmarshal(fields["secure"], &h.Secure)
	var issued int64
	if json.Unmarshal(fields["issued"], &issued) == nil {
		h.Time = time.UnixMilli(issued)
	}
	if auth := bytes.TrimSpace(fields["auth"]); len(auth) > 0 && auth[0] == '{' {
		h.Auth = json.RawMessage(auth)
	}
	for name, values := range textLists(fields["headers"]) {
		for _, v := range values {
			h.Header.Add(name, v)
		}
	}
	for key, values := range textLists(fields["query"]) {
		if len(values) > 0 {
			h.Query[key] = values[len(values)-1]
		}
	}
	return h
}

// textLists reads an object whose values are strings or lists of strings.
func textLists(raw json.RawMessage) map[string][]string {
	var values map[string]json.RawMessage
	if json.Unmarshal(raw, &values) != nil {
		return nil
	}
	lists := make(map[string][]string, len(values))
	for name, value := range values {
		var one string
		var many []string
		if json.Unmarshal(value, &one) == nil {
			many = []string{one}
		} else if json.Unmarshal(value, &many) != nil {
			continue
		}
		lists[name] = many
	}
	return lists
}

// encodeData writes the values of Set as a JSON object. One that cannot be written is left out, and the log has its key.
func (s *Socket) encodeData() json.RawMessage {
	s.mu.Lock()
	data := maps.Clone(s.data)
	s.mu.Unlock()
	if len(data) == 0 {
		return json.RawMessage("{}")
	}
	out := []byte{'{'}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		value, err := encodeJSON(data[key])
		if err != nil {
			s.nsp.complain("value of a socket is not told to other nodes", "socket", s.id, "error", &DataError{Key: key, Err: err})
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(appendKey(out, key), value...)
	}
	return append(out, '}')
}

// DataError tells that a value of Socket.Set cannot be written as JSON, so that other nodes do not see it.
type DataError struct {
	Key string
	Err error
}

// Error names the key.
func (e *DataError) Error() string { return fmt.Sprintf("socketio: data %q: %v", e.Key, e.Err) }

// Unwrap returns what is wrong with the value.
func (e *DataError) Unwrap() error { return e.Err }

// encodeJSON writes a value as JavaScript does. What a value's own method panics with is an error.
func encodeJSON(v any) (text json.RawMessage, err error) {
	err = guard(func() error {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			return err
		}
		text = bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
		return nil
	})
	return text, err
}
