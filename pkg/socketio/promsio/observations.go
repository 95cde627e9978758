package promsio

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio"
)

// What single happenings feed, by socketio.Trace.
var (
	duration    = observed("connection_duration_seconds", "How long closed connections lived.", durationBuckets, byTransport)
	handshake   = observed("handshake_seconds", "From the request of a new connection to its answer; the wait for a limit included.", latencyBuckets, byTransport)
	upgrade     = observed("upgrade_seconds", "From the acceptance of a new transport to the change to it.", latencyBuckets, closed("to", []string{"websocket"}))
	pingRTT     = observed("ping_rtt_seconds", "From the queueing of a ping to its answer.", latencyBuckets, byTransport)
	compression = observed("compression_ratio", "Part of its size that was left of what was compressed: a broadcast once for all WebSockets, a polling answer each time.", ratioBuckets, byTransport)
	recipients  = observed("broadcast_recipients", "Sockets of this node that a broadcast was queued for.", fanouts.Bounds(), byOrigin)
	fanout      = observed("broadcast_fanout_seconds", "From the packet in hand to the last queue filled.", latencyBuckets, byOrigin)
	delivery    = observed("broadcast_delivery_seconds", "From the emit on the first node to the write to a socket of this node (sampled: one receiver of each broadcast). Origin remote compares the clocks of two nodes.", latencyBuckets, byOrigin)
	queueWait   = observed("write_queue_wait_seconds", "How long packets waited for their write (sampled: one receiver of each broadcast, every 16th event to a single socket).", latencyBuckets)
	handler     = observed("handler_seconds", "How long event handlers ran.", latencyBuckets, byEvent)
	ack         = observed("ack_seconds", "From the question to a client to its acknowledgement.", latencyBuckets, byNamespace)
	request     = observed("adapter_request_seconds", "How long requests to the other nodes took.", latencyBuckets, closed("type", requestTypes))
	publish     = observed("redis_publish_seconds", "From the queue to the answer of Redis, for the oldest message of a pipeline.", latencyBuckets)
	batch       = observed("redis_publish_batch", "Messages per pipeline.", batchBuckets)
	gap         = observed("redis_gap_seconds", "How long nothing could be heard before a subscription was back.", gapBuckets)
	recovered   = observed("recovered_packets", "Events that a recovered client had missed, and got.", eventsBuckets)
	skew        = skewed()
)

// clockTolerance is how far clocks that are kept in time may differ.
const clockTolerance = 5 * time.Millisecond

func skewed() *metric {
	m := define("counter", "clock_skew_total", "Sampled deliveries that came more than 5 ms before they were sent, by the clocks of two nodes.")
	m.observed = true
	return m
}

func observed(name, help string, buckets []float64, labels ...Label) *metric {
	m := counted(name, help, buckets, labels...)
	m.observed = true
	return m
}

// observations are the histograms of one collector.
type observations struct {
	native bool

	pings, recipients, fanout, delivery, queueWait, handler often

	duration, handshake, upgrade, compression, ack, request, publish, batch, gap, recovered *prometheus.HistogramVec

	skew prometheus.Counter
}

func newObservations(names []string, native bool) *observations {
	return &observations{
		native:     native,
		pings:      newOften(pingRTT, latencies, transports...),
		recipients: newOften(recipients, fanouts, origins...),
		fanout:     newOften(fanout, latencies, origins...),
		delivery:   newOften(delivery, latencies, origins...),
		queueWait:  newOften(queueWait, latencies, ""),
		handler:    newOften(handler, latencies, append([]string{other}, names...)...),

		duration:    duration.seldom(native),
		handshake:   handshake.seldom(native),
		upgrade:     upgrade.seldom(native),
		compression: compression.seldom(native),
		ack:         ack.seldom(native),
		request:     request.seldom(native),
		publish:     publish.seldom(native),
		batch:       batch.seldom(native),
		gap:         gap.seldom(native),
		recovered:   recovered.seldom(native),

		skew: prometheus.NewCounter(prometheus.CounterOpts{Name: skew.Name, Help: skew.Help}),
	}
}

func (o *observations) often() []often {
	return []often{o.pings, o.recipients, o.fanout, o.delivery, o.queueWait, o.handler}
}

func (o *observations) seldom() []prometheus.Collector {
	return []prometheus.Collector{
		o.duration, o.handshake, o.upgrade, o.compression, o.ack, o.request, o.publish, o.batch, o.gap, o.recovered, o.skew,
	}
}

func (o *observations) describe(ch chan<- *prometheus.Desc) {
	for _, h := range o.often() {
		ch <- h.desc
	}
	for _, c := range o.seldom() {
		c.Describe(ch)
	}
}

func (o *observations) collect(s sink) {
	for _, h := range o.often() {
		h.collect(s)
	}
	for _, c := range o.seldom() {
		c.Collect(s.ch)
	}
}

// trace returns functions that feed the histograms, and the counts of events.
func (c *Collector) trace() *socketio.Trace {
	o := c.seen
	publish, batch, gap := o.publish.WithLabelValues(), o.batch.WithLabelValues(), o.gap.WithLabelValues()
	recovered, queueWait := o.recovered.WithLabelValues(), o.queueWait.of("")
	t := &socketio.Trace{
		SessionClosed: func(transport string, _ socketio.Reason, age time.Duration) {
			o.duration.WithLabelValues(bounded(transports, transport)).Observe(age.Seconds())
		},
		HandshakeDone: func(transport string, d time.Duration) {
			o.handshake.WithLabelValues(bounded(transports, transport)).Observe(d.Seconds())
		},
		Upgraded: func(to string, d time.Duration) {
			o.upgrade.WithLabelValues(bounded(transports, to)).Observe(d.Seconds())
		},
		Pong: func(transport string, rtt time.Duration) { o.pings.of(transport).Observe(rtt) },
		Compressed: func(transport string, ratio float64) {
			o.compression.WithLabelValues(bounded(transports, transport)).Observe(ratio)
		},
		BroadcastDone: func(origin string, n int, d time.Duration) {
			o.recipients.of(origin).Add(n)
			o.fanout.of(origin).Observe(d)
		},
		Delivered: func(origin string, latency time.Duration) {
			if latency < -clockTolerance {
				o.skew.Inc()
				return
			}
			o.delivery.of(origin).Observe(max(latency, 0))
		},
		Queued: queueWait.Observe,
		HandlerDone: func(event string, d time.Duration, err error) {
			o.handler.of(event).Observe(d)
			c.events.handled(event, err)
		},
		Acked: func(namespace string, d time.Duration) { o.ack.WithLabelValues(namespace).Observe(d.Seconds()) },
		RequestDone: func(requestType, _ string, d time.Duration) {
			o.request.WithLabelValues(bounded(requestTypes, requestType)).Observe(d.Seconds())
		},
		Recovered: func(events int) { recovered.Observe(float64(events)) },
		Adapter: adapter.Trace{
			Published: func(messages int, wait time.Duration, err error) {
				if err != nil {
					return // redis_publish_errors_total has them
				}
				batch.Observe(float64(messages))
				publish.Observe(wait.Seconds())
			},
			Gap: func(d time.Duration) { gap.Observe(d.Seconds()) },
		},
	}
	if len(c.events.names) > 0 {
		t.EventReceived = c.events.came
	}
	return t
}
