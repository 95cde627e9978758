package promsio

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"example.com/chorus/internal/histogram"
	"example.com/chorus/internal/netloop"
	"example.com/chorus/pkg/socketio"
)

// Native histograms have buckets that grow by no more than maxGrowth, and no more than maxBuckets of them.
const (
	maxGrowth  = 1.1
	maxBuckets = 160
)

var (
	latencyBuckets  = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	durationBuckets = []float64{1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600} // a connection lives long
	gapBuckets      = []float64{.01, .05, .1, .5, 1, 2.5, 5, 10, 30, 60, 300}
	ratioBuckets    = []float64{.01, .025, .05, .1, .2, .3, .4, .5, .6, .7, .8, .9, 1}
	batchBuckets    = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256}
	eventsBuckets   = []float64{0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000}

	latencies = histogram.Durations(latencyBuckets...)
	fanouts   = histogram.Counts(1, 10, 100, 1e3, 1e4, 1e5, 1e6)
)

// Those that the server counts itself, with the layouts that it has.
var (
	packetBytes     = counted("packet_bytes", "Bytes of messages received, and of packets sent with their attachments; those without a message, such as pings, are left out.", netloop.PacketSizes.Bounds(), closed("direction", directions))
	packetsPerFlush = counted("packets_per_flush", "Packets that one write, or one polling answer, carried.", netloop.FlushSizes.Bounds(), byTransport)
)

func counted(name, help string, buckets []float64, labels ...Label) *metric {
	m := define("histogram", name, help, labels...)
	m.Buckets = buckets
	return m
}

// histogram sends one that was counted elsewhere.
func (s sink) histogram(m *metric, h socketio.Histogram, labels ...string) {
	if h.Classic == nil { // nothing yet
		h.Classic = make(map[float64]uint64, len(m.Buckets))
		for _, bound := range m.Buckets {
			h.Classic[bound] = 0
		}
	}
	classic := prometheus.MustNewConstHistogram(m.desc, h.Count, h.Sum, h.Classic, labels...)
	if !s.native {
		s.ch <- classic
		return
	}
	fine, schema := h.Fine, histogram.Schema
	for len(fine) > maxBuckets {
		fine, schema = halved(fine), schema-1
	}
	native, err := prometheus.NewConstNativeHistogram(m.desc, h.Count, h.Sum, fine, nil, h.Zero, int32(schema), h.ZeroThreshold, time.Time{}, labels...)
	if err != nil { // the counts contradict each other, which a snapshot never does
		native = prometheus.NewInvalidMetric(m.desc, err)
	}
	s.ch <- both{native, classic}
}

// halved returns the buckets of the schema with half as many of them.
func halved(fine map[int]int64) map[int]int64 {
	coarse := make(map[int]int64, len(fine)/2+1)
	for i, n := range fine {
		coarse[(i+1)>>1] += n
	}
	return coarse
}

// both is a native histogram that has the buckets of a classic one too.
type both struct {
	prometheus.Metric
	classic prometheus.Metric
}

// Write implements prometheus.Metric.
func (m both) Write(to *dto.Metric) error {
	if err := m.Metric.Write(to); err != nil {
		return err
	}
	var c dto.Metric
	if err := m.classic.Write(&c); err != nil {
		return err
	}
	to.Histogram.Bucket = c.Histogram.Bucket
	to.Histogram.CreatedTimestamp = nil // nobody knows
	return nil
}

// often is a histogram of what happens all the time: with every broadcast or event. It has one series for each value of
// its only label, or one without a label.
type often struct {
	*metric
	series map[string]*histogram.Histogram
}

func newOften(m *metric, l *histogram.Layout, values ...string) often {
	o := often{m, make(map[string]*histogram.Histogram, len(values))}
	for _, v := range values {
		o.series[v] = histogram.New(l)
	}
	return o
}

// of returns the series of a label's value; that of "other" stands for those that have none.
func (o often) of(value string) *histogram.Histogram {
	if h := o.series[value]; h != nil {
		return h
	}
	return o.series[other]
}

func (o often) collect(s sink) {
	for value, h := range o.series {
		labels := []string{value}
		if len(o.Labels) == 0 {
			labels = nil
		}
		s.histogram(o.metric, socketio.Histogram(h.Snapshot()), labels...)
	}
}

// seldom returns a histogram of what happens now and then.
func (m *metric) seldom(native bool) *prometheus.HistogramVec {
	o := prometheus.HistogramOpts{Name: m.Name, Help: m.Help, Buckets: m.Buckets}
	if native {
		o.NativeHistogramBucketFactor = maxGrowth
		o.NativeHistogramMaxBucketNumber = maxBuckets
		o.NativeHistogramMinResetDuration = time.Hour
	}
	names := make([]string, len(m.Labels))
	for i, l := range m.Labels {
		names[i] = l.Name
	}
	v := prometheus.NewHistogramVec(o, names)
	if len(m.Labels) == 1 { // series exist before they first count
		for _, value := range m.Labels[0].Values {
			v.WithLabelValues(value)
		}
	}
	return v
}
