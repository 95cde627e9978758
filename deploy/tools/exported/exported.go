// Package exported knows which metrics a node has, by asking one, and which an expression reads.
package exported

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// byPrometheus are the series that Prometheus itself makes.
var byPrometheus = []string{"up", "ALERTS"}

// Root is the folder of the repository, as packages two folders below deploy see it.
var Root = filepath.Join("..", "..", "..")

// Names returns every name by which a query can read what nodes export: a histogram under its own, if it is native, and those
// of its classic parts. It builds the program and starts clusters in one process each. What a node exports only once it has
// happened, it takes from docs/metrics.md, which is written from the code.
func Names(t testing.TB) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	for _, name := range byPrometheus {
		names[name] = true
	}
	add := func(name, kind string) {
		names[name] = true
		if kind == "histogram" {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				names[name+part] = true
			}
		}
	}
	program := build(t)
	for _, adapter := range []string{"redis", "redis-streams"} {
		for line := range strings.Lines(page(t, program, adapter)) {
			if fields := strings.Fields(line); len(fields) == 4 && fields[1] == "TYPE" {
				add(fields[2], fields[3])
			}
		}
	}
	for _, m := range documented.FindAllStringSubmatch(catalog(t), -1) {
		add(m[1], m[2])
	}
	if !names["chorus_redis_up"] || !names["chorus_broadcast_delivery_seconds_bucket"] {
		t.Fatal("a node's metrics are not all there")
	}
	return names
}

// documented is a line of the tables of metrics: name and type.
var documented = regexp.MustCompile("(?m)^\\| `(\\w+)` \\|.*\\| (gauge|counter|histogram)\\b")

// catalog is the page that lists all metrics.
func catalog(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Root, "docs", "metrics.md"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

// Used returns the names of the metrics that an expression reads, each once.
func Used(expr string) (names []string, err error) {
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return nil, err
	}
	parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		for _, m := range selector.LabelMatchers {
			if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
				names = append(names, m.Value)
				return nil
			}
		}
		err = fmt.Errorf("%s names no metric", selector)
		return err
	})
	slices.Sort(names)
	return slices.Compact(names), err
}

var metricsAddress = regexp.MustCompile(`metrics (\S+)\n`)

// build compiles the program and returns its path.
func build(t testing.TB) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "chorus")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, "./cmd/node")
	cmd.Dir = Root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// page is what a node exports that has Redis and an adapter. The cluster ends with this function.
func page(t testing.TB, program, adapter string) string {
	t.Helper()
	demo := exec.CommandContext(t.Context(), program, "demo", "--adapter="+adapter,
		"--addr=127.0.0.1:0", "--node-addr=127.0.0.1:0", "--internal-addr=127.0.0.1:0", "--log.level=warn")
	demo.Stderr = os.Stderr
	out, err := demo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = demo.Process.Signal(os.Interrupt)
		late := time.AfterFunc(10*time.Second, func() { _ = demo.Process.Kill() })
		defer late.Stop()
		if err := demo.Wait(); err != nil {
			t.Errorf("chorus demo: %v", err)
		}
	}()
	reader, printed := bufio.NewReader(out), ""
	for metricsAddress.FindString(printed) == "" {
		line, err := reader.ReadString('\n')
		if printed += line; err != nil {
			t.Fatalf("chorus demo printed %q: %v", printed, err)
		}
	}
	return get(t, metricsAddress.FindStringSubmatch(printed)[1])
}

func get(t testing.TB, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, response.Status, err)
	}
	return string(body)
}
