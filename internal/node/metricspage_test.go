package node

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	naming "github.com/prometheus/common/model"

	"example.com/chorus/pkg/socketio/promsio"
)

var updatePage = flag.Bool("update-metrics-page", false, "write the tables of docs/metrics.md")

const (
	beginTables = "<!-- The tables are written by `make docs-metrics`. -->\n"
	endTables   = "<!-- end of the tables -->\n"
)

// The page of metrics says what the code does: make docs-metrics writes it.
func TestMetricsPage(t *testing.T) {
	page := filepath.Join("..", "..", "docs", "metrics.md")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), beginTables)
	_, after, ended := strings.Cut(rest, endTables)
	if !found || !ended {
		t.Fatalf("%s has no place for the tables", page)
	}
	want := before + beginTables + metricTables(t) + endTables + after
	if *updatePage {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(text) {
		t.Errorf("%s is not what the code says: run make docs-metrics", page)
	}
}

// scraped returns the metrics of a running node.
func scraped(t *testing.T, internal string) map[string]*dto.MetricFamily {
	t.Helper()
	_, body := get(t, "http://"+internal+"/metrics")
	parser := expfmt.NewTextParser(naming.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// metricTables are those of everything that a node exports.
func metricTables(t *testing.T) string {
	t.Helper()
	r := serve(t)
	_, internal := r.addrs()
	families := scraped(t, internal)
	var b strings.Builder
	buckets := make(map[string]int)
	row := func(m promsio.Metric) {
		var labels []string
		for _, l := range m.Labels {
			labels = append(labels, describeLabel(l))
		}
		kind := m.Type
		if m.Type == "histogram" {
			kind += " " + strconv.Itoa(number(buckets, m.Buckets))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %d |\n", m.Name, m.Help, kind, cmp.Or(strings.Join(labels, "; "), "-"), m.Series)
	}
	const head = "\n| metric | what it is | type, buckets | labels | series at most |\n|---|---|---|---|---|\n"
	total := 0
	b.WriteString("\n### Of the server (`promsio.New`) and of forwarding (`promsio.NewForwarder`)\n" + head)
	for _, m := range promsio.Metrics() {
		row(m)
		delete(families, m.Name)
		if m.Type != "histogram" {
			total += m.Series
		}
	}
	b.WriteString("\n### Of the node\n" + head)
	others := 0
	for _, name := range slices.Sorted(maps.Keys(families)) {
		f := families[name]
		if !strings.HasPrefix(name, "chorus_") {
			others++
			continue
		}
		m := promsio.Metric{Name: name, Help: f.GetHelp(), Type: strings.ToLower(f.GetType().String()), Series: len(f.Metric)}
		for _, pair := range f.Metric[0].Label {
			m.Labels = append(m.Labels, promsio.Label{Name: pair.GetName()})
		}
		row(m)
		total += m.Series
	}
	fmt.Fprintf(&b, "\nThese are %d series at most, histograms left out, and with `--metrics.event-names` up to 32 x 64 more. Besides there are the standard "+
		"`go_*` and `process_*` collectors, with `/sched/latencies` and the pauses of garbage collection.\n", total)
	b.WriteString("\n### Buckets\n\n| | upper bounds |\n|---|---|\n")
	for _, bounds := range slices.SortedFunc(maps.Keys(buckets), func(a, b string) int { return buckets[a] - buckets[b] }) {
		fmt.Fprintf(&b, "| %d | %s |\n", buckets[bounds], bounds)
	}
	b.WriteString("\n")
	return b.String()
}

func describeLabel(l promsio.Label) string {
	switch {
	case l.Name == "namespace":
		return fmt.Sprintf("`namespace` (%d names at most, then other)", l.Most-1)
	case l.Name == "event":
		return fmt.Sprintf("`event` (%d names at most, then other)", l.Most-1)
	case len(l.Values) == 0:
		return "`" + l.Name + "`"
	}
	return "`" + l.Name + "` (" + strings.Join(l.Values, ", ") + ")"
}

// number gives each list of bounds its number.
func number(known map[string]int, bounds []float64) int {
	texts := make([]string, len(bounds))
	for i, b := range bounds {
		texts[i] = strconv.FormatFloat(b, 'f', -1, 64)
	}
	text := strings.Join(texts, ", ")
	if known[text] == 0 {
		known[text] = len(known) + 1
	}
	return known[text]
}

// The real promtool finds nothing to complain of in what a node exports.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatalf("%v; on Debian: apt-get install prometheus", err)
	}
	r := serve(t, "--metrics.event-names=chat message")
	_, internal := r.addrs()
	_, body := get(t, "http://"+internal+"/metrics")
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(body)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
