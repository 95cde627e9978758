package settings_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"helm.sh/helm/v4/pkg/chart/common"

	"example.com/chorus/deploy/tools/chart"
	"example.com/chorus/deploy/tools/settings"
)

const root = "../../.."

func build(t *testing.T) *settings.Program {
	t.Helper()
	program, err := settings.Build(root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// The other tests could not fail if the program took anything.
func TestCheckRefuses(t *testing.T) {
	program := build(t)
	file := filepath.Join(t.TempDir(), "chorus.yaml")
	if err := os.WriteFile(file, []byte("redis: {uri: redis://redis:6379}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := program.Check([]string{"--config", file}, nil); err == nil {
		t.Error("an unknown key is no mistake")
	}
	if err := program.Check(nil, []string{"CHORUS_REDIS_URI=redis://redis:6379"}); err == nil {
		t.Error("an unknown variable is no mistake")
	}
	if err := program.Check(nil, []string{"CHORUS_REDIS_URL=redis://redis:6379"}); err != nil {
		t.Error(err)
	}
}

// What the kernel is told is what `chorus doctor` looks at.
func TestKernelSettings(t *testing.T) {
	doctor, err := build(t).Doctor()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"90-chorus.conf", "90-chorus-balancer.conf"} {
		text, err := os.ReadFile("../../sysctl/" + name)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for line := range strings.Lines(string(text)) {
			key, _, ok := strings.Cut(line, " = ")
			if !ok || strings.HasPrefix(key, "#") || strings.HasPrefix(key, "-") { // the last need a module
				continue
			}
			if found++; !strings.Contains(doctor, ": "+key+" ") {
				t.Errorf("%s: chorus doctor says nothing of %s", name, key)
			}
		}
		if found < 3 {
			t.Errorf("%s: found %d settings", name, found)
		}
	}
}

var variable = regexp.MustCompile(`CHORUS_[A-Z0-9_]*[A-Z0-9]`)

// Whoever names a variable of the program in these files names one that there is.
func TestVariablesExist(t *testing.T) {
	known, err := build(t).Variables()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	check := func(file string) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range variable.FindAllString(string(text), -1) {
			if found++; !known[name] {
				t.Errorf("%s: the program knows no %s", file, name)
			}
		}
	}
	check(filepath.Join(root, "docker-compose.yml"))
	err = filepath.WalkDir(filepath.Join(root, "deploy"), func(file string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && filepath.Ext(file) != ".go" {
			check(file)
		}
		return err
	})
	if err != nil || found < 20 {
		t.Errorf("found %d variables, %v", found, err)
	}
}

// The configuration file and the variables that the chart makes are settings that a node starts with.
func TestChartsSettings(t *testing.T) {
	program := build(t)
	files, err := filepath.Glob("../chart/testdata/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range append(files, "") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var values map[string]any
			if file != "" {
				if values, err = common.ReadValuesFile(file); err != nil {
					t.Fatal(err)
				}
			}
			objects, err := chart.Render("../../helm/chorus", values)
			if err != nil {
				t.Fatal(err)
			}
			args, env := started(t, objects)
			if err := program.Check(args, env); err != nil {
				t.Error(err)
			}
		})
	}
}

// started returns the arguments and the variables of the container, with files in place of volumes.
func started(t *testing.T, objects []chart.Object) (args, env []string) {
	t.Helper()
	dir := t.TempDir()
	inDir := strings.NewReplacer("/etc/chorus/", dir+"/", "/etc/chorus-secret/", dir+"/")
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("redis-password", "0123456789abcdef\n")
	write("cluster-secret", "0123456789abcdef\n")
	for _, o := range objects {
		switch o.Kind() {
		case "ConfigMap":
			var c core.ConfigMap
			decode(t, o.Text, &c)
			if text, ok := c.Data["chorus.yaml"]; ok {
				write("chorus.yaml", text)
			}
		case "Deployment":
			var d struct {
				Spec struct {
					Template core.PodTemplateSpec `json:"template"`
				} `json:"spec"`
			}
			decode(t, o.Text, &d)
			container := d.Spec.Template.Spec.Containers[0]
			for _, a := range container.Args[1:] { // after serve
				args = append(args, inDir.Replace(a))
			}
			for _, e := range container.Env {
				env = append(env, e.Name+"="+value(t, e, inDir))
			}
		}
	}
	return args, env
}

// value is what Kubernetes may put into a variable.
func value(t *testing.T, e core.EnvVar, inDir *strings.Replacer) string {
	t.Helper()
	switch from := e.ValueFrom; {
	case from == nil:
		return inDir.Replace(e.Value)
	case from.SecretKeyRef != nil:
		return "redis://:password@redis:6379"
	default:
		v := map[string]string{"metadata.name": "chorus-5d4f7c9b8-x2x7q", "status.podIP": "10.2.0.7"}[from.FieldRef.FieldPath]
		if v == "" {
			t.Errorf("%s comes from %v", e.Name, from)
		}
		return v
	}
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

// The settings beside the systemd unit work, and the unit waits for the end that they allow.
func TestUnitsSettings(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile("../../systemd/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	unit := make(map[string]string)
	for line := range strings.Lines(read("chorus.service")) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			unit[key] = value
		}
	}
	args := strings.Fields(unit["ExecStart"])
	if len(args) != 4 || args[1] != "serve" || args[3] != "/etc/chorus/chorus.yaml" {
		t.Fatalf("ExecStart is %q", args)
	}
	var env []string
	for line := range strings.Lines(read("chorus.env")) {
		// What is commented out is an example, which must work too.
		line = strings.TrimPrefix(strings.TrimSpace(line), "#")
		if name, _, ok := strings.Cut(line, "="); ok && !strings.Contains(name, " ") && !strings.HasSuffix(name, "_FILE") {
			env = append(env, line)
		}
	}
	if err := build(t).Check([]string{args[2], "../../systemd/chorus.yaml"}, env); err != nil {
		t.Error(err)
	}
	var config struct {
		Drain struct {
			Timeout string `json:"timeout"`
		} `json:"drain"`
	}
	decode(t, read("chorus.yaml"), &config)
	timeout, err := time.ParseDuration(config.Drain.Timeout)
	if err != nil {
		t.Fatal(err)
	}
	if stop, err := time.ParseDuration(unit["TimeoutStopSec"] + "s"); err != nil || stop < timeout+10*time.Second {
		t.Errorf("TimeoutStopSec=%s (%v), drain.timeout %s", unit["TimeoutStopSec"], err, timeout)
	}
}
