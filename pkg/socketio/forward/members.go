package forward

import (
	"context"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"time"

	"example.com/chorus/pkg/adapter"
)

// Limits of the connections to one node.
const (
	maxIdle     = 1024 // a poll holds a connection of its own, so many are idle between two polls
	idleTimeout = 90 * time.Second
)

// peer is another live node. Everything that is under way to it ends with ctx.
type peer struct {
	node      adapter.Node
	arrival   uint64
	ctx       context.Context
	cancel    context.CancelFunc
	transport *http.Transport
	proxy     *httputil.ReverseProxy
	relays    map[*relay]struct{} // guarded by Forwarder.mu
}

// host returns the host of a request as net/http sends it on: the one that the client asked for, with which the owner compares
// the origin.
func (p *peer) host(asked string) string {
	if asked == "" { // HTTP/1.0
		return p.node.Address
	}
	if i := strings.LastIndexByte(asked, ']'); i > 0 && asked[0] == '[' {
		if zone := strings.LastIndexByte(asked[:i], '%'); zone > 0 {
			return asked[:zone] + asked[i:]
		}
	}
	return asked
}

// follow keeps the peers to the membership.
func (f *Forwarder) follow(m adapter.Member) {
	m.OnMembership(func(members []adapter.Node) { f.update(members, true) })
	// What is called before Members has returned is newer than that.
	f.update(m.Members(), false)
}

// update drops the peers that are no members any more, or elsewhere, and adds the new ones.
func (f *Forwarder) update(members []adapter.Node, called bool) {
	f.mu.Lock()
	if f.draining || f.told && !called {
		f.mu.Unlock()
		return
	}
	f.told = f.told || called
	live := make(map[string]*peer, len(members))
	var twins, lost []*peer
	for _, node := range members {
		if node.Tag == "" || node.Address == "" {
			continue
		}
		p := f.peers[node.ID]
		if p == nil || p.node.Tag != node.Tag || p.node.Address != node.Address {
			p = f.newPeerLocked(node)
			if node.Tag == f.options.Tag {
				twins = append(twins, p)
			}
		}
		live[node.ID] = p
	}
	for id, p := range f.peers {
		if live[id] != p {
			lost = append(lost, p)
		}
	}
	f.peers = live
	f.indexLocked()
	cut := relaysOf(lost)
	f.mu.Unlock()

	for _, p := range twins {
		f.options.Logger.Warn("another node has the same route tag: if it stays, requests for its sessions fail here",
			"tag", p.node.Tag, "other", p.node.String(), "address", p.node.Address)
	}
	end(lost, cut)
}

func relaysOf(peers []*peer) (relays []*relay) {
	for _, p := range peers {
		relays = slices.AppendSeq(relays, maps.Keys(p.relays))
	}
	return relays
}

// end ends everything that is under way to nodes.
func end(peers []*peer, relays []*relay) {
	for _, p := range peers {
		p.cancel()
		p.transport.CloseIdleConnections()
	}
	for _, r := range relays {
		r.cut()
	}
}

// indexLocked makes the peers known by their tags. Of two with one tag the newer counts: a node that was restarted under its
// name is there beside its former self, until that counts as lost.
func (f *Forwarder) indexLocked() {
	byTag := make(map[string]*peer, len(f.peers))
	for _, p := range f.peers {
		if p.node.Tag == f.options.Tag {
			continue
		}
		if other := byTag[p.node.Tag]; other == nil || other.arrival < p.arrival {
			byTag[p.node.Tag] = p
		}
	}
	f.byTag.Store(&byTag)
}

func (f *Forwarder) newPeerLocked(node adapter.Node) *peer {
	f.arrivals++
	p := &peer{node: node, arrival: f.arrivals, relays: make(map[*relay]struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.transport = &http.Transport{ // HTTP/1.1 only: HTTP/2 costs more here
		DialContext:           f.dial,
		MaxIdleConnsPerHost:   maxIdle,
		IdleConnTimeout:       idleTimeout,
		DisableCompression:    true, // as the client asked
		ExpectContinueTimeout: f.options.UpgradeTimeout,
	}
	p.proxy = &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { f.rewrite(r, p) },
		Transport:      p.transport,
		BufferPool:     bufferPool{},
		ModifyResponse: answered,
		ErrorHandler:   failed,
		ErrorLog:       log.New(io.Discard, "", 0), // failed knows all that matters
	}
	return p
}

// dropAll cuts everything.
func (f *Forwarder) dropAll() {
	f.mu.Lock()
	lost := slices.Collect(maps.Values(f.peers))
	clear(f.peers)
	f.indexLocked()
	cut := slices.Collect(maps.Keys(f.relays))
	f.mu.Unlock()
	end(lost, cut)
}
