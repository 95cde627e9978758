package chart_test

import (
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"example.com/chorus/deploy/tools/chart"
)

// objects are typed objects of Kubernetes.
type objects []runtime.Object

// typed decodes objects as strictly as an API server with field validation: an unknown field or one twice is an error.
func typed(t *testing.T, rendered []chart.Object) objects {
	t.Helper()
	known := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, monitoring.AddToScheme, gateway.Install} {
		if err := add(known); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer()
	list := make(objects, 0, len(rendered))
	for _, o := range rendered {
		decoded, _, err := decoder.Decode([]byte(o.Text), nil, nil)
		if err != nil {
			t.Fatalf("%s: %v\n%s", o.File, err, o.Text)
		}
		list = append(list, decoded)
	}
	return list
}

// each returns the objects of one type.
func each[T runtime.Object](list objects) []T {
	var found []T
	for _, o := range list {
		if t, ok := o.(T); ok {
			found = append(found, t)
		}
	}
	return found
}

func (list objects) deployment(t *testing.T) *apps.Deployment {
	t.Helper()
	found := each[*apps.Deployment](list)
	if len(found) != 1 {
		t.Fatalf("%d Deployments, want 1", len(found))
	}
	return found[0]
}
