package socketio

import (
	"net/http"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"example.com/chorus/internal/engineio"
	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/netloop"
)

// HTTPCompression says when polling answers are compressed, with gzip or deflate as the client prefers.
type HTTPCompression struct {
	// Disabled turns it off.
	Disabled bool
	// Threshold is the size in bytes below which an answer stays as it is. Default 1 024.
	Threshold int
}

// PerMessageDeflate has the settings of WebSocket compression (RFC 7692). No context is kept between messages, so a
// broadcast is compressed once for all its receivers, and an idle connection costs nothing for it.
type PerMessageDeflate struct {
	// Threshold is the size in bytes below which a message stays as it is. Default 1 024.
	Threshold int
	// Level from 1, the fastest, to 9, as in compress/flate. Default 1.
	Level int
}

// RefusedRequest is a request that was refused with a code of the Engine.IO protocol (section "Verification order and
// errors"); see Options.ConnectionError.
type RefusedRequest struct {
	Request *http.Request
	Code    int            // 0 transport unknown, 1 session unknown, 2 bad method, 3 bad request, 4 forbidden, 5 unsupported protocol
	Message string         // what the client is told
	Context map[string]any // particulars by the names of Node's server; code 3 has a "name"
}

// wrap puts the middlewares around a handler.
func (o *Options) wrap(h http.Handler) http.Handler {
	for _, m := range slices.Backward(o.Middleware) {
		h = m(h)
	}
	return h
}

// engineHooks passes on the options that are the engine's alone.
func (o *Options) engineHooks(e *engineio.Options) {
	e.AllowEIO3 = o.AllowEIO3
	e.NetLoop = netloop.Mode(o.NetLoop)
	e.AllowRequest = o.AllowRequest
	e.InitialHeaders, e.Headers = o.InitialHeaders, o.Headers
	e.GenerateID = o.GenerateID
	if o.Cookie != nil {
		e.Cookie, _ = o.Cookie.cookie() // withDefaults checked it
	}
	e.HTTPCompression = engineio.HTTPCompression(o.HTTPCompression)
	complaints := rate.Sometimes{First: 5, Interval: time.Second}
	e.ConnectionError = func(c engineio.ConnectionError) {
		if origin, ok := c.Context["origin"]; ok && c.Code == 4 { // browsers tell the page nothing about it
			complaints.Do(func() {
				o.Logger.Warn("WebSocket refused: the origin of its page is not allowed", "origin", origin, "host", c.Request.Host,
					"remedy", "name it in Options.CORS (--cors.origins of bin/chorus) or decide in Options.CheckOrigin")
			})
		}
		if o.ConnectionError != nil {
			o.ConnectionError(RefusedRequest(c))
		}
	}
	if o.PerMessageDeflate != nil {
		d := engineio.Deflate(*o.PerMessageDeflate)
		e.PerMessageDeflate = &d
	}
	if o.InitialPacket != "" {
		e.InitialPacket = frame.Packet("4" + o.InitialPacket)
	}
}
