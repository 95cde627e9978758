// Package exported knows which metrics a node has, by asking one, and which an expression reads.
package exported

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// byPrometheus are the series that Prometheus itself makes.
var byPrometheus = []string{"up", "ALERTS"}

// Root is the folder of the repository, as packages two folders below deploy see it.
var Root = filepath.Join("..", "..", "..")

// Names returns every name by which a query can read what nodes export: a histogram under its own, if it is native, and those
// of its classic parts. It builds the program and starts a cluster in one process.
func Names(t testing.TB) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	for _, name := range byPrometheus {
		names[name] = true
	}
	page := metrics(t)
	for s := bufio.NewScanner(strings.NewReader(page)); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) != 4 || fields[1] != "TYPE" {
			continue
		}
		names[fields[2]] = true
		if fields[3] == "histogram" {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				names[fields[2]+part] = true
			}
		}
	}
	if !names["chorus_redis_up"] || !names["chorus_broadcast_delivery_seconds_bucket"] {
		t.Fatalf("a node's metrics are not all there:\n%s", page)
	}
	return names
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
			if m.Name == labels.MetricName && m.Type == labels.MatchEqual {
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

// metrics is the page of a node that has Redis. The cluster ends with this function.
func metrics(t testing.TB) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "chorus")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./cmd/node")
	build.Dir = Root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	demo := exec.Command(program, "demo", "--addr=127.0.0.1:0", "--node-addr=127.0.0.1:0", "--internal-addr=127.0.0.1:0", "--log.level=warn")
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
	response, err := http.Get(metricsAddress.FindStringSubmatch(printed)[1])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	page, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("metrics: %s, %v", response.Status, err)
	}
	return string(page)
}
