package socketio

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rs/cors"
	"golang.org/x/time/rate"

	"example.com/chorus/internal/engineio"
	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/netloop"
)

// CORS are the headers for pages of other origins, on every answer, the client bundle and refusals among them. Origins
// that it allows may open WebSockets too. A request of another origin is answered without the headers.
type CORS struct {
	// Origins that are allowed: exact such as "https://example.com", with one asterisk such as "https://*.example.com",
	// or "*" for all. Default "*".
	Origins []string
	// AllowOrigin decides instead of Origins. Default none.
	AllowOrigin func(r *http.Request, origin string) bool
	// Credentials lets pages send cookies and authorization. Default no.
	Credentials bool
	// Methods of preflight answers. Default GET, HEAD, PUT, PATCH, POST, DELETE, as in Node.
	Methods []string
	// AllowedHeaders of requests. Default those that the preflight asks for.
	AllowedHeaders []string
	// ExposedHeaders that pages may read. Default none.
	ExposedHeaders []string
	// MaxAge is how long a browser may keep a preflight answer. Default none is said.
	MaxAge time.Duration
}

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

// cors returns the handler of the headers.
func (o *CORS) handler() *cors.Cors {
	c := cors.Options{
		AllowedOrigins:       o.Origins,
		AllowedMethods:       o.Methods,
		AllowedHeaders:       o.AllowedHeaders,
		ExposedHeaders:       o.ExposedHeaders,
		AllowCredentials:     o.Credentials,
		MaxAge:               int(o.MaxAge / time.Second),
		OptionsSuccessStatus: http.StatusNoContent,
	}
	if len(c.AllowedMethods) == 0 {
		c.AllowedMethods = []string{"GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"}
	}
	if len(c.AllowedHeaders) == 0 {
		c.AllowedHeaders = []string{"*"}
	}
	switch {
	case o.AllowOrigin != nil:
		c.AllowOriginVaryRequestFunc = func(r *http.Request, origin string) (bool, []string) {
			return o.AllowOrigin(r, origin), nil
		}
	case o.Credentials && (len(o.Origins) == 0 || slices.Contains(o.Origins, "*")):
		// Browsers refuse the asterisk beside credentials: the origin is named, as it was allowed.
		c.AllowOriginFunc = func(string) bool { return true }
	}
	return cors.New(c)
}

// wrap puts CORS and the middlewares around a handler. CORS is outermost: what a middleware refuses must be readable by
// the page too, and a preflight, which carries no credentials, must not reach one that wants some. Then the first middleware.
func (o *Options) wrap(h http.Handler) http.Handler {
	for _, m := range slices.Backward(o.Middleware) {
		h = m(h)
	}
	if o.CORS == nil {
		return h
	}
	return o.CORS.handler().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions { // not for a browser, but the reference server answers it as it does preflights
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.ServeHTTP(w, r)
	}))
}

// originCheck is the default of CheckOrigin.
func originCheck(c *CORS) func(*http.Request) bool {
	if c == nil {
		return sameOrigin
	}
	handler := c.handler()
	return func(r *http.Request) bool { return sameOrigin(r) || handler.OriginAllowed(r) }
}

func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
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
