package socketio

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Cookie is a cookie with the id of a connection, by which balancers may know the node that has it; see Options.Cookie.
// The zero value is that of Node's "cookie: true".
type Cookie struct {
	// Name of the cookie. Default "io".
	Name string
	// Path below which browsers send it. Default "/".
	Path string
	// Domain whose hosts get it. Default the host of the request alone.
	Domain string
	// MaxAge is how long browsers keep it, in whole seconds. Default until the browser is closed.
	MaxAge time.Duration
	// SameSite says whether requests of other sites carry it: http.SameSiteNoneMode for pages of other origins, which
	// asks for Secure; http.SameSiteDefaultMode leaves it to the browser. Default http.SameSiteLaxMode.
	SameSite http.SameSite
	// Secure keeps it from connections without TLS. Default no.
	Secure bool
	// Partitioned keeps it apart for each site that embeds the page (CHIPS); asks for Secure. Default no.
	Partitioned bool
	// InsecureScriptAccess lets the scripts of pages read it, and with it the id of the connection, which is a secret:
	// it is not HttpOnly then. Default no.
	InsecureScriptAccess bool
}

// cookie returns what net/http writes.
func (c *Cookie) cookie() (*http.Cookie, error) {
	out := &http.Cookie{
		Name: c.Name, Path: c.Path, Domain: c.Domain, MaxAge: int(c.MaxAge / time.Second), SameSite: c.SameSite,
		Secure: c.Secure, Partitioned: c.Partitioned, HttpOnly: !c.InsecureScriptAccess,
	}
	if out.Name == "" {
		out.Name = "io"
	}
	if out.Path == "" {
		out.Path = "/"
	}
	if out.SameSite == 0 {
		out.SameSite = http.SameSiteLaxMode
	}
	err := out.Valid()
	switch {
	case err != nil:
	case c.MaxAge != 0 && c.MaxAge < time.Second:
		err = fmt.Errorf("MaxAge is %v, must be a second or more", c.MaxAge)
	case out.SameSite == http.SameSiteNoneMode && !c.Secure:
		err = errors.New("SameSite none without Secure: browsers refuse it")
	}
	if err != nil {
		return nil, fmt.Errorf("socketio: Options.Cookie: %w", err)
	}
	return out, nil
}
