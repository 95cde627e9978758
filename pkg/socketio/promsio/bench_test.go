package promsio_test

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/promsio"
	"example.com/chorus/pkg/socketio/siotest"
)

// BenchmarkBroadcast is a broadcast to one client, whose packets are thrown away, with and without a collector: what a
// collector costs each broadcast is the difference.
func BenchmarkBroadcast(b *testing.B) {
	for name, collected := range map[string]bool{"alone": false, "collected": true} {
		b.Run(name, func(b *testing.B) {
			ctx := context.Background()
			server, err := socketio.NewServer(nil)
			if err != nil {
				b.Fatal(err)
			}
			if collected {
				prometheus.NewRegistry().MustRegister(promsio.New(server))
			}
			client, err := siotest.Connect(ctx, server, nil)
			if err != nil {
				b.Fatal(err)
			}
			read := make(chan struct{})
			go func() {
				defer close(read)
				for {
					if _, err := client.Next(ctx); err != nil {
						return
					}
				}
			}()
			b.ReportAllocs()
			for b.Loop() {
				if err := server.Volatile().Emit(ctx, "x", "y"); err != nil {
					b.Fatal(err)
				}
			}
			client.Close()
			<-read
			_ = server.Shutdown(ctx)
		})
	}
}
