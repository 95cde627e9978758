package adaptertest_test

import (
	"testing"
	"time"

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

func TestBusRequests(t *testing.T) {
	adaptertest.RunRequests(t, adaptertest.Requests{
		Connect: func(*testing.T) []adapter.Adapter {
			bus := adaptertest.NewBus(&adaptertest.BusOptions{Timeout: 500 * time.Millisecond, Lapse: 200 * time.Millisecond})
			return []adapter.Adapter{bus.Add("a"), bus.Add("b"), bus.Add("c")}
		},
		Kill: func(_ *testing.T, a adapter.Adapter) { a.(*adaptertest.BusNode).Kill() },
	})
}
