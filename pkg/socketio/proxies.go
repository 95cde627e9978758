package socketio

import (
	"iter"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// fromClient returns the request as if it came from the client itself, if it came through Options.TrustedProxies. Each
// proxy adds the address of whom it was asked by, so the header is read from its end, and the first that is no proxy's
// is the client: what stands before was written by the client.
func (o *Options) fromClient(r *http.Request) *http.Request {
	if len(o.TrustedProxies) == 0 || !o.trusts(hostOf(r.RemoteAddr)) {
		return r
	}
	client := netip.Addr{}
	for hop := range hopsBackward(r.Header.Values("X-Forwarded-For")) {
		addr := hostOf(strings.TrimSpace(hop))
		if !addr.IsValid() {
			break // nobody vouches for what stands before it
		}
		client = addr
		if !o.trusts(addr) {
			break
		}
	}
	if !client.IsValid() {
		return r
	}
	c := *r
	c.RemoteAddr = net.JoinHostPort(client.String(), "0")
	return &c
}

// hopsBackward are the parts of the headers from the last one on. What clients wrote in front of what counts is not even
// looked at, however long it is.
func hopsBackward(headers []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, rest := range slices.Backward(headers) {
			for more := true; more; {
				i := strings.LastIndexByte(rest, ',')
				if more = i >= 0; !yield(rest[i+1:]) {
					return
				}
				rest = rest[:max(i, 0)]
			}
		}
	}
}

func (o *Options) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(o.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// hostOf returns the address of a peer or a hop, which may have a port; an invalid one if it is none.
func hostOf(text string) netip.Addr {
	if pair, err := netip.ParseAddrPort(text); err == nil {
		return pair.Addr().Unmap().WithZone("")
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}
