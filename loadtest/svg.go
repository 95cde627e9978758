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
	svgWidth, svgHeight = 720, 380
	plotLeft, plotRight = 64, svgWidth - 24
	plotTop, plotBottom = 48, svgHeight - 56
	svgColors           = 6
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
// the number of nines, since that is where servers differ.
func renderSVG(title string, curves []curve) string {
	most, top := uint64(1), 0.0
	for _, c := range curves {
		most = max(most, c.h.total)
		top = max(top, millis(c.h.quantile(1)))
	}
	nines := math.Min(5, math.Max(2, math.Floor(math.Log10(float64(most)))))
	step := tickStep(top)
	top = math.Max(step, math.Ceil(top/step)*step)
	x := func(n float64) float64 { return plotLeft + n/nines*(plotRight-plotLeft) }
	y := func(ms float64) float64 { return plotBottom - ms/top*(plotBottom-plotTop) }

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img"><title>%s</title>`+"\n",
		svgWidth, svgHeight, html.EscapeString(title))
	b.WriteString(svgStyle)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="var(--paper)"/>`+"\n", svgWidth, svgHeight)
	fmt.Fprintf(&b, `<text x="%d" y="26" font-weight="600">%s</text>`+"\n", plotLeft, html.EscapeString(title))
	for ms := 0.0; ms <= top*1.001; ms += step {
		fmt.Fprintf(&b, `<path class="rule" d="M%d %.1fH%d"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			plotLeft, y(ms), plotRight, plotLeft-8, y(ms)+4, number(ms))
	}
	for n := 0.0; n <= nines; n++ {
		tickX(&b, x(n), 100*(1-math.Pow(10, -n)))
	}
	tickX(&b, x(math.Log10(2)), 50)
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">percentile, %%</text>`+"\n", (plotLeft+plotRight)/2, svgHeight-14)
	fmt.Fprintf(&b, `<text transform="translate(18 %d) rotate(-90)" text-anchor="middle">latency, ms</text>`+"\n", (plotTop+plotBottom)/2)
	for i, c := range curves {
		drawCurve(&b, i, c, nines, x, y)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func tickX(b *strings.Builder, x, percentile float64) {
	fmt.Fprintf(b, `<path class="rule" d="M%.1f %dV%d"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
		x, plotTop, plotBottom, x, plotBottom+18, number(percentile))
}

// drawCurve draws one distribution and its entry of the legend, which is in
// the corner that no distribution reaches.
func drawCurve(b *strings.Builder, i int, c curve, nines float64, x, y func(float64) float64) {
	const points = 200
	color := i % svgColors
	fmt.Fprintf(b, `<path class="curve" stroke="var(--c%d)" d="`, color)
	for k := range points + 1 {
		n := nines * float64(k) / points
		fmt.Fprintf(b, "%c%.1f %.1f", "ML"[min(k, 1)], x(n), y(millis(c.h.quantile(1-math.Pow(10, -n)))))
	}
	b.WriteString(`"/>` + "\n")
	at := plotTop + 20 + 20*i
	fmt.Fprintf(b, `<path class="curve" stroke="var(--c%d)" d="M%d %dh24"/><text x="%d" y="%d">%s</text>`+"\n",
		color, plotLeft+16, at-4, plotLeft+48, at, html.EscapeString(c.name))
}

// tickStep returns 1, 2 or 5 times a power of ten, so that about five fit.
func tickStep(top float64) float64 {
	if top <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(top/5)))
	for _, m := range []float64{1, 2, 5} {
		if top/(m*power) <= 6 {
			return m * power
		}
	}
	return 10 * power
}

// number writes a number without zeros that say nothing.
func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
