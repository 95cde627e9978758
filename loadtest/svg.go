//go:build linux

package main

import (
	"fmt"
	"html"
	"math"
	"os"
	"strconv"
	"strings"
)

// drawing is the flag of loads that have latencies.
type drawing struct {
	SVG string `name:"svg" placeholder:"FILE" help:"Also draw the distribution of latencies, as SVG."`
}

// A curve is one distribution of latencies.
type curve struct {
	name string
	h    *histogram
}

// curves returns those of the two that have values.
func (r *trafficResult) curves() []curve {
	return filled(curve{"own node", &r.own}, curve{"other nodes", &r.other})
}

func filled(all ...curve) (some []curve) {
	for _, c := range all {
		if c.h.total > 0 {
			some = append(some, c)
		}
	}
	return some
}

// draw writes the drawing, if one is wanted.
func (d drawing) draw(title string, curves []curve) error {
	if d.SVG == "" {
		return nil
	}
	if err := os.WriteFile(d.SVG, []byte(renderSVG(title, curves)), 0o644); err != nil {
		return fmt.Errorf("--svg: %w", err)
	}
	return nil
}

// The plot: where its area lies in the picture, in pixels.
const (
	svgWidth, plotHeight = 720, 270
	plotLeft, plotRight  = 64, svgWidth - 24
	legendTop, legendRow = 48, 20 // two entries in a row
	svgColors            = 6
)

// Both sets of colours have a contrast of at least 4.5 to their background,
// and differ without red and green.
const svgStyle = `<style>
svg{--paper:#fff;--ink:#1f2328;--rule:#d0d7de;--c0:#0550ae;--c1:#bc4c00;--c2:#6f42c1;--c3:#116329;--c4:#a40e6b;--c5:#57606a;font:13px system-ui,sans-serif}
@media(prefers-color-scheme:dark){svg{--paper:#0d1117;--ink:#e6edf3;--rule:#30363d;--c0:#6cb6ff;--c1:#f69d50;--c2:#bf9eff;--c3:#57d364;--c4:#ff80c8;--c5:#9da7b1}}
text{fill:var(--ink)}.rule{stroke:var(--rule)}.curve{fill:none;stroke-width:2}
</style>
`

// renderSVG draws latencies over percentiles. The percentile axis grows with
// the number of nines, since that is where servers differ, and the other with
// the logarithm, since they differ by factors.
func renderSVG(title string, curves []curve) string {
	values, low, high := uint64(1), math.Inf(1), 0.0
	for _, c := range curves {
		values = max(values, c.h.total)
		low = min(low, millis(c.h.quantile(0.05)))
		high = max(high, millis(c.h.quantile(1)))
	}
	nines := math.Min(5, math.Max(2, math.Floor(math.Log10(float64(values)))))
	ticks := logTicks(low, high)
	low, high = ticks[0], ticks[len(ticks)-1]
	plotTop := legendTop + legendRow*((len(curves)+1)/2)
	plotBottom := plotTop + plotHeight
	svgHeight := plotBottom + 56
	x := func(n float64) float64 { return plotLeft + n/nines*(plotRight-plotLeft) }
	y := func(ms float64) float64 {
		return float64(plotBottom) - math.Log(max(ms, low)/low)/math.Log(high/low)*plotHeight
	}

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img"><title>%s</title>`+"\n",
		svgWidth, svgHeight, html.EscapeString(title))
	b.WriteString(svgStyle)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="var(--paper)"/>`+"\n", svgWidth, svgHeight)
	fmt.Fprintf(&b, `<text x="%d" y="26" font-weight="600">%s</text>`+"\n", plotLeft, html.EscapeString(title))
	for _, ms := range ticks {
		fmt.Fprintf(&b, `<path class="rule" d="M%d %.1fH%d"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			plotLeft, y(ms), plotRight, plotLeft-8, y(ms)+4, number(ms))
	}
	for n := 0.0; n <= nines; n++ {
		tickX(&b, x(n), plotTop, 100*(1-math.Pow(10, -n)))
	}
	tickX(&b, x(math.Log10(2)), plotTop, 50)
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">percentile, %%</text>`+"\n", (plotLeft+plotRight)/2, svgHeight-14)
	fmt.Fprintf(&b, `<text transform="translate(18 %d) rotate(-90)" text-anchor="middle">latency, ms</text>`+"\n", (plotTop+plotBottom)/2)
	for i, c := range curves {
		drawCurve(&b, i, c, nines, x, y)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func tickX(b *strings.Builder, x float64, top int, percentile float64) {
	fmt.Fprintf(b, `<path class="rule" d="M%.1f %dV%d"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
		x, top, top+plotHeight, x, top+plotHeight+18, number(percentile))
}

// drawCurve draws one distribution and its entry of the legend.
func drawCurve(b *strings.Builder, i int, c curve, nines float64, x, y func(float64) float64) {
	const points = 200
	color := i % svgColors
	fmt.Fprintf(b, `<path class="curve" stroke="var(--c%d)" d="`, color)
	for k := range points + 1 {
		n := nines * float64(k) / points
		fmt.Fprintf(b, "%c%.1f %.1f", "ML"[min(k, 1)], x(n), y(millis(c.h.quantile(1-math.Pow(10, -n)))))
	}
	b.WriteString(`"/>` + "\n")
	left, at := plotLeft+i%2*(plotRight-plotLeft)/2, legendTop+i/2*legendRow
	fmt.Fprintf(b, `<path class="curve" stroke="var(--c%d)" d="M%d %dh24"/><text x="%d" y="%d">%s</text>`+"\n",
		color, left, at-4, left+32, at, html.EscapeString(c.name))
}

// maxTicks are what the axis of latencies has room for.
const maxTicks = 9

// logTicks returns steps from at most low to at least high, at least two: 1, 2
// and 5 times powers of ten, or the powers alone if that would be too many.
func logTicks(low, high float64) []float64 {
	if high <= 0 { // nothing to draw
		low, high = 1, 1
	}
	low = max(low, 0.01)
	if fine := ticksBetween(low, high, 1, 2, 5); len(fine) <= maxTicks {
		return fine
	}
	return ticksBetween(low, high, 1)
}

func ticksBetween(low, high float64, steps ...float64) (ticks []float64) {
	for exponent := math.Floor(math.Log10(low)); ; exponent++ {
		for _, step := range steps {
			tick := step * math.Pow(10, exponent)
			if tick <= low {
				ticks = ticks[:0] // this one is nearer
			}
			ticks = append(ticks, tick)
			if tick >= high && len(ticks) > 1 {
				return ticks
			}
		}
	}
}

// number writes a number without zeros that say nothing.
func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
