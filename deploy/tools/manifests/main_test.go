package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"example.com/chorus/deploy/tools/chart"
)

const (
	chartDir = "../../helm/chorus"
	root     = "../../k8s"
)

func TestFilesAreWhatTheChartRenders(t *testing.T) {
	files, err := render(chartDir, root)
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := filepath.Glob(root + "/base/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range rendered {
		if name := filepath.Join("base", filepath.Base(file)); files[name] == "" && filepath.Base(file) != "kustomization.yaml" {
			t.Errorf("%s: the chart renders no such file", name)
		}
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || string(got) != want {
			t.Errorf("%s is not what the chart renders (%v): make manifests", name, err)
		}
	}
}

// own are objects of an overlay that are none of the chart.
var own = map[string][]string{
	"dev":  {"Deployment/redis", "Namespace/chorus", "Service/redis"},
	"prod": {"Namespace/chorus"},
}

// kubectl apply -k makes what helm install makes with the values of the overlay.
func TestOverlaysAreTheChartWithTheirValues(t *testing.T) {
	for overlay, extra := range own {
		t.Run(overlay, func(t *testing.T) {
			folder := filepath.Join(root, "overlays", overlay)
			values, err := common.ReadValuesFile(filepath.Join(folder, "values.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			objects, err := chart.Render(chartDir, values)
			if err != nil {
				t.Fatal(err)
			}
			want := make(map[string]string)
			for _, o := range objects {
				want[o.Key()] = normal(t, plain(o.Text))
			}
			got := build(t, folder)
			for _, key := range extra {
				if got[key] == "" {
					t.Errorf("no %s", key)
				}
				delete(got, key)
			}
			if g, w := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(g, w) {
				t.Errorf("has %q, want %q", g, w)
			}
			for key := range want {
				if got[key] != want[key] {
					t.Errorf("%s is\n%s\nthe chart makes\n%s", key, got[key], want[key])
				}
			}
		})
	}
}

// build runs kustomize.
func build(t *testing.T, folder string) map[string]string {
	t.Helper()
	result, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatal(err)
	}
	built := make(map[string]string)
	for _, r := range result.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		built[r.GetKind()+"/"+r.GetName()] = normal(t, string(text))
	}
	return built
}

// normal brings an object into one form, without its namespace.
func normal(t *testing.T, text string) string {
	t.Helper()
	var content map[string]any
	if err := yaml.Unmarshal([]byte(text), &content); err != nil {
		t.Fatal(err)
	}
	delete(content["metadata"].(map[string]any), "namespace")
	sortVariables(content)
	out, err := yaml.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// sortVariables orders env, which a patch does not.
func sortVariables(content any) {
	switch v := content.(type) {
	case map[string]any:
		for key, value := range v {
			if list, ok := value.([]any); ok && key == "env" {
				slices.SortFunc(list, func(a, b any) int {
					return strings.Compare(a.(map[string]any)["name"].(string), b.(map[string]any)["name"].(string))
				})
			}
			sortVariables(value)
		}
	case []any:
		for _, value := range v {
			sortVariables(value)
		}
	}
}

// The files that are written by hand have no field that Kubernetes does not know.
func TestOwnObjectsDecode(t *testing.T) {
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for overlay, keys := range own {
		built := build(t, filepath.Join(root, "overlays", overlay))
		for _, key := range keys {
			if _, _, err := decoder.Decode([]byte(built[key]), nil, nil); err != nil {
				t.Errorf("%s: %s: %v", overlay, key, err)
			}
		}
	}
}
