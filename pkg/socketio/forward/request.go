package forward

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// largeBody is the size from which the owner is asked whether it wants a body: it refuses one that is too large, and
	// its answer would be lost if it stopped to read meanwhile.
	largeBody = 64 << 10
	// unreadBody is how long the rest of a body is waited for after the owner has answered without it.
	unreadBody = 500 * time.Millisecond
)

// exchange is one request that is passed on.
type exchange struct {
	f      *Forwarder
	w      *http.ResponseController
	r      *http.Request // as it came
	peer   *peer
	sid    string
	body   *body
	result string // until it is counted
}

// count counts how the exchange ended, once.
func (x *exchange) count() {
	if x.result != "" {
		x.f.forwarded.add(x.result)
		x.result = ""
	}
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }

// pass sends a GET or POST to the node that has its session, and its answer back.
func (f *Forwarder) pass(w http.ResponseWriter, r *http.Request, p *peer, sid string) {
	if !f.begin() {
		f.unknown(w, r)
		return
	}
	defer f.end()
	x := &exchange{f: f, w: http.NewResponseController(w), r: r, peer: p, sid: sid, result: resultUnreachable}
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), exchangeKey{}, x))
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	out := r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 {
		x.body = &body{ReadCloser: r.Body}
		out.Body = x.body
	} else {
		_ = x.w.SetReadDeadline(time.Time{}) // a server's deadline for requests must not end one that waits by design
	}
	_ = x.w.SetWriteDeadline(time.Time{})
	defer func() { // also when the answer was cut short, which is a panic
		if x.result != "" && r.Context().Err() != nil {
			x.result = resultGone
		}
		x.count()
	}()
	p.proxy.ServeHTTP(finalAnswer{w}, out)
	_ = x.w.SetWriteDeadline(time.Time{}) // the connection may serve other handlers
}

// finalAnswer keeps from the client what the owner says to this node before it answers: the "100 Continue" that the client
// did not ask for. Clients of HTTP/1.0, as balancers often are, would take it for the answer.
type finalAnswer struct{ http.ResponseWriter }

// WriteHeader leaves out the head of an answer that is not the final one.
func (w finalAnswer) WriteHeader(status int) {
	if status >= http.StatusOK {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Unwrap is for http.ResponseController.
func (w finalAnswer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// rewrite makes the request for the owner, which is to see what this node saw.
func (f *Forwarder) rewrite(r *httputil.ProxyRequest, p *peer) {
	x := exchangeOf(r.In.Context())
	r.Out.URL.Scheme, r.Out.URL.Host = "http", p.node.Address
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	r.Out.Host = p.host(r.In.Host)
	// ReverseProxy takes off the headers of the way that the request came, and whatever the client calls one of a single hop: with
	// that it could take off what the balancer wrote. The owner restores the client's address, so the chain is its own.
	for name, values := range r.In.Header {
		if !slices.Contains(hopHeaders, name) {
			r.Out.Header[name] = values
		}
	}
	r.Out.Header.Del("Connection") // ReverseProxy would switch to any protocol
	r.Out.Header.Del("Upgrade")
	if x.body != nil && (r.In.ContentLength < 0 || r.In.ContentLength > largeBody) {
		r.Out.Header.Set("Expect", "100-continue")
	}
	r.Out.Header.Set(header, f.secrets.Load().sign(r.In, &claim{
		method: r.Out.Method, target: r.Out.URL.RequestURI(), sid: x.sid, host: r.Out.Host, header: r.Out.Header,
	}))
}

// errRefused says that the owner did not believe us.
var errRefused = errors.New("forward: the owner refuses the forward")

// answered looks at the head of the owner's answer.
func answered(response *http.Response) error {
	x := exchangeOf(response.Request.Context())
	if reason := response.Header.Get(header); reason != "" {
		x.f.peerRefused(x.peer, reason)
		return errRefused
	}
	x.result = resultOK
	x.leaveBody(response.Header, unreadBody)
	_ = x.w.SetWriteDeadline(time.Now().Add(x.f.options.WriteTimeout))
	return nil
}

// leaveBody gives up a body of which nobody wants the rest. Whoever still reads it holds up the end of the handler.
func (x *exchange) leaveBody(h http.Header, wait time.Duration) {
	if x.body == nil || x.body.ended.Load() {
		return
	}
	if x.r.ProtoMajor == 1 {
		h.Set("Connection", "close")
	}
	_ = x.w.SetReadDeadline(time.Now().Add(wait))
}

// failed answers a request whose owner did not. A client that went away is told nothing.
func failed(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r.Context())
	if x.r.Context().Err() != nil {
		return
	}
	if x.body != nil && x.body.failed.Load() { // the client's fault
		x.result = resultGone
		panic(http.ErrAbortHandler)
	}
	if errors.Is(err, errRefused) {
		x.result = resultRefused
	} else {
		x.result = resultUnreachable
		x.f.options.Logger.DebugContext(r.Context(), "owner of a session is unreachable", "owner", x.peer.node.String(),
			"address", x.peer.node.Address, "error", err)
	}
	x.count()
	x.leaveBody(w.Header(), 0)
	x.f.unknown(w, x.r)
}

// peerRefused tells the operator what another node thinks of this one.
func (f *Forwarder) peerRefused(p *peer, reason string) {
	f.complain.Do(func() {
		f.options.Logger.Warn("another node refuses what is forwarded to it", "owner", p.node.String(), "address", p.node.Address,
			"reason", reason, "remedy", remedy(reason))
	})
	if reasonOf(reason) == refusedSignature && f.options.Doubt != nil {
		f.doubt.Do(f.options.Doubt)
	}
}

// body notes how reading of a client's body ended.
type body struct {
	io.ReadCloser
	ended, failed atomic.Bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		b.ended.Store(true)
	case err != nil && !errors.Is(err, http.ErrBodyReadAfterClose):
		b.failed.Store(true)
	}
	return n, err
}

// bufferPool lends the buffers to the copying of answers.
type bufferPool struct{}

func (bufferPool) Get() []byte  { return *buffers.Get().(*[]byte) }
func (bufferPool) Put(b []byte) { buffers.Put(&b) }
