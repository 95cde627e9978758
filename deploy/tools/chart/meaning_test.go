package chart_test

import (
	"maps"
	"strconv"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// Whatever selects pods selects those of the Deployment, and with labels that stay the same over upgrades.
func TestSelectorsFindThePods(t *testing.T) {
	forEachSet(t, func(t *testing.T, list objects) {
		pods := list.deployment(t).Spec.Template.Labels
		selectors := map[string]*meta.LabelSelector{"Deployment": list.deployment(t).Spec.Selector}
		for _, s := range each[*core.Service](list) {
			selectors["Service "+s.Name] = &meta.LabelSelector{MatchLabels: s.Spec.Selector}
		}
		for _, p := range each[*policy.PodDisruptionBudget](list) {
			selectors["PodDisruptionBudget"] = p.Spec.Selector
		}
		for _, p := range each[*networking.NetworkPolicy](list) {
			selectors["NetworkPolicy"] = &p.Spec.PodSelector
			selectors["NetworkPolicy from"] = p.Spec.Ingress[1].From[0].PodSelector
			selectors["NetworkPolicy to"] = p.Spec.Egress[0].To[0].PodSelector
		}
		for _, c := range list.deployment(t).Spec.Template.Spec.TopologySpreadConstraints {
			selectors["topology "+c.TopologyKey] = c.LabelSelector
		}
		for name, selector := range selectors {
			compiled, err := meta.LabelSelectorAsSelector(selector)
			if err != nil || compiled.Empty() || !compiled.Matches(labels.Set(pods)) {
				t.Errorf("%s selects %v (%v), which are not pods with %v", name, compiled, err, pods)
			}
		}
		if found := selectors["Deployment"].MatchLabels["app.kubernetes.io/version"]; found != "" {
			t.Error("the selector of the Deployment has a version, and could never change")
		}
	})
}

// Ports that are named exist, and those of Services lead to where they say.
func TestPortsExist(t *testing.T) {
	forEachSet(t, func(t *testing.T, list objects) {
		container := list.deployment(t).Spec.Template.Spec.Containers[0]
		ports := make(map[string]int32)
		for _, p := range container.Ports {
			ports[p.Name] = p.ContainerPort
		}
		if want := map[string]int32{"http": 3000, "internal": 9464}; !maps.Equal(ports, want) {
			t.Errorf("ports of the container: %v, want %v", ports, want)
		}
		want := func(where string, port intstr.IntOrString) {
			if port.Type == intstr.String && ports[port.StrVal] == 0 {
				t.Errorf("%s: no port %s", where, port.StrVal)
			}
		}
		want("startup", container.StartupProbe.HTTPGet.Port)
		want("readiness", container.ReadinessProbe.HTTPGet.Port)
		want("liveness", container.LivenessProbe.HTTPGet.Port)
		services := make(map[string]map[string]int32)
		for _, s := range each[*core.Service](list) {
			services[s.Name] = make(map[string]int32)
			for _, p := range s.Spec.Ports {
				want("Service "+s.Name, p.TargetPort)
				services[s.Name][p.Name] = p.Port
			}
		}
		if len(services) != 3 {
			t.Errorf("%d Services, want those for clients, for nodes and for metrics", len(services))
		}
		for _, p := range each[*networking.NetworkPolicy](list) {
			for _, rule := range p.Spec.Ingress {
				want("NetworkPolicy", *rule.Ports[0].Port)
			}
		}
		for _, i := range each[*networking.Ingress](list) {
			backend := i.Spec.Rules[0].HTTP.Paths[0].Backend.Service
			if services[backend.Name][backend.Port.Name] == 0 {
				t.Errorf("Ingress: no port %s of Service %s", backend.Port.Name, backend.Name)
			}
		}
		for _, r := range each[*gateway.HTTPRoute](list) {
			backend := r.Spec.Rules[0].BackendRefs[0]
			if services[string(backend.Name)]["http"] != *backend.Port {
				t.Errorf("HTTPRoute: no port %d of Service %s", *backend.Port, backend.Name)
			}
		}
		for _, m := range each[*monitoring.ServiceMonitor](list) {
			testServiceMonitor(t, m, each[*core.Service](list))
		}
	})
}

// A ServiceMonitor finds one Service: with two, each node would be counted twice.
func testServiceMonitor(t *testing.T, m *monitoring.ServiceMonitor, services []*core.Service) {
	t.Helper()
	selector, err := meta.LabelSelectorAsSelector(&m.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, s := range services {
		if !selector.Matches(labels.Set(s.Labels)) {
			continue
		}
		found++
		if s.Spec.Ports[0].Name != m.Spec.Endpoints[0].Port {
			t.Errorf("ServiceMonitor: no port %s of Service %s", m.Spec.Endpoints[0].Port, s.Name)
		}
	}
	if found != 1 {
		t.Errorf("the ServiceMonitor finds %d Services, want 1", found)
	}
}

// A node has the time to end that it takes.
func TestEndOfANode(t *testing.T) {
	forEachSet(t, func(t *testing.T, list objects) {
		pod := list.deployment(t).Spec.Template.Spec
		var config struct {
			Drain struct {
				LameDuck meta.Duration `json:"lame_duck"`
				Spread   meta.Duration `json:"spread"`
				Timeout  meta.Duration `json:"timeout"`
			} `json:"drain"`
		}
		if err := yaml.Unmarshal([]byte(configFile(t, list)), &config); err != nil {
			t.Fatal(err)
		}
		needed := config.Drain.Timeout.Duration
		if hook := pod.Containers[0].Lifecycle; hook != nil {
			needed += time.Duration(hook.PreStop.Sleep.Seconds) * time.Second
		}
		grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second
		if config.Drain.Timeout.Duration <= config.Drain.LameDuck.Duration+config.Drain.Spread.Duration || grace < needed+10*time.Second {
			t.Errorf("grace period %s, drain %+v: too short", grace, config.Drain)
		}
	})
}

func configFile(t *testing.T, list objects) string {
	t.Helper()
	volume := list.deployment(t).Spec.Template.Spec.Volumes[0]
	for _, c := range each[*core.ConfigMap](list) {
		if text := c.Data["chorus.yaml"]; text != "" && c.Name == volume.ConfigMap.Name {
			return text
		}
	}
	t.Fatalf("no ConfigMap %s with a chorus.yaml", volume.ConfigMap.Name)
	return ""
}

// Pods have no right that they do not need.
func TestSecurity(t *testing.T) {
	forEachSet(t, func(t *testing.T, list objects) {
		pod := list.deployment(t).Spec.Template.Spec
		security, limits := pod.Containers[0].SecurityContext, pod.Containers[0].Resources.Limits
		for name, ok := range map[string]bool{
			"not root":           *pod.SecurityContext.RunAsNonRoot && *pod.SecurityContext.RunAsUser > 0,
			"seccomp":            pod.SecurityContext.SeccompProfile.Type == core.SeccompProfileTypeRuntimeDefault,
			"no token":           !*pod.AutomountServiceAccountToken,
			"no service links":   !*pod.EnableServiceLinks,
			"root is read-only":  *security.ReadOnlyRootFilesystem,
			"no escalation":      !*security.AllowPrivilegeEscalation,
			"no capabilities":    len(security.Capabilities.Drop) == 1 && security.Capabilities.Drop[0] == "ALL" && security.Capabilities.Add == nil,
			"no limit of CPU":    limits.Cpu().IsZero(),
			"no host's anything": !pod.HostNetwork && !pod.HostPID && !pod.HostIPC,
		} {
			if !ok {
				t.Errorf("not so: %s", name)
			}
		}
		for _, s := range each[*core.ServiceAccount](list) {
			if *s.AutomountServiceAccountToken {
				t.Error("the ServiceAccount gives a token")
			}
		}
	})
}

// The collector's limit is nine tenths of the container's, and there is none without it.
func TestMemoryLimit(t *testing.T) {
	forEachSet(t, func(t *testing.T, list objects) {
		container := list.deployment(t).Spec.Template.Spec.Containers[0]
		got := ""
		for _, e := range container.Env {
			if e.Name == "GOMEMLIMIT" {
				got = e.Value
			}
		}
		want := ""
		if limit, ok := container.Resources.Limits[core.ResourceMemory]; ok {
			want = strconv.FormatInt(limit.Value()*9/10, 10)
		}
		if got != want {
			t.Errorf("GOMEMLIMIT = %q, want %q", got, want)
		}
	})
}

// Volumes and variables read of ConfigMaps and Secrets that are rendered, or of the Secret that is named in the values.
func TestReferences(t *testing.T) {
	forEachSet(t, func(t *testing.T, list objects) {
		known := map[string]bool{"credentials/password": true, "credentials/secret": true, "credentials/url": true, "redis-ca/": true}
		for _, c := range each[*core.ConfigMap](list) {
			known[c.Name+"/"] = true
		}
		for _, s := range each[*core.Secret](list) {
			for key := range s.StringData {
				known[s.Name+"/"+key] = true
			}
		}
		pod := list.deployment(t).Spec.Template.Spec
		mounts := make(map[string]bool)
		for _, v := range pod.Volumes {
			mounts[v.Name] = true
			if v.ConfigMap != nil && !known[v.ConfigMap.Name+"/"] {
				t.Errorf("no ConfigMap %s", v.ConfigMap.Name)
			}
			if v.Secret != nil {
				for _, item := range v.Secret.Items {
					if !known[v.Secret.SecretName+"/"+item.Key] {
						t.Errorf("no key %s of a Secret %s", item.Key, v.Secret.SecretName)
					}
				}
			}
		}
		for _, m := range pod.Containers[0].VolumeMounts {
			if !mounts[m.Name] {
				t.Errorf("no volume %s", m.Name)
			}
		}
		for _, e := range pod.Containers[0].Env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil && !known[e.ValueFrom.SecretKeyRef.Name+"/"+e.ValueFrom.SecretKeyRef.Key] {
				t.Errorf("no key %s of a Secret %s", e.ValueFrom.SecretKeyRef.Key, e.ValueFrom.SecretKeyRef.Name)
			}
		}
	})
}

// The autoscaler alone says how many nodes there are, where there is one, and takes them away slowly.
func TestAutoscaling(t *testing.T) {
	forEachSet(t, func(t *testing.T, list objects) {
		deployment, scalers := list.deployment(t), each[*autoscaling.HorizontalPodAutoscaler](list)
		if (deployment.Spec.Replicas == nil) != (len(scalers) == 1) {
			t.Errorf("%d autoscalers, and replicas %v", len(scalers), deployment.Spec.Replicas)
		}
		for _, h := range scalers {
			if h.Spec.ScaleTargetRef.Name != deployment.Name || h.Spec.ScaleTargetRef.Kind != "Deployment" || h.Spec.ScaleTargetRef.APIVersion != "apps/v1" {
				t.Errorf("scales %+v, want %s", h.Spec.ScaleTargetRef, deployment.Name)
			}
			if down := h.Spec.Behavior.ScaleDown; *down.StabilizationWindowSeconds < 300 || len(down.Policies) != 1 || down.Policies[0].Value != 1 {
				t.Errorf("scales down by %+v", down)
			}
			if *h.Spec.MinReplicas > h.Spec.MaxReplicas || len(h.Spec.Metrics) == 0 {
				t.Errorf("scales %d to %d by %v", *h.Spec.MinReplicas, h.Spec.MaxReplicas, h.Spec.Metrics)
			}
		}
		if u := deployment.Spec.Strategy.RollingUpdate; u.MaxUnavailable.IntValue() != 0 || u.MaxSurge.IntValue() != 1 {
			t.Errorf("rolls %+v", u)
		}
	})
}
