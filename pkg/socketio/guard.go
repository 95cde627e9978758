package socketio

import (
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"

	"golang.org/x/time/rate"

	"example.com/chorus/internal/engineio"
)

// guard turns a panic into a PanicError. Every function of the application that this package calls on a goroutine of
// its own is called through it: one that is broken must not end the process.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}

// report counts and logs what went wrong in a function of the application that has no caller to tell.
func (s *Server) report(what string, err error) {
	p, panicked := errors.AsType[*PanicError](err)
	if panicked {
		s.count.panics.Add(1)
	}
	s.complaints.log(s.options.Logger, func(log *slog.Logger) {
		log = log.With("function", what, "error", err)
		if panicked {
			log.Error("function of the application panicked", "stack", string(p.Stack))
			return
		}
		log.Warn("function of the application failed")
	})
}

// complaints limits the log to some lines per second, and counts those that were held back.
type complaints struct {
	often rate.Sometimes
	held  atomic.Int64
}

func (c *complaints) log(l *slog.Logger, line func(*slog.Logger)) {
	c.held.Add(1)
	c.often.Do(func() {
		if more := c.held.Swap(0) - 1; more > 0 {
			l = l.With("others", more)
		}
		line(l)
	})
}

// hook calls a function of Options for a request. As in every handler of net/http, http.ErrAbortHandler ends the
// request without a word.
func (s *Server) hook(name string, f func() error) error {
	err := guard(f)
	if p, ok := err.(*PanicError); ok {
		if p.Value == http.ErrAbortHandler {
			panic(p.Value)
		}
		s.report("Options."+name, p)
	}
	return err
}

// guardHooks puts hook around what the engine calls. Who is to decide about a request and panics, refuses it.
func (s *Server) guardHooks(e *engineio.Options) {
	if f := e.CheckOrigin; f != nil {
		e.CheckOrigin = func(r *http.Request) (ok bool) {
			return s.hook("CheckOrigin", func() error { ok = f(r); return nil }) == nil && ok
		}
	}
	if f := e.AllowRequest; f != nil {
		e.AllowRequest = func(r *http.Request) error {
			var text string
			allowed := true
			err := s.hook("AllowRequest", func() error {
				if no := f(r); no != nil {
					allowed, text = false, no.Error()
				}
				return nil
			})
			if err == nil && allowed {
				return nil
			}
			return errors.New(text) // none, of a panic: what it says is not for clients
		}
	}
	if f := e.GenerateID; f != nil {
		e.GenerateID = func(r *http.Request) (id string, err error) {
			err = s.hook("GenerateID", func() (err error) { id, err = f(r); return err })
			return id, err
		}
	}
	headers := func(name string, f func(http.Header, *http.Request)) func(http.Header, *http.Request) {
		if f == nil {
			return nil
		}
		return func(h http.Header, r *http.Request) {
			_ = s.hook(name, func() error { f(h, r); return nil }) // reported; the answer goes without
		}
	}
	e.InitialHeaders = headers("InitialHeaders", e.InitialHeaders)
	e.Headers = headers("Headers", e.Headers)
	if f := e.ConnectionError; f != nil {
		e.ConnectionError = func(c engineio.ConnectionError) {
			_ = s.hook("ConnectionError", func() error { f(c); return nil }) // reported
		}
	}
}

// guardCORS is guardHooks for AllowOrigin; it returns a copy, or nil.
func (s *Server) guardCORS(o *CORS) *CORS {
	if o == nil {
		return nil
	}
	c := *o
	if f := c.AllowOrigin; f != nil {
		c.AllowOrigin = func(r *http.Request, origin string) (ok bool) {
			return s.hook("CORS.AllowOrigin", func() error { ok = f(r, origin); return nil }) == nil && ok
		}
	}
	return &c
}

// told calls a function of a Trace. Locks may be held: what there is to log is logged elsewhere.
func (s *Server) told(name string, f func()) {
	if err := guard(func() error { f(); return nil }); err != nil {
		s.workers.start(func() { s.report("Trace."+name, err) })
	}
}
