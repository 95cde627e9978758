package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// uid is the name by which links and provisioning know the dashboard.
const uid = "chorus"

const runbooks = "https://example.com/chorus/docs/runbooks.md"

// row is a part of the dashboard that can be folded. The widths of its panels fill lines of 24.
type row struct {
	title  string
	panels []cog.Builder[dashboard.Panel]
}

// model is that of a dashboard. The SDK prefers another one, which Grafana 9 to 11 do not read.
type model = dashboard.Dashboard //nolint:staticcheck // see above

func build() (model, error) {
	b := dashboard.NewDashboardBuilder("Chorus") //nolint:staticcheck // of a model
	b.Uid(uid).
		Description("A Socket.IO cluster: what its clients see first, then what may be the cause. "+
			"Reads the series that deploy/prometheus/rules.yml records.").
		Tags([]string{"chorus", "socket.io"}).
		Time("now-1h", "now").
		Refresh("30s").
		Timezone("browser").
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Readonly().
		Link(dashboard.NewDashboardLinkBuilder("Runbooks").
			Type(dashboard.DashboardLinkTypeLink).Icon("doc").Url(runbooks).TargetBlank(true).
			Tooltip("What each alert means and what to do"))
	for _, v := range variables() {
		b.WithVariable(v)
	}
	b.Annotation(restarts())
	for _, r := range []row{overview(), connections(), broadcast(), backPressure(), redis(), cluster(), application(), runtime()} {
		b.WithRow(dashboard.NewRowBuilder(r.title))
		for _, p := range r.panels {
			b.WithPanel(p)
		}
	}
	d, err := b.Build()
	if err != nil {
		return d, err
	}
	number(&d)
	return d, nil
}

// number gives every panel an id, by which links to a single panel know it.
func number(d *model) {
	for i := range d.Panels {
		id := uint32(i + 1)
		if p := d.Panels[i].Panel; p != nil {
			p.Id = &id
		} else {
			d.Panels[i].RowPanel.Id = id
		}
	}
}

// source is the Prometheus that the variable datasource names.
func source() common.DataSourceRef {
	kind, id := "prometheus", "${datasource}"
	return common.DataSourceRef{Type: &kind, Uid: &id}
}

func variables() []cog.Builder[dashboard.VariableModel] {
	return []cog.Builder[dashboard.VariableModel]{
		dashboard.NewDatasourceVariableBuilder("datasource").Label("Prometheus").Type("prometheus"),
		query("job", "Cluster", "label_values(chorus_build_info, job)"),
		query("instance", "Node", `label_values(chorus_build_info{job="$job"}, instance)`).Multi(true).IncludeAll(true).AllValue(".*"),
		query("namespace", "Namespace", `label_values(chorus_sockets{job="$job"}, namespace)`).Multi(true).IncludeAll(true).AllValue(".*"),
	}
}

func query(name, label, text string) *dashboard.QueryVariableBuilder {
	return dashboard.NewQueryVariableBuilder(name).
		Label(label).
		Datasource(source()).
		Query(dashboard.StringOrMap{String: &text}).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
		Sort(dashboard.VariableSortAlphabeticalAsc)
}

// restarts marks the start of nodes in all graphs: most of what happens suddenly happens then.
func restarts() cog.Builder[dashboard.AnnotationQuery] {
	return dashboard.NewAnnotationQueryBuilder().
		Name("Node starts").
		Datasource(source()).
		Enable(true).
		IconColor("purple").
		Expr(of("process_start_time_seconds").by("max", "instance") + " * 1000").
		UseValueForTime(true).
		Step("30s").
		TitleFormat("{{instance}} started").
		TagKeys("instance")
}
