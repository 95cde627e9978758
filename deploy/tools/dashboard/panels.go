package main

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// Colours of thresholds.
const (
	good = "green"
	soso = "orange"
	bad  = "red"
)

// Widths of panels: a line has 24.
const (
	eighth  = 3
	quarter = 6
	third   = 8
	half    = 12
	whole   = 24
)

// line is an expression and the name of its lines.
type line struct {
	expr   string
	legend string
}

func (l line) target(i int) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().
		RefId(string(rune('A' + i))).
		Datasource(source()).
		EditorMode(prometheus.QueryEditorModeCode).
		Expr(l.expr).
		LegendFormat(l.legend)
}

func targets(lines []line) []cog.Builder[variants.Dataquery] {
	var list []cog.Builder[variants.Dataquery]
	for i, l := range lines {
		list = append(list, l.target(i).Range())
	}
	return list
}

// graph draws lines over time. The table below it has the newest and the highest value of each.
func graph(width uint32, title, unit, description string, lines ...line) *timeseries.PanelBuilder {
	return timeseries.NewPanelBuilder().
		Title(title).
		Description(description).
		Datasource(source()).
		Height(9).
		Span(width).
		Unit(unit).
		Min(0).
		LineWidth(1).
		FillOpacity(8).
		ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().
			ShowLegend(true).
			DisplayMode(common.LegendDisplayModeTable).
			Placement(common.LegendPlacementBottom).
			Calcs([]string{"lastNotNull", "max"})).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending)).
		Targets(targets(lines))
}

// limited draws the line above which an alert fires.
func limited(p *timeseries.PanelBuilder, limit float64) *timeseries.PanelBuilder {
	return p.
		Thresholds(thresholds(step{limit, bad})).
		ThresholdsStyle(common.NewGraphThresholdsStyleConfigBuilder().Mode(common.GraphThresholdsStyleModeDashed))
}

// figure shows the newest value in large print, coloured by the highest step that it reaches.
func figure(title, unit, description, expr string, steps ...step) *stat.PanelBuilder {
	return stat.NewPanelBuilder().
		Title(title).
		Description(description).
		Datasource(source()).
		Height(4).
		Span(eighth).
		Unit(unit).
		ColorMode(common.BigValueColorModeValue).
		GraphMode(common.BigValueGraphModeArea).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		Thresholds(thresholds(steps...)).
		NoValue("no data").
		Targets(targets([]line{{expr: expr}}))
}

// heat draws how the values of a histogram are spread over time.
func heat(width uint32, title, unit, description string, s series) *heatmap.PanelBuilder {
	return heatmap.NewPanelBuilder().
		Title(title).
		Description(description).
		Datasource(source()).
		Height(9).
		Span(width).
		YAxis(heatmap.NewYAxisConfigBuilder().Unit(unit)).
		CellValues(heatmap.NewCellValuesBuilder().Unit(units.CountsPerSecond)).
		Color(heatmap.NewHeatmapColorOptionsBuilder().Mode(heatmap.HeatmapColorModeScheme).Scheme("Blues").Steps(64)).
		ShowLegend().
		WithTarget(line{expr: s.heat(), legend: "{{le}}"}.target(0).Range().Format(prometheus.PromQueryFormatHeatmap))
}

// timeline shows when which alert fired.
func timeline(title, description string, l line) *statetimeline.PanelBuilder {
	return statetimeline.NewPanelBuilder().
		Title(title).
		Description(description).
		Datasource(source()).
		Height(5).
		Span(whole).
		NoValue("none fired").
		ShowValue(common.VisibilityModeNever).
		Thresholds(thresholds(step{1, bad})).
		WithTarget(l.target(0).Range())
}

// step is a value from which on a colour holds.
type step struct {
	from  float64
	color string
}

// thresholds are good up to the first step.
func thresholds(steps ...step) *dashboard.ThresholdsConfigBuilder {
	list := []dashboard.Threshold{{Color: good}}
	for _, s := range steps {
		list = append(list, dashboard.Threshold{Value: &s.from, Color: s.color})
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(list)
}

// quantiles are the three that the dashboard draws, under a name that a label may complete.
func quantiles(s series, name string, labels ...string) []line {
	if name != "" {
		name = " " + name
	}
	var lines []line
	for _, q := range []float64{0.5, 0.9, 0.99} {
		lines = append(lines, line{s.quantile(q, labels...), fmt.Sprintf("p%g%s", q*100, name)})
	}
	return lines
}
