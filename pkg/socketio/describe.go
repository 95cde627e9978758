package socketio

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/chorus/pkg/adapter"
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

// nodeHandshake is a handshake as Node has it (reference, section "API", Socket).
type nodeHandshake struct {
	Headers map[string]any  `json:"headers"` // names in lower case; a string, or a list of set-cookie
	Time    string          `json:"time"`
	Address string          `json:"address"`
	XDomain bool            `json:"xdomain"` // whether there is an Origin
	Secure  bool            `json:"secure"`
	Issued  int64           `json:"issued"` // ms since 1970
	URL     string          `json:"url"`
	Query   map[string]any  `json:"query"` // a string, or a list where a key repeats
	Auth    json.RawMessage `json:"auth"`
}

// nodeTime is how JavaScript writes a date.
const nodeTime = "Mon Jan 02 2006 15:04:05 GMT-0700 (Coordinated Universal Time)"

func encodeHandshake(s *Socket) json.RawMessage {
	h := s.conn.session.Handshake()
	v := nodeHandshake{
		Headers: make(map[string]any, len(h.Header)+1), Time: h.Time.UTC().Format(nodeTime), Address: h.RemoteAddr,
		XDomain: h.Header.Get("Origin") != "", Secure: h.Secure, Issued: h.Time.UnixMilli(), URL: h.URL,
		Query: make(map[string]any, len(h.Query)), Auth: s.auth,
	}
	if h.Host != "" {
		v.Headers["host"] = h.Host
	}
	for name, values := range h.Header {
		v.Headers[strings.ToLower(name)] = nodeHeader(name, values)
	}
	for key, value := range h.Query {
		v.Query[key] = value
	}
	if host, _, err := net.SplitHostPort(h.RemoteAddr); err == nil {
		v.Address = host
	}
	if len(v.Auth) == 0 {
		v.Auth = json.RawMessage("{}")
	}
	out, err := encodeJSON(v)
	if err != nil { // auth was validated at reception, everything else is strings
		return json.RawMessage("{}")
	}
	return out
}

// nodeHeader joins values as Node does.
func nodeHeader(name string, values []string) any {
	switch name {
	case "Set-Cookie":
		return values
	case "Cookie":
		return strings.Join(values, "; ")
	}
	return strings.Join(values, ", ")
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
	out := []byte{'{'}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		name, _ := encodeJSON(key)
		value, err := encodeJSON(data[key])
		if err != nil {
			s.nsp.complain("value of a socket is not told to other nodes", "socket", s.id, "error", &DataError{Key: key, Err: err})
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, name...), ':'), value...)
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
