package promsio

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio"
)

var (
	latencyBuckets  = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	durationBuckets = []float64{1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600} // a connection lives long
	gapBuckets      = []float64{.01, .05, .1, .5, 1, 2.5, 5, 10, 30, 60, 300}
	fanoutBuckets   = []float64{1, 10, 100, 1e3, 1e4, 1e5, 1e6}
	batchBuckets    = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256}
)

// eventMetrics are those that single happenings feed, by socketio.Trace.
type eventMetrics struct {
	duration   *prometheus.HistogramVec // by transport
	recipients *prometheus.HistogramVec // by origin
	fanout     *prometheus.HistogramVec // by origin
	delivery   *prometheus.HistogramVec // by origin
	skew       prometheus.Counter
	handler    *prometheus.HistogramVec // by event
	request    *prometheus.HistogramVec // by type
	publish    prometheus.Histogram
	batch      prometheus.Histogram
	gap        prometheus.Histogram
}

func newEventMetrics() eventMetrics {
	m := eventMetrics{
		duration:   histogramVec("connection_duration_seconds", "How long closed connections lived.", durationBuckets, "transport"),
		recipients: histogramVec("broadcast_recipients", "Sockets of this node that a broadcast was queued for.", fanoutBuckets, "origin"),
		fanout:     histogramVec("broadcast_fanout_seconds", "From the packet in hand to the last queue filled.", latencyBuckets, "origin"),
		delivery:   histogramVec("broadcast_delivery_seconds", "From the emit on the first node to the write to a socket of this node (sampled).", latencyBuckets, "origin"),
		skew: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "clock_skew_total",
			Help: "Sampled deliveries that came before they were sent, by the clocks of two nodes."}),
		handler: histogramVec("handler_seconds", "How long event handlers ran.", latencyBuckets, "event"),
		request: histogramVec("adapter_request_seconds", "How long requests to the other nodes took.", latencyBuckets, "type"),
		publish: prometheus.NewHistogram(histogramOpts("redis_publish_seconds", "From the queue to the answer of Redis, for the oldest message of a pipeline.", latencyBuckets)),
		batch:   prometheus.NewHistogram(histogramOpts("redis_publish_batch", "Messages per pipeline.", batchBuckets)),
		gap:     prometheus.NewHistogram(histogramOpts("redis_gap_seconds", "How long nothing could be heard before a subscription was back.", gapBuckets)),
	}
	for _, transport := range transports {
		m.duration.WithLabelValues(transport)
	}
	for _, t := range requestTypes {
		m.request.WithLabelValues(t)
	}
	return m
}

func histogramOpts(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

func histogramVec(name, help string, buckets []float64, label string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(histogramOpts(name, help, buckets), []string{label})
}

func (m *eventMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.duration, m.recipients, m.fanout, m.delivery, m.skew, m.handler, m.request, m.publish, m.batch, m.gap}
}

// trace returns functions that feed the metrics. Series are looked up beforehand, as some functions run for
// every event.
func (m *eventMetrics) trace() *socketio.Trace {
	recipients, fanout, delivery := byOrigin(m.recipients), byOrigin(m.fanout), byOrigin(m.delivery)
	handler := m.handler.WithLabelValues(other)
	return &socketio.Trace{
		SessionClosed: func(transport string, _ socketio.Reason, age time.Duration) {
			m.duration.WithLabelValues(bounded(transports, transport)).Observe(age.Seconds())
		},
		BroadcastDone: func(origin string, n int, d time.Duration) {
			recipients(origin).Observe(float64(n))
			fanout(origin).Observe(d.Seconds())
		},
		Delivered: func(origin string, latency time.Duration) {
			if latency < 0 {
				m.skew.Inc()
				return
			}
			delivery(origin).Observe(latency.Seconds())
		},
		HandlerDone: func(_ string, d time.Duration, _ error) { handler.Observe(d.Seconds()) },
		RequestDone: func(requestType, _ string, d time.Duration) {
			m.request.WithLabelValues(bounded(requestTypes, requestType)).Observe(d.Seconds())
		},
		Adapter: adapter.Trace{
			Published: func(messages int, wait time.Duration, err error) {
				if err != nil {
					return // redis_publish_errors_total has them
				}
				m.batch.Observe(float64(messages))
				m.publish.Observe(wait.Seconds())
			},
			Gap: func(d time.Duration) { m.gap.Observe(d.Seconds()) },
		},
	}
}

// byOrigin returns the series of a histogram by origin: local, or remote for everything else.
func byOrigin(v *prometheus.HistogramVec) func(origin string) prometheus.Observer {
	local, remote := v.WithLabelValues("local"), v.WithLabelValues("remote")
	return func(origin string) prometheus.Observer {
		if origin == "local" {
			return local
		}
		return remote
	}
}
