package forward

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits of an answer to an upgrade.
const (
	maxHead    = 64 << 10
	maxRefusal = 64 << 10 // of the body, if the owner does not switch
)

// hopHeaders belong to one connection. Those of the upgrade itself are set anew.
var hopHeaders = []string{"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Content-Length", "Expect"}

// heads are readers of the owner's answer, which is all that they are needed for.
var heads = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

// serveUpgrade passes a request for a WebSocket on to the node that has its session, and relays what follows.
func (f *Forwarder) serveUpgrade(w http.ResponseWriter, r *http.Request, p *peer, sid string) {
	f.mu.Lock()
	sealed := f.sealed
	f.mu.Unlock()
	if sealed || !f.begin() {
		refuseUpgrade(w)
		return
	}
	defer f.end()
	result, err := f.upgrade(w, r, p, sid)
	f.forwarded.add(result)
	if err != nil {
		f.options.Logger.DebugContext(r.Context(), "upgrade is not relayed", "owner", p.node.String(), "address", p.node.Address,
			"result", result, "error", err)
		if result != resultGone {
			f.unknown(w, r)
		}
	}
}

// refuseUpgrade answers while the node drains: a balancer that asks another node then finds one that relays. With any other answer the
// client would stay on polling for good.
func refuseUpgrade(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Connection", "close")
	h.Set("Retry-After", "1")
	http.Error(w, "the node drains", http.StatusServiceUnavailable)
}

// upgrade returns an error if the client was not answered.
func (f *Forwarder) upgrade(w http.ResponseWriter, r *http.Request, p *peer, sid string) (result string, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), f.options.UpgradeTimeout)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	lost := func(err error) (string, error) {
		if r.Context().Err() != nil {
			return resultGone, err
		}
		return resultUnreachable, err
	}
	owner, err := f.dial(ctx, "tcp", p.node.Address)
	if err != nil {
		return lost(fmt.Errorf("dial: %w", err))
	}
	keep := false
	defer func() {
		if !keep {
			_ = owner.Close() // nothing of it is needed
		}
	}()
	release := context.AfterFunc(ctx, func() { _ = owner.SetDeadline(time.Unix(1, 0)) })
	defer release()
	if err := f.upgradeRequest(r, p, sid).Write(owner); err != nil {
		return lost(fmt.Errorf("ask: %w", err))
	}
	in := heads.Get().(*bufio.Reader)
	defer func() { in.Reset(nil); heads.Put(in) }()
	in.Reset(io.LimitReader(owner, maxHead+maxRefusal))
	response, err := http.ReadResponse(in, r)
	if err != nil {
		return lost(fmt.Errorf("answer: %w", err))
	}
	defer response.Body.Close()
	if reason := response.Header.Get(header); reason != "" {
		f.peerRefused(p, reason)
		return resultRefused, errRefused
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return resultOK, refusedUpgrade(w, response)
	}
	if !release() { // the time is up, the client or the owner gone
		return lost(context.Cause(ctx))
	}
	client, early, err := takeOver(w)
	if err != nil {
		return lost(err)
	}
	keep = true
	first, _ := in.Peek(in.Buffered())
	f.start(&relay{f: f, peer: p, client: client, owner: owner}, head(response), first, early)
	return resultOK, nil
}

// upgradeRequest is the request as the owner gets it.
func (f *Forwarder) upgradeRequest(r *http.Request, p *peer, sid string) *http.Request {
	out := r.Clone(context.Background())
	out.URL.Scheme, out.URL.Host = "http", p.node.Address
	out.RequestURI = ""
	out.Body, out.ContentLength, out.TransferEncoding = nil, 0, nil
	out.Close = false
	out.Host = p.host(r.Host)
	for _, name := range hopHeaders {
		out.Header.Del(name)
	}
	out.Header.Set("Connection", "Upgrade")
	out.Header.Set("Upgrade", "websocket")
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = []string{""} // else net/http names itself
	}
	out.Header.Set(header, f.secrets.Load().sign(r, &claim{
		method: out.Method, target: out.URL.RequestURI(), sid: sid, host: out.Host, header: out.Header,
	}))
	return out
}

// refusedUpgrade gives the client the owner's refusal.
func refusedUpgrade(w http.ResponseWriter, response *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxRefusal))
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	for _, name := range hopHeaders {
		response.Header.Del(name)
	}
	h := w.Header()
	maps.Copy(h, response.Header)
	h.Set("Connection", "close")
	w.WriteHeader(response.StatusCode)
	_, _ = w.Write(body) // the client is gone, or reads it
	return nil
}

// takeOver takes the client's connection from the HTTP server, and what the client has sent already.
func takeOver(w http.ResponseWriter) (client net.Conn, early []byte, err error) {
	client, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take over the connection: %w", err)
	}
	if n := rw.Reader.Buffered(); n > 0 {
		early = make([]byte, n)
		if _, err := io.ReadFull(rw, early); err != nil {
			return nil, nil, errors.Join(err, client.Close())
		}
	}
	if err := client.SetDeadline(time.Time{}); err != nil {
		return nil, nil, errors.Join(err, client.Close())
	}
	return client, early, nil
}

// head returns the head of an answer 101 as the client gets it.
func head(response *http.Response) []byte {
	var b headWriter
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\n"...)
	_ = response.Header.Write(&b) // memory takes everything
	return append(b, "\r\n"...)
}

type headWriter []byte

func (b *headWriter) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}
