package socketio_test

import (
	"testing"
	"time"

	"example.com/chorus/pkg/socketio"
)

// nodesHandshake is what socket.io 4.8.4 says of a client.
const nodesHandshake = `{"headers":{"user-agent":"node-XMLHttpRequest","accept":"*/*","origin":"http://o.example","cookie":"a=1; b=2",` +
	`"x-two":"a, b","set-cookie":["c=1","d=2"],"host":"127.0.0.1:32911","connection":"close"},` +
	`"time":"Wed Nov 25 2026 22:01:46 GMT+0000 (Coordinated Universal Time)","address":"::ffff:127.0.0.1","xdomain":true,"secure":false,` +
	`"issued":1795644106059,"url":"/socket.io/?a=2&EIO=4&transport=polling&t=o4zlbxnd",` +
	`"query":{"a":["1","2"],"EIO":"4","transport":"polling","t":"o4zlbxnd"},"auth":{"token":"x"}}`

func TestHandshakeOfNode(t *testing.T) {
	h := socketio.DecodeHandshake([]byte(nodesHandshake))
	if h.Header.Get("Host") != "127.0.0.1:32911" || h.Header.Get("X-Two") != "a, b" || len(h.Header["Set-Cookie"]) != 2 ||
		h.Query["a"] != "2" || h.Query["EIO"] != "4" || h.RemoteAddr != "::ffff:127.0.0.1" || h.Secure ||
		h.URL != "/socket.io/?a=2&EIO=4&transport=polling&t=o4zlbxnd" || string(h.Auth) != `{"token":"x"}` ||
		!h.Time.Equal(time.Date(2026, 11, 25, 22, 1, 46, 59e6, time.UTC)) {
		t.Errorf("handshake = %+v", h)
	}
	// What is not as it should be is left out, and the rest is read.
	h = socketio.DecodeHandshake([]byte(`{"headers":{"a":1,"b":"x"},"issued":"yesterday","url":7,"query":[],"auth":null,"secure":true}`))
	if !h.Secure || h.Header.Get("b") != "x" || h.Header.Get("a") != "" || !h.Time.IsZero() || h.URL != "" || h.Auth != nil {
		t.Errorf("handshake = %+v", h)
	}
}

func FuzzHandshake(f *testing.F) {
	f.Add([]byte(nodesHandshake))
	f.Add([]byte(`{"headers":{"":[]},"query":{"a":[]},"auth":" {","issued":1e400}`))
	f.Add([]byte(`[]`))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h := socketio.DecodeHandshake(raw)
		var auth map[string]any
		if err := h.DecodeAuth(&auth); err != nil {
			t.Errorf("auth %s of %q does not decode: %v", h.Auth, raw, err)
		}
	})
}
