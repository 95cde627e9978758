package adapter_test

import (
	"testing"

	"go.uber.org/goleak"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	adaptertest.Run(t, func(*testing.T) []adapter.Adapter { return []adapter.Adapter{adapter.NewMemory()} })
}
