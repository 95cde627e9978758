// Package chart renders the Helm chart of Chorus, as Helm does.
package chart

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/yaml"
)

// Release is the name of the release that is rendered, and of its namespace.
const Release = "chorus"

// Object is one rendered object.
type Object struct {
	File    string         // of the template, such as deployment.yaml
	Text    string         // YAML, with the comments of the template
	Content map[string]any // the same, decoded
}

// Kind returns the kind of the object, such as Deployment.
func (o Object) Kind() string {
	kind, _ := o.Content["kind"].(string)
	return kind
}

// Name returns the name of the object.
func (o Object) Name() string {
	meta, _ := o.Content["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	return name
}

// Key tells the objects of one namespace apart.
func (o Object) Key() string { return o.Kind() + "/" + o.Name() }

var separator = regexp.MustCompile(`(?m)^---\n`)

// Render returns the objects of the chart in dir, ordered by template, after it has checked the values by the schema.
func Render(dir string, values map[string]any) ([]Object, error) {
	loaded, err := loader.LoadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("chart: %w", err)
	}
	options := common.ReleaseOptions{Name: Release, Namespace: Release, Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(loaded, values, options, common.DefaultCapabilities)
	if err != nil {
		return nil, fmt.Errorf("chart: values: %w", err)
	}
	files, err := engine.Render(loaded, all)
	if err != nil {
		return nil, fmt.Errorf("chart: %w", err)
	}
	var objects []Object
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if path.Ext(name) != ".yaml" {
			continue
		}
		for _, text := range separator.Split(files[name], -1) {
			o := Object{File: path.Base(name), Text: strings.Trim(text, "\n") + "\n"}
			if err := yaml.Unmarshal([]byte(text), &o.Content); err != nil {
				return nil, fmt.Errorf("chart: %s: %w", name, err)
			}
			if len(o.Content) > 0 { // else a template that has nothing to say
				objects = append(objects, o)
			}
		}
	}
	return objects, nil
}
