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
	for _, want := range []string{`a < b & "c"`, "own <node>", "other", "percentile, %", "latency, ms", "0", "50", "90", "99", "99.9", "500", "2000"} {
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
		for _, point := range strings.Split(c[2], "L") {
			var x, y float64
			if n, err := readPoint(point, &x, &y); n != 2 || err != nil {
				t.Fatalf("point %q: %v", point, err)
			}
			if y > last || y < plotTop || y > plotBottom || x < plotLeft || x > plotRight {
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

func TestTickStep(t *testing.T) {
	for _, c := range []struct{ top, want float64 }{{0, 1}, {0.3, 0.05}, {4.9, 1}, {5, 1}, {11, 2}, {29, 5}, {61, 20}, {1000, 200}} {
		if got := tickStep(c.top); math.Abs(got-c.want) > c.want*1e-9 {
			t.Errorf("tickStep(%v) = %v, want %v", c.top, got, c.want)
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
