package redisadapter_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/adapter/redisadapter"
)

// slowRecorder is a namespace that takes nothing until it is let go.
type slowRecorder struct {
	*adaptertest.Recorder
	hold chan struct{}
}

func (r slowRecorder) Record(rec adapter.Record) {
	<-r.hold
	r.Recorder.Record(rec)
}

// A node whose namespace takes nothing is behind by what it does not read.
func TestStreamLag(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := streamNodes(t, server.addr, 1, redisadapter.StreamsOptions{Options: redisadapter.Options{Logger: quiet(nil)}})[0]
	t.Cleanup(func() { _ = a.Close(t.Context()) })
	namespace := slowRecorder{adaptertest.NewRecorder(), make(chan struct{})}
	if _, err := a.Join(t.Context(), "/", namespace); err != nil {
		t.Fatal(err)
	}
	adaptertest.AwaitReady(t, a)
	lag := func() uint64 {
		redisadapter.Measure(t.Context(), a)
		return a.(adapter.Counted).Stats().Streams.Lag
	}
	eventually(t, "the reader is at the end", func() bool { return lag() == 0 })

	const entries, kept = 6000, 4096 // in the queue of the namespace
	pipe := client(t, server.addr).Pipeline()
	for range entries {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "socket.io", Values: []any{
			"uid", "ffffffffffffffff", "nsp", "/", "type", "3",
			"data", `{"packet":{"type":2,"data":["event","x"]},"opts":{"rooms":[],"except":[],"flags":{}}}`,
		}})
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node is behind", func() bool { n := lag(); return n > 0 && n < entries-kept })
	close(namespace.hold)
	namespace.AwaitRecords(t, entries)
	eventually(t, "the node has caught up", func() bool { return lag() == 0 })
	if n := a.(adapter.Counted).Stats().Streams.Trimmed; n != 0 {
		t.Errorf("%d entries trimmed, want none", n)
	}
}
