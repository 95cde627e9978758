package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"example.com/chorus/pkg/socketio"
)

// failures carries the first failure of a listener; it has room for one.
type failures chan error

func (f failures) report(err error) {
	select {
	case f <- err:
	default: // one is enough to end the program
	}
}

// endpoint is an HTTP server on one or more addresses. All methods but serve work on nil, an endpoint that is not
// wanted.
type endpoint struct {
	listeners []net.Listener
	server    *http.Server
	serving   sync.WaitGroup
}

// Limits of the HTTP servers. There is no WriteTimeout, because a long poll is answered late, and no ReadTimeout, because
// it would end those that the front passes on.
const (
	readHeaderTimeout = 10 * time.Second
	bodyTimeout       = 5 * time.Minute   // as Node's requestTimeout; the engine gives its sessions less
	idleTimeout       = 620 * time.Second // longer than any common balancer keeps an idle connection (at most 600 s)
	maxHeaderBytes    = 64 << 10
)

// listen opens the addresses. Its error names the flag that holds them.
func listen(flag string, addrs ...string) (*endpoint, error) {
	e := &endpoint{}
	for _, addr := range addrs {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			e.close()
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		e.listeners = append(e.listeners, l)
	}
	return e, nil
}

// serve answers requests until shutdown, over TLS if there is a certificate; failed hears of a listener that ends by
// itself.
func (e *endpoint) serve(h http.Handler, c *certificate, log *slog.Logger, failed failures) {
	e.server = &http.Server{
		Handler:           boundBodies(h),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          serverLog(log),
	}
	if c != nil {
		e.server.TLSConfig = c.config()
		e.server.Protocols = onlyHTTP1()
	}
	paced := make([]net.Listener, len(e.listeners))
	for i, l := range e.listeners {
		paced[i] = socketio.Paced(l, e.server)
	}
	for _, l := range paced {
		e.serving.Go(func() {
			serve := e.server.Serve
			if c != nil {
				serve = func(l net.Listener) error { return e.server.ServeTLS(l, "", "") }
			}
			if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed.report(fmt.Errorf("listener %s: %w", l.Addr(), err))
			}
		})
	}
}

// boundBodies gives a body the time that it may take to come. The server looks for its end even where no handler reads it.
func boundBodies(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // the server's own writers have one
		}
		h.ServeHTTP(w, r)
	})
}

// addrs returns the addresses with the ports that were chosen.
func (e *endpoint) addrs() []string {
	if e == nil {
		return nil
	}
	addrs := make([]string, len(e.listeners))
	for i, l := range e.listeners {
		addrs[i] = l.Addr().String()
	}
	return addrs
}

// shutdown waits for running requests until ctx ends, then cuts them.
func (e *endpoint) shutdown(ctx context.Context) {
	if e == nil {
		return
	}
	if err := e.server.Shutdown(ctx); err != nil {
		_ = e.server.Close() // its only error is that of a listener, which Shutdown has closed already
	}
	e.serving.Wait()
}

// close ends listeners that were never served.
func (e *endpoint) close() {
	if e == nil {
		return
	}
	for _, l := range e.listeners {
		_ = l.Close() // nobody has used it
	}
}
