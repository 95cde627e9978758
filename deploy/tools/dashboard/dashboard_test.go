package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"

	"example.com/chorus/deploy/tools/exported"
	"example.com/chorus/deploy/tools/rules"
)

func load(t *testing.T) model {
	t.Helper()
	plugins.RegisterDefaultPlugins() // which know the panels and the data source
	var d model
	if err := json.Unmarshal(checkedIn(t), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// strict reads a dashboard as Grafana's model, in which nothing else may be.
func strict(text []byte) error {
	plugins.RegisterDefaultPlugins()
	var d model
	err := d.UnmarshalJSONStrict(text)
	if found, ok := errors.AsType[cog.BuildErrors](err); ok && len(found) == 0 {
		err = nil // the SDK returns its empty list of errors as one
	}
	return errors.Join(err, d.Validate())
}

func TestIsGrafanasModel(t *testing.T) {
	text := checkedIn(t)
	if err := strict(text); err != nil {
		t.Error(err)
	}
	for _, planted := range [][2]string{
		{`"schemaVersion"`, `"schemaversion"`}, {`"gridPos"`, `"gridpos"`}, {`"legendFormat"`, `"legendformat"`},
		{`"graphMode"`, `"graphmode"`}, {`"fillOpacity"`, `"fillopacity"`}, {`"allValue"`, `"allvalue"`},
	} {
		if err := strict(bytes.ReplaceAll(text, []byte(planted[0]), []byte(planted[1]))); err == nil {
			t.Errorf("%s instead of %s is not found", planted[1], planted[0])
		}
	}
}

func checkedIn(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(exported.Root, "deploy", "grafana", "dashboards", "chorus.json"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestCheckedInIsWhatIsGenerated(t *testing.T) {
	want, err := encode()
	if err != nil {
		t.Fatal(err)
	}
	if string(checkedIn(t)) != string(want) {
		t.Error("deploy/grafana/dashboards/chorus.json is not what is generated: run make dashboard")
	}
}

func TestRowsAndVariables(t *testing.T) {
	d := load(t)
	var rows, names []string
	for _, p := range d.Panels {
		if p.RowPanel != nil {
			rows = append(rows, *p.RowPanel.Title)
		}
	}
	if want := []string{"Overview", "Connections", "Broadcast", "Back pressure", "Redis", "Cluster", "Application", "Runtime"}; !slices.Equal(rows, want) {
		t.Errorf("rows are %q, want %q", rows, want)
	}
	for _, v := range d.Templating.List {
		names = append(names, v.Name)
	}
	if want := []string{"datasource", "job", "instance", "namespace"}; !slices.Equal(names, want) {
		t.Errorf("variables are %q, want %q", names, want)
	}
	if !*d.Templating.List[2].Multi {
		t.Error("only one node can be chosen")
	}
}

// No two panels have an id in common, or a place.
func TestLayout(t *testing.T) {
	ids := make(map[uint32]bool)
	places := make(map[[2]uint32]string)
	for _, p := range load(t).Panels {
		var id uint32
		var title string
		var at dashboard.GridPos
		if p.RowPanel != nil {
			id, title, at = p.RowPanel.Id, *p.RowPanel.Title, *p.RowPanel.GridPos
		} else {
			id, title, at = *p.Panel.Id, *p.Panel.Title, *p.Panel.GridPos
		}
		if ids[id] {
			t.Errorf("%s has the id %d, which another one has too", title, id)
		}
		ids[id] = true
		if at.W == 0 || at.H == 0 || at.X+at.W > whole {
			t.Errorf("%s reaches from %d over %d columns and %d lines", title, at.X, at.W, at.H)
		}
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other, taken := places[[2]uint32{x, y}]; taken {
					t.Fatalf("%s overlaps %s", title, other)
				}
				places[[2]uint32{x, y}] = title
			}
		}
	}
	if len(ids) < 50 {
		t.Errorf("there are %d panels", len(ids))
	}
}

// Each panel says what it shows, in which unit, and names its lines.
func TestPanelsAreReadable(t *testing.T) {
	titles := make(map[string]bool)
	for _, p := range panels(t) {
		if titles[*p.Title] {
			t.Errorf("two panels are called %s", *p.Title)
		}
		titles[*p.Title] = true
		if p.Description == nil || !strings.HasSuffix(*p.Description, ".") {
			t.Errorf("%s has no description", *p.Title)
		}
		if p.Type == "timeseries" || p.Type == "stat" {
			if p.FieldConfig.Defaults.Unit == nil {
				t.Errorf("%s has no unit", *p.Title)
			}
		}
		for _, q := range p.Targets {
			if q := q.(*prometheus.Dataquery); p.Type != "stat" && (q.LegendFormat == nil || *q.LegendFormat == "") {
				t.Errorf("%s does not name its lines", *p.Title)
			}
		}
	}
}

var variable = regexp.MustCompile(`\$\w+`)

// resolved is an expression as Grafana sends it.
func resolved(expr string) string {
	return variable.ReplaceAllStringFunc(expr, func(name string) string {
		switch name {
		case "$__rate_interval":
			return "1m"
		case "$job":
			return "chorus"
		case "$instance", "$namespace":
			return ".*"
		}
		return name // an unknown one, which must not parse
	})
}

// Every query parses and reads what nodes export or rules record.
func TestQueries(t *testing.T) {
	names := exported.Names(t)
	records, _, err := rules.Read()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		names[r.Record] = true
	}
	check := func(what, expr string) {
		used, err := exported.Used(resolved(expr))
		if err != nil {
			t.Errorf("%s: %s: %v", what, expr, err)
		}
		for _, name := range used {
			if !names[name] {
				t.Errorf("%s reads %s, which no node exports and no rule records", what, name)
			}
		}
	}
	for _, p := range panels(t) {
		if len(p.Targets) == 0 {
			t.Errorf("%s asks for nothing", *p.Title)
		}
		for _, q := range p.Targets {
			check(*p.Title, q.(*prometheus.Dataquery).Expr)
		}
	}
	d := load(t)
	for _, a := range d.Annotations.List {
		check(a.Name, *a.Expr)
	}
	asked := regexp.MustCompile(`^label_values\((.*), \w+\)$`)
	for _, v := range d.Templating.List {
		if v.Query == nil || v.Name == "datasource" {
			continue
		}
		m := asked.FindStringSubmatch(*v.Query.String)
		if m == nil {
			t.Errorf("%s asks %s", v.Name, *v.Query.String)
			continue
		}
		check(v.Name, m[1])
	}
}

func panels(t *testing.T) []*dashboard.Panel {
	t.Helper()
	var list []*dashboard.Panel
	for _, p := range load(t).Panels {
		if p.Panel != nil {
			list = append(list, p.Panel)
		}
	}
	return list
}
