package socketio

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rs/cors"
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

// corsPolicy is one state of Options.CORS.
type corsPolicy struct {
	handler http.Handler             // of every request
	allowed func(*http.Request) bool // whether the origin of a page is, besides the server's own
}

// SetCORS puts c in the place of Options.CORS, for all requests from now on; nil is none. Connections that are open
// stay. Where Options.CheckOrigin is set, that still decides about WebSockets. Safe for concurrent use.
func (s *Server) SetCORS(c *CORS) { s.cors.Store(newCORSPolicy(s.guardCORS(c), s.handler)) }

// newCORSPolicy puts CORS around a handler, outermost: what a middleware refuses must be readable by the page too, and a
// preflight, which carries no credentials, must not reach one that wants some.
func newCORSPolicy(c *CORS, h http.Handler) *corsPolicy {
	if c == nil {
		return &corsPolicy{handler: h, allowed: func(*http.Request) bool { return false }}
	}
	headers := c.handler()
	return &corsPolicy{allowed: headers.OriginAllowed, handler: headers.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions { // not for a browser, but the reference server answers it as it does preflights
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.ServeHTTP(w, r)
	}))}
}

// originAllowed is the default of Options.CheckOrigin.
func (s *Server) originAllowed(r *http.Request) bool {
	return sameOrigin(r) || s.cors.Load().allowed(r)
}

func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}
