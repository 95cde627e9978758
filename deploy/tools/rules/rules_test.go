package rules_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"example.com/chorus/deploy/tools/exported"
	"example.com/chorus/deploy/tools/rules"
)

const runbooks = "https://example.com/chorus/docs/runbooks.md#"

func load(t *testing.T) (records, alerts []rules.Rule) {
	t.Helper()
	records, alerts, err := rules.Read()
	if err != nil {
		t.Fatal(err)
	}
	if len(records) == 0 || len(alerts) < 12 {
		t.Fatalf("%d recorded series and %d alerts", len(records), len(alerts))
	}
	return records, alerts
}

// Whoever is paged learns from the alert what is wrong, how bad, and where to read on.
func TestAlertsExplainThemselves(t *testing.T) {
	_, alerts := load(t)
	for _, a := range alerts {
		if s := a.Labels["severity"]; s != "page" && s != "warn" {
			t.Errorf("%s has severity %q, want page or warn", a.Alert, s)
		}
		for _, name := range []string{"summary", "description"} {
			if a.Annotations[name] == "" {
				t.Errorf("%s has no %s", a.Alert, name)
			}
		}
		if got, want := a.Annotations["runbook_url"], runbooks+strings.ToLower(a.Alert); got != want {
			t.Errorf("%s has the runbook %q, want %q", a.Alert, got, want)
		}
	}
}

// chapters are what each runbook has, in this order.
var chapters = []string{"**Users**", "**Look**", "**Causes**", "**Do**", "**Do not**"}

// Every alert has its runbook, and every runbook its alert.
func TestRunbooks(t *testing.T) {
	_, alerts := load(t)
	page := read(t, filepath.Join(exported.Root, "docs", "runbooks.md"))
	var wanted, found []string
	for _, a := range alerts {
		wanted = append(wanted, a.Alert)
	}
	for part := range strings.SplitSeq(page, "\n### ") {
		name, text, _ := strings.Cut(part, "\n")
		if strings.HasPrefix(part, "# ") {
			continue // before the first
		}
		text, _, _ = strings.Cut(text, "\n## ")
		found = append(found, name)
		at := 0
		for _, chapter := range chapters {
			i := strings.Index(text[at:], "\n"+chapter)
			if i < 0 {
				t.Errorf("the runbook of %s lacks %s in its place", name, chapter)
				break
			}
			at += i
		}
	}
	slices.Sort(wanted)
	slices.Sort(found)
	if !slices.Equal(found, wanted) {
		t.Errorf("runbooks are %v, want one for each alert: %v", found, wanted)
	}
}

var camelCase = regexp.MustCompile(`\b[A-Z]+[a-z]+[A-Z]\w*`)

// The example for Alertmanager speaks of alerts that exist.
func TestAlertmanagerKnowsTheAlerts(t *testing.T) {
	_, alerts := load(t)
	var file struct {
		Rules []struct {
			Source []string `json:"source_matchers"`
			Target []string `json:"target_matchers"`
		} `json:"inhibit_rules"`
	}
	if err := yaml.Unmarshal([]byte(read(t, filepath.Join(rules.Folder, "alertmanager.yml"))), &file); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, rule := range file.Rules {
		for _, name := range camelCase.FindAllString(strings.Join(append(rule.Source, rule.Target...), " "), -1) {
			found++
			if !slices.ContainsFunc(alerts, func(a rules.Rule) bool { return a.Alert == name }) {
				t.Errorf("alertmanager.yml speaks of %s, which is no alert", name)
			}
		}
	}
	if found < 5 {
		t.Errorf("alertmanager.yml speaks of %d alerts", found)
	}
}

// unitTests are the parts of a file of promtool that name what is tested.
type unitTests struct {
	Tests []struct {
		Exprs []struct {
			Expr    string `json:"expr"`
			Samples []struct {
				Labels string `json:"labels"`
			} `json:"exp_samples"`
		} `json:"promql_expr_test"`
		Alerts []struct {
			Name     string `json:"alertname"`
			Expected []any  `json:"exp_alerts"`
		} `json:"alert_rule_test"`
	} `json:"tests"`
}

var alertname = regexp.MustCompile(`alertname="(\w+)"`)

// In the unit tests each alert fires at least once, and each recorded series has a value.
func TestRulesAreTested(t *testing.T) {
	var file unitTests
	if err := yaml.Unmarshal([]byte(read(t, filepath.Join(rules.Folder, "rules_test.yml"))), &file); err != nil {
		t.Fatal(err)
	}
	tested := make(map[string]bool)
	for _, test := range file.Tests {
		for _, a := range test.Alerts {
			tested[a.Name] = tested[a.Name] || len(a.Expected) > 0
		}
		for _, e := range test.Exprs {
			if len(e.Samples) == 0 {
				continue
			}
			names, err := exported.Used(e.Expr)
			if err != nil {
				t.Errorf("%s: %v", e.Expr, err)
			}
			for _, name := range names {
				tested[name] = true
			}
			for _, s := range e.Samples {
				if m := alertname.FindStringSubmatch(s.Labels); m != nil {
					tested[m[1]] = true
				}
			}
		}
	}
	records, alerts := load(t)
	for _, r := range append(records, alerts...) {
		if name := r.Record + r.Alert; !tested[name] {
			t.Errorf("no unit test expects %s", name)
		}
	}
}

// What rules read is exported by nodes or recorded by another rule.
func TestMetricsExist(t *testing.T) {
	records, alerts := load(t)
	names := exported.Names(t)
	for _, r := range records {
		names[r.Record] = true
	}
	for _, r := range append(records, alerts...) {
		used, err := exported.Used(r.Expr)
		if err != nil {
			t.Errorf("%s: %v", r.Record+r.Alert, err)
		}
		for _, name := range used {
			if !names[name] {
				t.Errorf("%s reads %s, which no node exports and no rule records", r.Record+r.Alert, name)
			}
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
