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
	dto "github.com/prometheus/client_model/go"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/forward"
)

// seriesLimit is how many series a node may export without Options.Events, histograms left out.
const seriesLimit = 1200

// fullServer has every value of every label, and no other.
func fullServer() *fakeServer {
	count := func(keys []string) map[string]uint64 {
		m := make(map[string]uint64)
		for _, k := range keys {
			m[k] = 1
		}
		return m
	}
	reasons := make(map[socketio.Reason]uint64)
	for _, r := range []socketio.Reason{
		socketio.TransportClose, socketio.TransportError, socketio.PingTimeout, socketio.ParseError, socketio.ForcedClose,
		socketio.ForcedServerClose, socketio.ServerShutdown, socketio.ServerNamespaceDisconnect,
		socketio.ClientNamespaceDisconnect, socketio.SlowConsumer, socketio.SlowHandler,
	} {
		reasons[r] = 1
	}
	f := &fakeServer{stats: socketio.Stats{
		NetLoopForm: "epoll", NetLoop: map[string]int64{"fast": 1, "portable": 1}, Nodes: 1,
		Upgrades: count(upgrades), Rejected: count(rejections), Dropped: count(drops), ServerSide: count(serverSideResults),
		Ignored: count(ignoredReasons), MessagesIn: observedByServer(), PacketsOut: observedByServer(),
		Adapter: &adapter.Stats{
			Published: count(channelKinds), PublishErrors: count(publishErrors), Gaps: count(gaps), Requests: count(outcomes),
			Dropped: count(lost), Streams: &adapter.StreamStats{},
		},
	}}
	for _, name := range transports {
		f.stats.Transports = append(f.stats.Transports, socketio.TransportStats{Name: name, Closed: reasons, Handshakes: count(handshakes)})
	}
	for i := range maxNamespaces {
		name := fmt.Sprintf("/n%d", i)
		if i == maxNamespaces-1 {
			name = other
		}
		f.stats.Namespaces = append(f.stats.Namespaces, socketio.NamespaceStats{
			Name: name, Connects: count(joins), Disconnects: reasons, Asked: count(ackResults), Recoveries: count(recoveryResults),
			EventsReceived: 1000,
		})
	}
	return f
}

// gatherAll returns everything that a collector of a full server and one of a forwarder export.
func gatherAll(t *testing.T, o Options) map[string]*dto.MetricFamily {
	t.Helper()
	f := fullServer()
	r := register(t, f, o)
	r.MustRegister(forwardCollector{fakeForwarder{}})
	happen(f.trace)
	for _, n := range f.stats.Namespaces {
		f.trace.Acked(n.Name, time.Millisecond)
		if f.trace.EventReceived != nil {
			f.trace.EventReceived(n.Name, o.Events[0])
		}
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]*dto.MetricFamily)
	for _, family := range families {
		byName[family.GetName()] = family
	}
	return byName
}

// A node exports what Metrics lists, with these labels and values and so many series, and no more than an operator was promised.
func TestSeries(t *testing.T) {
	families := gatherAll(t, Options{})
	sum, all := 0, 0
	for _, m := range Metrics() {
		family := families[m.Name]
		delete(families, m.Name)
		if family == nil {
			t.Errorf("%s is listed, but not exported", m.Name)
			continue
		}
		n := 0
		for _, series := range family.Metric {
			stray := false
			for _, pair := range series.Label {
				i := slices.IndexFunc(m.Labels, func(l Label) bool { return l.Name == pair.GetName() })
				if i < 0 {
					t.Errorf("%s has a label %s, which is not listed", m.Name, pair.GetName())
				} else if l := m.Labels[i]; l.Name != "namespace" && !slices.Contains(l.Values, pair.GetValue()) {
					stray = true // of an invented transport
				}
			}
			if !stray {
				n++
			}
		}
		if n != m.Series {
			t.Errorf("%s has %d series, listed are %d", m.Name, n, m.Series)
		}
		if want := strings.ToLower(family.GetType().String()); want != m.Type || family.GetHelp() != m.Help {
			t.Errorf("%s is a %s, listed is %s", m.Name, want, m.Type)
		}
		if h := family.Metric[0].GetHistogram(); h != nil {
			var bounds []float64
			for _, b := range h.Bucket {
				bounds = append(bounds, b.GetUpperBound())
			}
			if m.Name != "chorus_packet_bytes" && m.Name != "chorus_packets_per_flush" && !slices.Equal(bounds, m.Buckets) {
				t.Errorf("%s has buckets %v, listed are %v", m.Name, bounds, m.Buckets)
			}
		}
		all += m.Series
		if m.Type != "histogram" {
			sum += m.Series
		}
	}
	for name := range families {
		t.Errorf("%s is exported, but not listed", name)
	}
	t.Logf("%d series, %d of them no histograms", all, sum)
	if sum >= seriesLimit {
		t.Errorf("%d series, want less than %d", sum, seriesLimit)
	}
}

