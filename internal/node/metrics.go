package node

import (
	"log/slog"
	"net/http"
	"regexp"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/chorus/pkg/socketio/promsio"
)

type metricsConfig struct {
	NativeHistograms bool     `default:"true" negatable:"" help:"Export histograms in their native form too."`
	EventNames       []string `default:"" placeholder:"EVENT,..." help:"Events that metrics tell apart by name, at most 64; all others count as other."`
}

func (c *metricsConfig) validate() error {
	if n := len(c.EventNames); n > promsio.MaxEvents {
		return invalidf("metrics.event-names", "must be at most %d, got %d", promsio.MaxEvents, n)
	}
	return nil
}

// runtimeMetrics are those of the runtime that explain a slow broadcast, besides the base set.
var runtimeMetrics = collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/(sched/latencies|sched/pauses/total/gc):seconds$`)}

// metricsHandler returns /metrics of this node.
func (n *node) metricsHandler() http.Handler {
	registry := prometheus.NewPedanticRegistry()
	server, err := promsio.NewCollector(n.server, promsio.Options{
		ClassicOnly: !n.config.Metrics.NativeHistograms, Events: n.config.Metrics.EventNames,
	})
	if err != nil {
		panic(err) // validate looked at them
	}
	registry.MustRegister(
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(runtimeMetrics)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		server,
		constant("build_info", "What was built.", prometheus.Labels{
			"version": readVersion().Version, "go_version": readVersion().GoVersion, "revision": readVersion().Revision,
		}),
		constant("node_info", "Which node this is.", prometheus.Labels{"node": n.id, "adapter": n.config.adapterName()}),
	)
	registry.MustRegister(n.reloads)
	if n.forward != nil {
		registry.MustRegister(promsio.NewForwarder(n.forward))
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelError),
		Registry: registry,
	})
}

// constant is a metric that is 1 and says something by its labels.
func constant(name, help string, labels prometheus.Labels) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: program, Name: name, Help: help, ConstLabels: labels})
	g.Set(1)
	return g
}
