package chart_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"sigs.k8s.io/yaml"

	"example.com/chorus/deploy/tools/chart"
)

const dir = "../../helm/chorus"

// valueSets are what the chart is rendered with: its defaults, the files in testdata, and those of the overlays.
func valueSets(t *testing.T) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("testdata: %q, %v", files, err)
	}
	overlays, err := filepath.Glob("../../k8s/overlays/*/values.yaml")
	if err != nil || len(overlays) < 2 {
		t.Fatalf("overlays: %q, %v", overlays, err)
	}
	sets := map[string]map[string]any{"default": {}}
	for _, file := range slices.Concat(files, overlays) {
		values, err := common.ReadValuesFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sets[file] = values
	}
	return sets
}

// forEachSet runs a test on what the chart renders with each set of values.
func forEachSet(t *testing.T, test func(t *testing.T, objects objects)) {
	t.Helper()
	for name, values := range valueSets(t) {
		t.Run(name, func(t *testing.T) {
			rendered, err := chart.Render(dir, values)
			if err != nil {
				t.Fatal(err)
			}
			test(t, typed(t, rendered))
		})
	}
}

func TestLint(t *testing.T) {
	for name, values := range valueSets(t) {
		for _, m := range lint.RunAll(dir, values, chart.Release).Messages {
			if m.Severity > support.InfoSev { // Info wants an icon
				t.Errorf("%s: %s", name, m)
			}
		}
	}
}

// Each of these must fail at install, with a text that says where.
func TestBadValues(t *testing.T) {
	for name, test := range map[string]struct{ values, want string }{
		"a misspelled key":            {`replicas: 3`, "replicas"},
		"a number as a text":          {`replicaCount: "3"`, "replicaCount"},
		"less than no nodes":          {`replicaCount: -1`, "replicaCount"},
		"a tag in the repository":     {`image: {repository: "chorus:1"}`, "repository"},
		"an unknown pull policy":      {`image: {pullPolicy: always}`, "pullPolicy"},
		"the address":                 {`config: {addr: ":80"}`, "addr"},
		"the advertised address":      {`config: {cluster: {advertise: 10.0.0.1}}`, "advertise"},
		"the end of a node":           {`config: {drain: {timeout: 3m}}`, "timeout"},
		"a password for everyone":     {`config: {redis: {password: x}}`, "password"},
		"a password in the URL":       {`config: {redis: {url: "redis://:x@redis"}}`, "url"},
		"no Redis for many":           {`config: {redis: {url: ""}}`, "config.redis.url"},
		"a Redis nobody is let to":    {`config: {redis: {url: "redis://redis:6380/1"}}`, "redisPorts"},
		"no Redis for those to come":  {`{replicaCount: 1, autoscaling: {enabled: true}, config: {redis: {url: ""}}}`, "config.redis.url"},
		"a pause longer than the end": {`drain: {lameDuckSeconds: 15}`, "lameDuckSeconds"},
		"a spread beyond the end":     {`drain: {spreadSeconds: 30}`, "spreadSeconds"},
		"a short secret":              {`secret: {clusterSecret: short}`, "clusterSecret"},
		"a Secret without a key":      {`secret: {existingSecret: x}`, "redisPasswordKey"},
		"a CPU limit":                 {`resources: {limits: {cpu: 1}}`, "cpu"},
		"memory in no unit":           {`resources: {limits: {memory: 1GB}}`, "memory"},
		"an unknown Service":          {`service: {type: clusterip}`, "type"},
		"a port that is none":         {`service: {port: 70000}`, "port"},
		"less at most than at least":  {`autoscaling: {enabled: true, minReplicas: 4, maxReplicas: 3}`, "minReplicas"},
		"scaling by nothing":          {`autoscaling: {enabled: true, cpu: 0}`, "autoscaling"},
		"a route of no gateway":       {`httpRoute: {enabled: true}`, "parentRefs"},
		"a dashboard nobody can find": {`monitoring: {dashboard: {labels: {grafana_dashboard: null}}}`, "labels"},
		"a variable of no name":       {`extraEnv: [{value: x}]`, "name"},
	} {
		var values map[string]any
		if err := yaml.Unmarshal([]byte(test.values), &values); err != nil {
			t.Fatal(err)
		}
		_, err := chart.Render(dir, values)
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want an error that names %s", name, err, test.want)
		}
	}
}

// What Prometheus and Grafana get in Kubernetes is what they get elsewhere.
func TestMonitoringIsThatOfTheFiles(t *testing.T) {
	rendered, err := chart.Render(dir, valueSets(t)["testdata/everything.yaml"])
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]map[string]any)
	for _, o := range rendered {
		seen[o.Key()] = o.Content
	}
	var rules map[string]any
	if err := yaml.Unmarshal([]byte(readFile(t, "../../prometheus/rules.yml")), &rules); err != nil {
		t.Fatal(err)
	}
	if got, want := encode(t, seen["PrometheusRule/chat"]["spec"]), encode(t, rules); got != want {
		t.Errorf("the PrometheusRule has\n%s\nwant\n%s", got, want)
	}
	want := make(map[string]any)
	files, err := filepath.Glob("../../grafana/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("dashboards: %q, %v", files, err)
	}
	for _, file := range files {
		want[filepath.Base(file)] = readFile(t, file)
	}
	if got := seen["ConfigMap/chat-dashboards"]["data"]; encode(t, got) != encode(t, want) {
		t.Errorf("the ConfigMap of the dashboards has other files, or others' text, than %q", slices.Sorted(maps.Keys(want)))
	}
}

// A change of the configuration makes other pods, a change of the number of nodes does not.
func TestConfigurationRollsThePods(t *testing.T) {
	template := func(values string) string {
		var v map[string]any
		if err := yaml.Unmarshal([]byte(values), &v); err != nil {
			t.Fatal(err)
		}
		rendered, err := chart.Render(dir, v)
		if err != nil {
			t.Fatal(err)
		}
		return encode(t, typed(t, rendered).deployment(t).Spec.Template)
	}
	before := template(``)
	for values, changes := range map[string]bool{
		`config: {ping_interval: 20s}`:   true,
		`drain: {lameDuckSeconds: 6}`:    true,
		`secret: {redisPassword: other}`: true,
		`replicaCount: 7`:                false,
		`autoscaling: {enabled: true}`:   false,
	} {
		if changed := template(values) != before; changed != changes {
			t.Errorf("%s: the pods change: %t, want %t", values, changed, changes)
		}
	}
}

func readFile(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
