package promsio

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"example.com/chorus/pkg/socketio/forward"
)

type fakeForwarder forward.Stats

func (f fakeForwarder) Stats() forward.Stats { return forward.Stats(f) }

func TestForwarder(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(forwardCollector{fakeForwarder{
		Forwarded: map[string]uint64{"ok": 7, "gone": 1, "invented": 2}, Refused: map[string]uint64{"replayed": 3}, Relayed: 4, Reachable: 2,
	}})
	want := `
# HELP chorus_forward_nodes Other nodes to which requests can be passed on.
# TYPE chorus_forward_nodes gauge
chorus_forward_nodes 2
# HELP chorus_forwards_refused_total Forwards that were not believed.
# TYPE chorus_forwards_refused_total counter
chorus_forwards_refused_total{reason="foreign"} 0
chorus_forwards_refused_total{reason="malformed"} 0
chorus_forwards_refused_total{reason="no_secret"} 0
chorus_forwards_refused_total{reason="outside"} 0
chorus_forwards_refused_total{reason="replayed"} 3
chorus_forwards_refused_total{reason="signature"} 0
chorus_forwards_refused_total{reason="stale"} 0
chorus_forwards_refused_total{reason="unsigned"} 0
# HELP chorus_relayed_connections WebSockets of other nodes' sessions that pass through this one.
# TYPE chorus_relayed_connections gauge
chorus_relayed_connections 4
# HELP chorus_requests_forwarded_total Requests for sessions of other nodes, by how passing them on ended.
# TYPE chorus_requests_forwarded_total counter
chorus_requests_forwarded_total{result="gone"} 1
chorus_requests_forwarded_total{result="ok"} 7
chorus_requests_forwarded_total{result="other"} 2
chorus_requests_forwarded_total{result="refused"} 0
chorus_requests_forwarded_total{result="unreachable"} 0
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(r); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
}
