package socketio

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"example.com/chorus/pkg/adapter"
)

// errEnough ends a request whose caller has what it wanted.
var errEnough = errors.New("enough")

// requestType is what a request asks of the other nodes. It is an index into requestNames.
type requestType int

const (
	requestFetch requestType = iota
	requestCount
	requestJoin
	requestLeave
	requestDisconnect
	requestServerSideEmit
	requestBroadcastAck
)

var (
	requestNames  = [...]string{"fetch", "count", "join", "leave", "disconnect", "serverside_emit", "broadcast_ack"}
	requestResult = [...]string{"ok", "partial", "timeout", "error"}
)

// Indexes into requestResult.
const (
	resultOK = iota
	resultPartial
	resultTimeout
	resultError
)

// RequestKey tells requests to the other nodes apart.
type RequestKey struct {
	// Type is fetch, count, join, leave, disconnect, serverside_emit or broadcast_ack.
	Type string
	// Result is ok; partial, when not all nodes answered in time; timeout, when none did; or error. Clients that do not
	// acknowledge a broadcast change nothing.
	Result string
}

// What became of server-side events, and why messages of other nodes were not served.
const (
	serverSideHandled = iota
	serverSideFailed
	serverSideUnknown
	serverSideOverflow
)

const (
	ignoredOverflow = iota
	ignoredKind
	ignoredMalformed
)

var (
	serverSideNames = [...]string{"handled", "failed", "no_handler", "queue_full"}
	ignoredNames    = [...]string{"queue_full", "unknown_kind", "malformed"}
)

// clusterCounters count what a server asks of others and others of it.
type clusterCounters struct {
	requests   [len(requestNames)][len(requestResult)]atomic.Uint64
	serverSide [len(serverSideNames)]atomic.Uint64
	ignored    [len(ignoredNames)]atomic.Uint64
}

// clusterStats fills in what Stats says of the cluster.
func (s *Server) clusterStats(st *Stats) {
	st.Requests = make(map[RequestKey]uint64)
	for t, name := range requestNames {
		for r, result := range requestResult {
			st.Requests[RequestKey{name, result}] = s.cluster.requests[t][r].Load()
		}
	}
	st.ServerSide = make(map[string]uint64, len(serverSideNames))
	for i, name := range serverSideNames {
		st.ServerSide[name] = s.cluster.serverSide[i].Load()
	}
	st.Ignored = make(map[string]uint64, len(ignoredNames))
	for i, name := range ignoredNames {
		st.Ignored[name] = s.cluster.ignored[i].Load()
	}
	if m, ok := s.options.Adapter.(adapter.Member); ok {
		st.Nodes = 1 + len(m.Members())
	} else if s.alone {
		st.Nodes = 1
	}
}

// request asks the other nodes and hands what they answer over, one response at a time, until it returns.
func (n *Namespace) request(
	ctx context.Context, r adapter.Requester, t requestType, m *adapter.Message, response func(*adapter.Response),
) error {
	if deadline, limited := ctx.Deadline(); limited {
		m.Timeout = max(time.Until(deadline), 1)
	}
	start, answers := time.Now(), 0
	err := r.Request(ctx, m, func(r *adapter.Response) {
		answers++
		response(r)
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	n.server.requestDone(t, err, answers, time.Since(start))
	return err
}

// requestDone counts and traces a request.
func (s *Server) requestDone(t requestType, err error, answers int, d time.Duration) {
	result := resultError
	_, silent := errors.AsType[*adapter.SilentNodesError](err)
	ended := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	switch {
	case err == nil || t == requestBroadcastAck && ended && !silent: // all nodes answered; what clients do is another matter
		result = resultOK
	case silent && answers > 0:
		result = resultPartial
	case silent || ended:
		result = resultTimeout
	}
	s.cluster.requests[t][result].Add(1)
	for _, trace := range s.traceList() {
		if trace.RequestDone != nil {
			s.told("RequestDone", func() { trace.RequestDone(requestNames[t], requestResult[result], d) })
		}
	}
}