// Names keep to the conventions: base units, _total for counters alone.
func TestLint(t *testing.T) {
	f := fullServer()
	r := register(t, f, Options{})
	r.MustRegister(forwardCollector{fakeForwarder(forward.Stats{})})
	happen(f.trace)
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestClassicOnly(t *testing.T) {
	for name, family := range gatherAll(t, Options{ClassicOnly: true}) {
		for _, m := range family.Metric {
			if h := m.GetHistogram(); h != nil && (h.Schema != nil || len(h.PositiveSpan) > 0 || len(h.Bucket) == 0) {
				t.Errorf("%s has a native form: %v", name, h)
			}
		}
	}
}

// Events of the list count by name, all others together.
func TestEvents(t *testing.T) {
	f := busyServer(1) // 30 events in /n0, 12 panics
	r := register(t, f, Options{Events: []string{"chat", "typing", "chat"}})
	for range 20 {
		f.trace.EventReceived("/n0", "chat")
		f.trace.EventReceived("/n0", "anything")
	}
	f.trace.HandlerDone("chat", time.Millisecond, nil)
	f.trace.HandlerDone("chat", time.Millisecond, errors.New("no panic"))
	f.trace.HandlerDone("typing", time.Second, &socketio.PanicError{})
	f.trace.HandlerDone("anything", time.Second, &socketio.PanicError{})
	want := `# HELP chorus_events_received_total Events received from clients.
# TYPE chorus_events_received_total counter
chorus_events_received_total{event="chat",namespace="/n0"} 20
chorus_events_received_total{event="other",namespace="/n0"} 10
chorus_events_received_total{event="typing",namespace="/n0"} 0
# HELP chorus_handler_panics_total Handlers that panicked; each ended its socket. Other functions of the application count as other.
# TYPE chorus_handler_panics_total counter
chorus_handler_panics_total{event="chat"} 0
chorus_handler_panics_total{event="other"} 11
chorus_handler_panics_total{event="typing"} 1
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want), "chorus_events_received_total", "chorus_handler_panics_total"); err != nil {
		t.Error(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	handled := make(map[string]uint64)
	for _, family := range families {
		if family.GetName() == "chorus_handler_seconds" {
			for _, m := range family.Metric {
				handled[m.Label[0].GetValue()] = m.GetHistogram().GetSampleCount()
			}
		}
	}
	if handled["chat"] != 2 || handled["typing"] != 1 || handled["other"] != 1 || len(handled) != 3 {
		t.Errorf("handlers count %v", handled)
	}
}

func TestTooManyEvents(t *testing.T) {
	names := make([]string, MaxEvents+1)
	if _, err := NewCollector(nil, Options{Events: names}); err == nil || !strings.Contains(err.Error(), "65 names") {
		t.Errorf("NewCollector = %v, want an error that counts the names", err)
	}
}

func TestEventsThatCannotBeLabels(t *testing.T) {
	if _, err := NewCollector(nil, Options{Events: []string{"chat", "\xff"}}); err == nil || !strings.Contains(err.Error(), `"\xff"`) {
		t.Errorf("NewCollector = %v, want an error that names the event", err)
	}
	c := newCollector(&fakeServer{}, Options{Events: []string{other, "chat"}})
	c.events.came("/", other)
	c.events.came("/", "chat")
	if got := c.events.received("/", 5); got[other] != 4 || got["chat"] != 1 || len(got) != 2 {
		t.Errorf("received %v, want 4 of others, of which one has that name, and a chat", got)
	}
}

// A native histogram that would have more buckets than are allowed has wider ones.
func TestNativeBuckets(t *testing.T) {
	h := socketio.Histogram{Fine: make(map[int]int64)}
	for i := -100; i < 100; i++ {
		h.Fine[i] = 1
		h.Count++
	}
	ch := make(chan prometheus.Metric, 1)
	sink{ch: ch, native: true}.histogram(queueWait, h)
	var m dto.Metric
	if err := (<-ch).Write(&m); err != nil {
		t.Fatal(err)
	}
	if got := m.GetHistogram(); got.GetSchema() != 2 || len(got.GetPositiveDelta()) > maxBuckets || got.GetSampleCount() != 200 {
		t.Errorf("schema %d with %d buckets, want 2 with at most %d", got.GetSchema(), len(got.GetPositiveDelta()), maxBuckets)
	}
	got := halved(map[int]int64{-3: 1, -2: 2, -1: 4, 0: 8, 1: 16, 2: 32, 3: 64})
	for i, want := range map[int]int64{-1: 3, 0: 12, 1: 48, 2: 64} {
		if got[i] != want {
			t.Errorf("halved[%d] = %d, want %d", i, got[i], want)
		}
	}
}
