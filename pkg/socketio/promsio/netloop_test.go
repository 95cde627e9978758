package promsio

import (
	"context"
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/chorus/pkg/socketio"
)

// The form that a real server has is one of those that are known, and the only one that is told.
func TestNetLoop(t *testing.T) {
	for _, mode := range []socketio.NetLoop{socketio.NetLoopAuto, socketio.NetLoopPortable} {
		io, err := socketio.NewServer(&socketio.Options{NetLoop: mode})
		if err != nil {
			t.Fatal(err)
		}
		r := prometheus.NewPedanticRegistry()
		if err := r.Register(New(io)); err != nil {
			t.Fatal(err)
		}
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]float64)
		for _, f := range families {
			if f.GetName() == namespace+"_netloop_info" {
				for _, m := range f.GetMetric() {
					got[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
				}
			}
		}
		want := map[string]float64{"epoll+io_submit": 0, "epoll": 0, "portable": 0}
		want[io.NetLoop()]++
		if !maps.Equal(got, want) {
			t.Errorf("mode %s: %v, want %v", mode, got, want)
		}
		_ = io.Shutdown(context.Background())
	}
}
