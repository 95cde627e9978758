//go:build linux

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// ramp holds 1 to 1000 ms.
func ramp(factor int64) *histogram {
	var h histogram
	for i := range int64(1000) {
		h.record((i + 1) * 1e6 * factor)
	}
	return &h
}

func TestRenderSVG(t *testing.T) {
	svg := renderSVG(`a < b & "c"`, []curve{{"own <node>", ramp(1)}, {"other", ramp(2)}})
	texts := make(map[string]bool)
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		if c, ok := token.(xml.CharData); ok {
			texts[string(c)] = true
		}
	}
	for _, want := range []string{`a < b & "c"`, "own <node>", "other", "percentile, %", "latency, ms", "0", "50", "90", "99", "99.9", "100", "2000"} {
		if !texts[want] {
			t.Errorf("no text %q", want)
		}
	}
	curves := regexp.MustCompile(`class="curve" stroke="var\(--c(\d)\)" d="M([^h"]+)"`).FindAllStringSubmatch(svg, -1)
	if len(curves) != 2 || curves[0][1] == curves[1][1] {
		t.Fatalf("%d curves, want 2 of different colours", len(curves))
	}
	for _, c := range curves {
		last := math.Inf(1)
		for point := range strings.SplitSeq(c[2], "L") {
			var x, y float64
			if n, err := readPoint(point, &x, &y); n != 2 || err != nil {
				t.Fatalf("point %q: %v", point, err)
			}
			if y > last || y < legendTop || y > legendTop+legendRow+plotHeight || x < plotLeft || x > plotRight {
				t.Fatalf("point %q falls, or is outside of the plot", point)
			}
			last = y
		}
	}
}

func readPoint(point string, x, y *float64) (n int, err error) {
	fields := strings.Fields(point)
	for i, v := range []*float64{x, y} {
		if i < len(fields) && err == nil {
			*v, err = strconv.ParseFloat(fields[i], 64)
			n++
		}
	}
	return n, err
}

func TestLogTicks(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		want      string
	}{
		{3, 30, "[2 5 10 20 50]"},
		{2, 50, "[2 5 10 20 50]"},
		{7, 7, "[5 10]"},
		{0.4, 900, "[0.1 1 10 100 1000]"},
		{1, 1, "[1 2]"},
		{0, 0.5, "[0.01 0.02 0.05 0.1 0.2 0.5]"},
		{math.Inf(1), 0, "[1 2]"},
	} {
		var texts []string
		for _, tick := range logTicks(c.low, c.high) {
			texts = append(texts, number(tick))
		}
		if got := "[" + strings.Join(texts, " ") + "]"; got != c.want {
			t.Errorf("logTicks(%v, %v) = %v, want %v", c.low, c.high, got, c.want)
		}
	}
}

func TestDrawNothing(t *testing.T) {
	if err := (drawing{}).draw("t", nil); err != nil {
		t.Errorf("draw without --svg = %v", err)
	}
	if err := (drawing{filepath.Join(t.TempDir(), "no", "file.svg")}).draw("t", nil); err == nil || !strings.Contains(err.Error(), "--svg") {
		t.Errorf("draw = %v, want an error that names the flag", err)
	}
	if svg := renderSVG("nothing", nil); !strings.Contains(svg, "</svg>") || strings.Contains(svg, "NaN") {
		t.Errorf("without curves: %s", svg)
	}
}
