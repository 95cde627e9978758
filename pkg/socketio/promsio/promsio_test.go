package promsio

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio"
)

// fakeServer is a server that did what stats says.
type fakeServer struct {
	stats socketio.Stats
	trace *socketio.Trace
}

func (f *fakeServer) Stats() socketio.Stats      { return f.stats }
func (f *fakeServer) AddTrace(t *socketio.Trace) { f.trace = t }

// register returns a registry that refuses metrics that were not described or come twice.
func register(t *testing.T, f *fakeServer, o Options) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(newCollector(f, o)); err != nil {
		t.Fatalf("Register: %v", err)
	}
	return r
}

// busyServer has every figure, with label values from inside and outside the closed lists.
func busyServer(namespaces int) *fakeServer {
	count := func(keys ...string) map[string]uint64 {
		m := make(map[string]uint64)
		for i, k := range append(keys, "invented") {
			m[k] = uint64(i + 1)
		}
		return m
	}
	reasons := map[socketio.Reason]uint64{
		"transport close": 1, "transport error": 2, "ping timeout": 3, "parse error": 4, "forced close": 5,
		"server shutting down": 6, "slow consumer": 7, "slow handler": 8, "invented": 9,
	}
	f := &fakeServer{stats: socketio.Stats{
		Upgrades: count(upgrades...), Rejected: count(rejections...), Dropped: count(drops...),
		MessagesIn: observedByServer(), PacketsOut: observedByServer(),
		QueueBytes: 10, QueueMessages: 11, HandlerPanics: 12, Draining: true,
		Nodes:      3,
		Requests:   map[socketio.RequestKey]uint64{{Type: "fetch", Result: "ok"}: 4, {Type: "count", Result: "timeout"}: 5},
		ServerSide: count(serverSideResults...), Ignored: count(ignoredReasons...),
		Adapter: &adapter.Stats{
			Up:            map[adapter.Role]bool{adapter.RolePublish: true},
			Published:     count(channelKinds...),
			PublishErrors: count(publishErrors...),
			Received:      map[adapter.ReceivedKey]uint64{{Kind: "room", Result: "own"}: 14, {Kind: "invented", Result: "own"}: 1},
			Reconnects:    map[adapter.ReconnectKey]uint64{{Role: adapter.RoleSubscribe, Cause: "watchdog"}: 15},
			Subscriptions: map[string]int{"channel": 16},
			PublishQueue:  17,
			Dropped:       count(drops...),
			Gaps:          count(gaps...),
			Members:       18,
			Strangers:     19,
			Pool:          map[string]int{"idle": 1, "used": 2, "stale": 3},
			Streams:       &adapter.StreamStats{Lag: 20, Trimmed: 21},
			Requests:      count(outcomes...),
		},
	}}
	for _, name := range transports {
		f.stats.Transports = append(f.stats.Transports, socketio.TransportStats{
			Name: name, Open: 1, Opened: 2, BytesReceived: 3, BytesSent: 4, Deliveries: 5, Flushes: 6,
			Closed: reasons, Handshakes: count(handshakes...), PerFlush: observedByServer(),
		})
	}
	for i := range namespaces {
		f.stats.Namespaces = append(f.stats.Namespaces, socketio.NamespaceStats{
			Name: fmt.Sprintf("/n%d", i), Sockets: 1, Rooms: 2, Connects: count(connects...), Disconnects: reasons,
			EventsReceived: 30, Asked: count(ackResults...), Recoveries: count(recoveryResults...), Sessions: 1, Emits: 4, Acks: 5, RoomJoins: 6, RoomLeaves: 7,
			Broadcasts: map[socketio.BroadcastKey]uint64{{Origin: "local", Scope: "all"}: 8, {Origin: "local", Scope: "rooms"}: 9, {Origin: "remote", Scope: "except"}: 10},
		})
	}
	return f
}

// observedByServer is a histogram with three observations.
func observedByServer() socketio.Histogram {
	return socketio.Histogram{Count: 3, Sum: 70, Classic: map[float64]uint64{1: 0, 64: 2}, Fine: map[int]int64{8: 2, 60: 1}}
}

// happen lets everything happen once that a trace can tell.
func happen(t *socketio.Trace) {
	for _, origin := range append(slices.Clone(origins), "invented") {
		t.BroadcastDone(origin, 3, time.Millisecond)
		t.Delivered(origin, 2*time.Millisecond)
	}
	t.Delivered("remote", -6*time.Millisecond)
	for _, transport := range append(slices.Clone(transports), "invented") {
		t.SessionClosed(transport, "ping timeout", time.Minute)
		t.HandshakeDone(transport, time.Millisecond)
		t.Compressed(transport, 0.2)
	}
	for i := range 100 {
		t.HandlerDone(fmt.Sprintf("event %d", i), time.Millisecond, nil)
	}
	for _, transport := range transports {
		t.Pong(transport, time.Millisecond)
	}
	t.Upgraded("websocket", time.Millisecond)
	t.Queued(time.Millisecond)
	t.Recovered(3)
	t.Acked("/n0", time.Millisecond)
	for _, requestType := range requestTypes {
		t.RequestDone(requestType, "ok", time.Millisecond)
	}
	t.Adapter.Published(7, time.Millisecond, nil)
	t.Adapter.Published(5000, time.Minute, errors.New("given up")) // no pipeline held them, and Redis did not answer
	t.Adapter.Gap(time.Second)
}

