package forward

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Internal returns the handler of the listener that only other nodes reach. It serves what they pass on as if it had come
// from the client itself, and refuses everything else with 403.
func (f *Forwarder) Internal() http.Handler { return http.HandlerFunc(f.serveInternal) }

func (f *Forwarder) serveInternal(w http.ResponseWriter, r *http.Request) {
	t, reason := f.verify(r)
	if reason != "" {
		f.refuse(w, r, reason)
		return
	}
	c := without(r)
	c.RemoteAddr = t.client
	c.TLS = nil // that of this hop
	if t.secure {
		c.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: hostname(r.Host)}
	}
	f.next.ServeHTTP(w, c)
}

func hostname(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		return host[:i]
	}
	return host
}

// verify returns the ticket of a request, or why it cannot be believed. The cheapest questions come first; a ticket is noted
// last, since only peers may fill that memory.
func (f *Forwarder) verify(r *http.Request) (*ticket, string) {
	values := r.Header[header]
	if len(values) == 0 {
		return nil, refusedUnsigned
	}
	s := f.secrets.Load()
	if s == nil {
		return nil, refusedNoSecret
	}
	if len(values) > 1 {
		return nil, refusedMalformed
	}
	t, err := parseTicket(values[0])
	if err != nil {
		return nil, refusedMalformed
	}
	sid := sessionID(r.URL)
	if !s.fits(t, &claim{method: r.Method, target: r.RequestURI, sid: sid, host: r.Host, header: r.Header}) {
		return nil, refusedSignature
	}
	if age := time.Since(t.time); age >= freshness || age <= -freshness {
		return nil, refusedStale
	}
	if tag, _, _ := strings.Cut(sid, "_"); tag != f.options.Tag {
		return nil, refusedForeign
	}
	if reason := f.seen.add(t); reason != "" {
		return nil, reason
	}
	return t, ""
}

// refuse answers a request that is not believed. The header tells the other node why, and what time it is here.
func (f *Forwarder) refuse(w http.ResponseWriter, r *http.Request, reason string) {
	f.refused.add(reason)
	f.complain.Do(func() {
		f.options.Logger.Warn("forwarded request is refused", "reason", reason, "from", r.RemoteAddr, "remedy", remedy(reason))
	})
	if reason == refusedSignature && f.options.Doubt != nil {
		f.doubt.Do(f.options.Doubt)
	}
	w.Header().Set(header, reason+" "+strconv.FormatInt(time.Now().UnixMilli(), 10))
	http.Error(w, fmt.Sprintf("forward refused: %s", reason), http.StatusForbidden)
}

func reasonOf(refusal string) string {
	reason, _, _ := strings.Cut(refusal, " ")
	return reason
}

// remedy says what an operator can do about a reason.
func remedy(refusal string) string {
	switch reasonOf(refusal) {
	case refusedSignature:
		return "give all nodes the same cluster secret"
	case refusedStale:
		return "set the clocks of the nodes: they must not differ by more than " + freshness.String()
	case refusedForeign:
		return "the address that the owner advertises leads to another node: advertise one that all hosts can reach"
	case refusedNoSecret:
		return "the owner has no cluster secret yet"
	case refusedUnsigned:
		return "only nodes of the cluster may use the internal address"
	}
	return "none if it happens once; else somebody forges requests"
}
