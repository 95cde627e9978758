package socketio

import (
	"encoding/json"
	"net/http"
	"time"
)

// Handshake is how a client came: all but Auth are from the first HTTP request of its connection.
type Handshake struct {
	Header     http.Header
	URL        string            // the request target
	Query      map[string]string // the last value where a key repeats
	RemoteAddr string            // address and port of the peer, which may be a proxy
	Secure     bool              // over TLS
	Time       time.Time
	Auth       json.RawMessage // payload of the CONNECT packet for this namespace, a JSON object; nil if absent
}

// DecodeAuth decodes Auth as encoding/json does. Without one, dst stays as it is.
func (h Handshake) DecodeAuth(dst any) error {
	if len(h.Auth) == 0 {
		return nil
	}
	return json.Unmarshal(h.Auth, dst)
}
