package forward

import (
	"net/http"
	"time"
)

// What tests need to see.
const (
	Header    = header
	MaxNonces = maxNonces
	Freshness = freshness
)

// Sign returns the header that a node with the secret and the clock adds to r, a request as it is sent.
func Sign(secret []byte, r *http.Request, client string, at time.Time) string {
	t := newTicket(r)
	t.client, t.time = client, time.UnixMilli(at.UnixMilli())
	t.mac = t.sum(secret, claimOf(r))
	return t.String()
}

func claimOf(r *http.Request) *claim {
	return &claim{method: r.Method, target: r.URL.RequestURI(), sid: sessionID(r.URL), host: r.Host, header: r.Header}
}

// Ticket is a parsed header.
type Ticket = ticket

// ParseTicket parses a header.
var ParseTicket = parseTicket

// Nonces is the memory of tickets.
type Nonces = nonces

// AddNonce notes a ticket with the number for its nonce.
func (s *Nonces) AddNonce(number uint32, at time.Time) string {
	t := &ticket{time: at}
	t.nonce[0], t.nonce[1], t.nonce[2], t.nonce[3] = byte(number), byte(number>>8), byte(number>>16), byte(number>>24)
	return s.add(t)
}

// Size returns how many nonces are kept.
func (s *Nonces) Size() int { return len(s.current) + len(s.previous) }

// Boundary follows frames.
type Boundary struct{ boundary }

// Advance, Finish and Between are those of boundary.
func (b *Boundary) Advance(p []byte)    { b.advance(p) }
func (b *Boundary) Finish(p []byte) int { return b.finish(p) }
func (b *Boundary) Between() bool       { return b.between() }

// Active returns how many requests are passed on now.
func (f *Forwarder) Active() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.active
}

// Closing reports whether Close was called.
func (f *Forwarder) Closing() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closing
}
