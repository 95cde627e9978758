package node

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync/atomic"
)

// sidLength is the length of a session id without its route tag.
const sidLength = 20

// front is the balancer of the demo. It routes by the tag in the session id, so it needs no cookie and keeps
// no state: what HAProxy or nginx do in front of a real cluster.
type front struct {
	endpoint *endpoint
	path     string
	log      *slog.Logger

	nodes     []frontNode
	next      atomic.Uint64 // counts handshakes
	transport *http.Transport
}

// frontNode is one node behind the front.
type frontNode struct {
	tag, addr string
}

func newFront(e *endpoint, path string, log *slog.Logger) *front {
	return &front{
		endpoint: e, path: path, log: log.With("node", "front"),
		// A long poll holds a connection of its own, so many may be idle between two polls.
		transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
	}
}

// add puts a node behind the front; before serve only.
func (f *front) add(tag, addr string) {
	f.nodes = append(f.nodes, frontNode{tag: tag, addr: addr})
}

// serve starts to answer; a listener that ends by itself is reported to failed.
func (f *front) serve(failed failures) {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme = "http"
			r.Out.URL.Host = r.In.Host // RoundTrip chooses the node
			r.Out.Host = r.In.Host     // nodes compare it with the origin
			r.SetXForwarded()
		},
		Transport: f,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			f.log.DebugContext(r.Context(), "no node answered", "url", r.URL.Path, "error", err)
			http.Error(w, "no node answered", http.StatusBadGateway)
		},
		ErrorLog: slog.NewLogLogger(f.log.Handler(), slog.LevelDebug),
	}
	f.endpoint.serve(proxy, nil, f.log, failed)
}

// RoundTrip sends a request to the node that it belongs to, or to the first candidate that takes it.
func (f *front) RoundTrip(r *http.Request) (*http.Response, error) {
	candidates := f.candidates(r)
	for i, n := range candidates {
		out := r.Clone(r.Context())
		out.URL.Host = n.addr
		response, err := f.transport.RoundTrip(out)
		if i == len(candidates)-1 || r.Context().Err() != nil {
			return response, err
		}
		switch {
		case err != nil:
			f.log.Debug("node is away", "to", n.tag, "error", err)
		case response.StatusCode == http.StatusServiceUnavailable:
			_ = response.Body.Close() // refused: it is draining or full
		default:
			return response, nil
		}
	}
	return nil, http.ErrServerClosed // no nodes: never served
}

// candidates returns the nodes that may answer, the preferred first. Only requests without a body have several.
func (f *front) candidates(r *http.Request) []frontNode {
	query := r.URL.Query()
	engine := strings.HasPrefix(r.URL.Path, f.path) && query.Has("transport")
	if sid := query.Get("sid"); engine && sid != "" {
		tag := strings.TrimSuffix(sid[:max(0, len(sid)-sidLength)], "_")
		for _, n := range f.nodes {
			if n.tag == tag {
				return []frontNode{n}
			}
		}
		return f.nodes[:1] // answers that it does not know the session
	}
	first := 0 // pages and files are the same everywhere and must not disturb the round
	if engine {
		first = int((f.next.Add(1) - 1) % uint64(len(f.nodes)))
	}
	order := append(append(make([]frontNode, 0, len(f.nodes)), f.nodes[first:]...), f.nodes[:first]...)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return order[:1]
	}
	return order
}

// shutdown ends the front at the latest when ctx ends.
func (f *front) shutdown(ctx context.Context) {
	if f.endpoint.server == nil {
		f.endpoint.close()
		return
	}
	f.endpoint.shutdown(ctx)
	f.transport.CloseIdleConnections()
}
