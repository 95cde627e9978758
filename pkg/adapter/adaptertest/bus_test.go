package adaptertest_test

import (
	"testing"

	"go.uber.org/goleak"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBus(t *testing.T) {
	adaptertest.Run(t, func(*testing.T) []adapter.Adapter {
		bus := adaptertest.NewBus(nil)
		return []adapter.Adapter{bus.Add("a"), bus.Add("b"), bus.Add("c")}
	})
}
