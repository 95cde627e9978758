package compose_test

import (
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// datasources are Grafana's provisioning files for data sources, as far as they are used here.
type datasources struct {
	APIVersion  int `json:"apiVersion"`
	Datasources []struct {
		Name      string         `json:"name"`
		UID       string         `json:"uid"`
		Type      string         `json:"type"`
		Access    string         `json:"access"`
		URL       string         `json:"url"`
		IsDefault bool           `json:"isDefault"`
		JSONData  map[string]any `json:"jsonData"`
	} `json:"datasources"`
}

// providers are those for dashboards.
type providers struct {
	APIVersion int `json:"apiVersion"`
	Providers  []struct {
		Name           string `json:"name"`
		Type           string `json:"type"`
		AllowUIUpdates bool   `json:"allowUiUpdates"`
		Options        struct {
			Path string `json:"path"`
		} `json:"options"`
	} `json:"providers"`
}

// Grafana finds its data source, and its dashboards where they are mounted.
func TestGrafana(t *testing.T) {
	var d datasources
	strict(t, "deploy/grafana/provisioning/datasources/prometheus.yml", &d)
	if s := d.Datasources; d.APIVersion != 1 || len(s) != 1 || s[0].Type != "prometheus" || s[0].Access != "proxy" || !s[0].IsDefault {
		t.Errorf("datasources: %+v", d)
	}
	var p providers
	strict(t, "deploy/grafana/provisioning/dashboards/chorus.yml", &p)
	if p.APIVersion != 1 || len(p.Providers) != 1 || p.Providers[0].Type != "file" {
		t.Fatalf("dashboards: %+v", p)
	}
	grafana := load(t).Services["grafana"]
	mounted := make(map[string]string)
	for _, v := range grafana.Volumes {
		mounted[v.Target] = v.Source
	}
	for _, folder := range []string{"datasources", "dashboards"} {
		if target := "/etc/grafana/provisioning/" + folder; !strings.HasSuffix(mounted[target], "deploy/grafana/provisioning/"+folder) {
			t.Errorf("%s is %q", target, mounted[target])
		}
	}
	dashboards := mounted[p.Providers[0].Options.Path]
	if dashboards == "" {
		t.Fatalf("nothing is mounted at %s", p.Providers[0].Options.Path)
	}
	home := grafana.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if file, ok := strings.CutPrefix(*home, p.Providers[0].Options.Path); !ok {
		t.Errorf("the first page is %s", *home)
	} else if _, err := os.Stat(dashboards + file); err != nil {
		t.Error(err)
	}
}

// strict reads YAML that may have no other fields.
func strict(t *testing.T, name string, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text(t, name)), into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
