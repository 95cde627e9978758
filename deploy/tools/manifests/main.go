// Command manifests renders deploy/k8s from the Helm chart: all that the chart has by default into base, and into each
// overlay the objects that its values add.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"

	"example.com/chorus/deploy/tools/chart"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: manifests CHART K8S")
		os.Exit(2)
	}
	files, err := render(os.Args[1], os.Args[2])
	if err == nil {
		err = write(os.Args[2], files)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "manifests:", err)
		os.Exit(1)
	}
}

const header = "# Rendered from deploy/helm/chorus by `make manifests`.\n"

// render returns the text of each file below root, the folder of the overlays' values.
func render(chartDir, root string) (map[string]string, error) {
	base, err := chart.Render(chartDir, nil)
	if err != nil {
		return nil, err
	}
	known := make(map[string]bool)
	files := make(map[string]string)
	for _, o := range base {
		known[o.Key()] = true
		add(files, filepath.Join("base", o.File), o)
	}
	overlays, err := filepath.Glob(filepath.Join(root, "overlays", "*", "values.yaml"))
	if err != nil {
		return nil, err
	}
	for _, file := range overlays {
		values, err := common.ReadValuesFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		objects, err := chart.Render(chartDir, values)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, o := range objects {
			if !known[o.Key()] {
				add(files, filepath.Join("overlays", filepath.Base(filepath.Dir(file)), o.File), o)
			}
		}
	}
	return files, nil
}

func add(files map[string]string, file string, o chart.Object) {
	if files[file] == "" {
		files[file] = header
	} else {
		files[file] += "---\n"
	}
	files[file] += plain(o.Text)
}

// plain takes away the labels that say that Helm keeps an object.
func plain(text string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if label := strings.TrimSpace(line); !strings.HasPrefix(label, "helm.sh/chart:") && !strings.HasPrefix(label, "app.kubernetes.io/managed-by:") {
			kept.WriteString(strings.TrimRight(line, " \n") + "\n")
		}
	}
	return kept.String()
}

func write(root string, files map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file := filepath.Join(root, name)
		if err := os.WriteFile(file, []byte(files[name]), 0o644); err != nil {
			return err
		}
		fmt.Println(file)
	}
	return nil
}
