// Package compose_test checks docker-compose.yml and what it mounts.
package compose_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"sigs.k8s.io/yaml"

	"example.com/chorus/deploy/tools/settings"
)

const root = "../../.."

func load(t *testing.T) *types.Project {
	t.Helper()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  dir,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "docker-compose.yml")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// What is mounted exists, what is published is for clients or for this machine alone, and what is waited for is healthy some time.
func TestServices(t *testing.T) {
	project := load(t)
	for _, name := range []string{"redis", "node", "haproxy", "prometheus", "grafana"} {
		if _, ok := project.Services[name]; !ok {
			t.Errorf("no service %s", name)
		}
	}
	for name, s := range project.Services {
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind {
				if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
					t.Errorf("%s mounts %s: %v, read-only %t", name, v.Source, err, v.ReadOnly)
				}
			}
		}
		for _, p := range s.Ports {
			if name != "haproxy" && p.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %s to everyone", name, p.Published)
			}
		}
		if s.Build != nil {
			if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
				t.Error(err)
			}
		} else if !regexp.MustCompile(`:v?[0-9]`).MatchString(s.Image) {
			t.Errorf("%s: image %s has no version", name, s.Image)
		}
		for other, d := range s.DependsOn {
			if d.Condition == types.ServiceConditionHealthy && project.Services[other].HealthCheck == nil {
				t.Errorf("%s waits for the health of %s, which has no check", name, other)
			}
		}
	}
}

// Nothing in the service of nodes is for one of them only, so that there may be any number.
func TestNodesScale(t *testing.T) {
	node := load(t).Services["node"]
	if n := node.GetScale(); n != 3 {
		t.Errorf("%d nodes, want 3", n)
	}
	if node.ContainerName != "" || node.Hostname != "" || len(node.Ports) > 0 {
		t.Errorf("container_name %q, hostname %q, ports %v: only one node can have these", node.ContainerName, node.Hostname, node.Ports)
	}
	for _, v := range node.Volumes {
		t.Errorf("all nodes share %s", v.Target)
	}
	for _, name := range []string{"CHORUS_NODE_ID", "CHORUS_NODE_ROUTE_TAG", "CHORUS_CLUSTER_ADVERTISE"} {
		if value, ok := node.Environment[name]; ok {
			t.Errorf("all nodes have %s=%s", name, *value)
		}
	}
	if !node.ReadOnly || !slices.Equal(node.CapDrop, []string{"ALL"}) || node.Privileged {
		t.Error("a node has more rights than it needs")
	}
}

// A node knows its settings and has the time to end that they give it.
func TestSettingsOfNodes(t *testing.T) {
	program, err := settings.Build(root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	node := load(t).Services["node"]
	env := []string{"CHORUS_INTERNAL_ADDR=:9464"} // of the image
	for name, value := range node.Environment {
		env = append(env, name+"="+*value)
	}
	if err := program.Check(nil, env); err != nil {
		t.Error(err)
	}
	timeout, err := program.DrainTimeout()
	if err != nil {
		t.Fatal(err)
	}
	if grace := time.Duration(*node.StopGracePeriod); grace < timeout+5*time.Second {
		t.Errorf("stop_grace_period %s, drain.timeout %s", grace, timeout)
	}
}

// The names by which services look for each other are those of services.
func TestNames(t *testing.T) {
	project := load(t)
	var prometheus struct {
		Jobs []struct {
			Name string `json:"job_name"`
			DNS  []struct {
				Names []string `json:"names"`
				Port  int      `json:"port"`
			} `json:"dns_sd_configs"`
			Static []struct {
				Targets []string `json:"targets"`
			} `json:"static_configs"`
		} `json:"scrape_configs"`
	}
	decode(t, "deploy/prometheus/prometheus.yml", &prometheus)
	var hosts []string
	for _, job := range prometheus.Jobs {
		for _, d := range job.DNS {
			hosts = append(hosts, d.Names...)
			if job.Name != "chorus" || d.Port != 9464 {
				t.Errorf("job %s asks port %d", job.Name, d.Port)
			}
		}
		for _, s := range job.Static {
			hosts = append(hosts, s.Targets...)
		}
	}
	var sources datasources
	decode(t, "deploy/grafana/provisioning/datasources/prometheus.yml", &sources)
	hosts = append(hosts, strings.TrimPrefix(sources.Datasources[0].URL, "http://"))
	haproxy := regexp.MustCompile(`(?m)^\s*server(?:-template)? .*?(\w+:3000)`).FindAllStringSubmatch(text(t, "deploy/haproxy/haproxy.cfg"), -1)
	if len(haproxy) == 0 {
		t.Error("haproxy.cfg has no servers")
	}
	for _, m := range haproxy {
		hosts = append(hosts, m[1])
	}
	for _, host := range hosts {
		name, _, _ := strings.Cut(host, ":")
		if _, ok := project.Services[name]; !ok {
			t.Errorf("somebody looks for %s, which is no service", host)
		}
	}
}

func text(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// decode reads YAML.
func decode(t *testing.T, name string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text(t, name)), into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
