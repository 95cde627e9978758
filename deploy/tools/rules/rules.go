// Package rules reads deploy/prometheus/rules.yml. Its tests are those that promtool does not have: what an alert says, that its
// runbook exists, that a unit test covers it, and that nodes export what it reads.
package rules

import (
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"

	"example.com/chorus/deploy/tools/exported"
)

// Rule is a recorded series or an alert.
type Rule struct {
	Record      string            `json:"record"` // the name of the series, empty for an alert
	Alert       string            `json:"alert"`  // the name of the alert
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// Folder is where the rules are, as packages two folders below deploy see it.
var Folder = filepath.Join(exported.Root, "deploy", "prometheus")

// Read returns the recorded series and the alerts.
func Read() (records, alerts []Rule, err error) {
	text, err := os.ReadFile(filepath.Join(Folder, "rules.yml"))
	if err != nil {
		return nil, nil, err
	}
	var file struct {
		Groups []struct {
			Name  string `json:"name"`
			Rules []Rule `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		return nil, nil, fmt.Errorf("rules.yml: %w", err)
	}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Record != "" {
				records = append(records, r)
			} else {
				alerts = append(alerts, r)
			}
		}
	}
	return records, alerts, nil
}
