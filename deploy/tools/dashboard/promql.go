package main

import (
	"fmt"
	"strings"
)

// everywhere selects the nodes that the variables of the dashboard name.
const everywhere = `job="$job",instance=~"$instance"`

// inNamespace narrows metrics that have the label to the namespaces that are chosen.
const inNamespace = `namespace=~"$namespace"`

// window is Grafana's name for a time that has at least four scrapes and leaves no gap between two points.
const window = "[$__rate_interval]"

// series is a metric of the nodes that are chosen.
type series struct {
	metric   string
	matchers string
}

func of(metric string, matchers ...string) series {
	return series{metric: metric, matchers: strings.Join(append([]string{everywhere}, matchers...), ",")}
}

// String is the selector.
func (s series) String() string { return s.suffixed("") }

func (s series) suffixed(suffix string) string { return s.metric + suffix + "{" + s.matchers + "}" }

// by aggregates the present value.
func (s series) by(operator string, labels ...string) string {
	return aggregate(operator, labels, s.String())
}

// sum adds up the present values for each value of the labels.
func (s series) sum(labels ...string) string { return s.by("sum", labels...) }

// rate is how often something was counted per second, added up for each value of the labels.
func (s series) rate(labels ...string) string {
	return aggregate("sum", labels, "rate("+s.String()+window+")")
}

// quantile is that of a histogram, for each value of the labels. Prometheus keeps classic buckets, or with its feature
// native-histograms these.
func (s series) quantile(q float64, labels ...string) string {
	classic := aggregate("sum", append([]string{"le"}, labels...), "rate("+s.suffixed("_bucket")+window+")")
	return fmt.Sprintf("histogram_quantile(%g, %s) or histogram_quantile(%g, %s)", q, classic, q, s.rate(labels...))
}

// mean is that of a histogram of either form, for each value of the labels.
func (s series) mean(labels ...string) string {
	sum := aggregate("sum", labels, "rate("+s.suffixed("_sum")+window+")")
	count := aggregate("sum", labels, "rate("+s.suffixed("_count")+window+")")
	return fmt.Sprintf("%s / %s or histogram_sum(%s) / histogram_count(%s)", sum, count, s.rate(labels...), s.rate(labels...))
}

// heat is the rate of each bucket of a histogram of either form.
func (s series) heat() string {
	return aggregate("sum", []string{"le"}, "rate("+s.suffixed("_bucket")+window+")") + " or on () " + s.rate()
}

func aggregate(operator string, labels []string, expr string) string {
	if len(labels) == 0 {
		return operator + "(" + expr + ")"
	}
	return operator + " by (" + strings.Join(labels, ", ") + ") (" + expr + ")"
}