func TestValues(t *testing.T) {
	f := busyServer(1)
	r := register(t, f, Options{})
	happen(f.trace)
	tests := []struct{ name, want string }{
		{"chorus_connections", `# HELP chorus_connections Open connections by their present transport.
# TYPE chorus_connections gauge
chorus_connections{transport="polling"} 1
chorus_connections{transport="websocket"} 1
`},
		{"chorus_connections_closed_total", closedText()},
		{"chorus_slow_consumer_closes_total", `# HELP chorus_slow_consumer_closes_total Connections closed because their queue was full.
# TYPE chorus_slow_consumer_closes_total counter
chorus_slow_consumer_closes_total{transport="polling"} 7
chorus_slow_consumer_closes_total{transport="websocket"} 7
`},
		{"chorus_events_sent_total", `# HELP chorus_events_sent_total Events that this node emitted: to one socket, as a broadcast, or as an acknowledgement.
# TYPE chorus_events_sent_total counter
chorus_events_sent_total{kind="ack",namespace="/n0"} 5
chorus_events_sent_total{kind="broadcast",namespace="/n0"} 17
chorus_events_sent_total{kind="emit",namespace="/n0"} 4
`},
		{"chorus_redis_up", `# HELP chorus_redis_up Whether the connection to Redis works.
# TYPE chorus_redis_up gauge
chorus_redis_up{role="publish"} 1
chorus_redis_up{role="subscribe"} 0
`},
		{"chorus_cluster_nodes", "# HELP chorus_cluster_nodes Nodes that this one believes in, itself included.\n# TYPE chorus_cluster_nodes gauge\nchorus_cluster_nodes 3\n"},
		{"chorus_adapter_requests_total", requestsText()},
		{"chorus_draining", "# HELP chorus_draining 1 while the node refuses new connections.\n# TYPE chorus_draining gauge\nchorus_draining 1\n"},
		{"chorus_clock_skew_total", `# HELP chorus_clock_skew_total Sampled deliveries that came more than 5 ms before they were sent, by the clocks of two nodes.
# TYPE chorus_clock_skew_total counter
chorus_clock_skew_total 1
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := testutil.GatherAndCompare(r, strings.NewReader(tt.want), tt.name); err != nil {
				t.Error(err)
			}
		})
	}
}

func requestsText() string {
	var b strings.Builder
	b.WriteString("# HELP chorus_adapter_requests_total Requests to the other nodes.\n# TYPE chorus_adapter_requests_total counter\n")
	n := map[string]int{"fetch ok": 4, "count timeout": 5}
	for _, t := range []string{"fetch", "count", "join", "leave", "disconnect", "serverside_emit", "broadcast_ack"} {
		for _, result := range []string{"ok", "partial", "timeout", "error"} {
			fmt.Fprintf(&b, "chorus_adapter_requests_total{result=%q,type=%q} %d\n", result, t, n[t+" "+result])
		}
	}
	return b.String()
}

func closedText() string {
	var b strings.Builder
	b.WriteString("# HELP chorus_connections_closed_total Closed connections by their last transport and what ended them; limit is a handler that did not keep up.\n# TYPE chorus_connections_closed_total counter\n")
	for _, transport := range transports {
		for _, c := range []struct {
			reason string
			n      int
		}{{"client", 1}, {"server", 5}, {"ping_timeout", 3}, {"transport_error", 2}, {"parse_error", 4}, {"slow_consumer", 7}, {"drain", 6}, {"limit", 8}, {"other", 9}} {
			fmt.Fprintf(&b, "chorus_connections_closed_total{reason=%q,transport=%q} %d\n", c.reason, transport, c.n)
		}
	}
	return b.String()
}

func TestObservations(t *testing.T) {
	f := busyServer(1)
	r := register(t, f, Options{})
	happen(f.trace)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]uint64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if h := m.GetHistogram(); h != nil {
				got[family.GetName()] += h.GetSampleCount()
				if len(h.GetPositiveSpan()) == 0 && h.GetSampleCount() > 0 {
					t.Errorf("%s has no native histogram", family.GetName())
				}
			}
		}
	}
	want := map[string]uint64{
		"chorus_connection_duration_seconds": 3, "chorus_broadcast_recipients": 2, "chorus_broadcast_fanout_seconds": 2,
		"chorus_broadcast_delivery_seconds": 2, "chorus_handler_seconds": 100, "chorus_redis_publish_seconds": 1,
		"chorus_adapter_request_seconds": 7, "chorus_redis_publish_batch": 1, "chorus_redis_gap_seconds": 1,
		"chorus_handshake_seconds": 3, "chorus_upgrade_seconds": 1, "chorus_ping_rtt_seconds": 2, "chorus_compression_ratio": 3,
		"chorus_write_queue_wait_seconds": 1, "chorus_recovered_packets": 1, "chorus_ack_seconds": 1, "chorus_packet_bytes": 6,
		"chorus_packets_per_flush": 6,
	}
	for name, n := range want {
		if got[name] != n {
			t.Errorf("%s counts %d observations, want %d", name, got[name], n)
		}
	}
}
