package redisadapter_test

import (
	"fmt"
	"testing"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/adapter/redisadapter"
)

// tally is a Recorder that only counts.
type tally struct {
	*adaptertest.Local
	done chan struct{}
	left int
}

func (c *tally) Begin(adapter.Offset) {}

func (c *tally) Record(adapter.Record) {
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

func (c *tally) Deliver(*adapter.Message) { c.Record(adapter.Record{}) }

// BenchmarkStreams publishes on one node and waits until another one has everything.
func BenchmarkStreams(b *testing.B) {
	server := startRedis(b)
	adapters := streamNodes(b, server.addr, 2, redisadapter.StreamsOptions{Options: redisadapter.Options{Logger: quiet(nil)}, MaxLen: 10_000_000})
	for _, a := range adapters {
		defer func() { _ = a.Close(b.Context()) }()
	}
	b.Run("publish and receive", func(b *testing.B) {
		to := &tally{Local: adaptertest.NewLocal("general"), done: make(chan struct{}), left: b.N}
		namespace := fmt.Sprintf("/%d", b.N)
		from, err := adapters[0].Join(b.Context(), namespace, adaptertest.NewLocal())
		if err != nil {
			b.Fatal(err)
		}
		there, err := adapters[1].Join(b.Context(), namespace, to)
		if err != nil {
			b.Fatal(err)
		}
		for deadline := time.Now().Add(5 * time.Second); adapters[0].(adapter.Status).Ready() != nil || adapters[1].(adapter.Status).Ready() != nil; {
			if time.Now().After(deadline) {
				b.Fatal("not ready")
			}
			time.Sleep(time.Millisecond)
		}
		m := chat()
		b.ReportAllocs()
		b.ResetTimer()
		for range b.N {
			if err := from.Publish(b.Context(), m); err != nil {
				b.Fatal(err)
			}
		}
		<-to.done
		b.StopTimer()
		_ = from.Leave(b.Context())
		_ = there.Leave(b.Context())
	})
}

func BenchmarkEncodeEntry(b *testing.B) {
	m := chat()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := redisadapter.EntryValues(m, "0123456789abcdef", "/"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeEntry(b *testing.B) {
	fields := map[string]any{
		"uid": "0123456789abcdef", "nsp": "/", "type": "3", "t": "1767323045678000",
		"data": `{"packet":{"type":2,"data":` + string(chat().Packet.Data) + `},"opts":{"rooms":["general"],"except":[],"flags":{}}}`,
	}
	b.ReportAllocs()
	for b.Loop() {
		if m, _, err := redisadapter.DecodeEntry("1767323045678-0", fields); m == nil || err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSession(b *testing.B) {
	s := &adapter.Session{SID: "AAAAAAAAAAAAAAAAAAAA", PID: "BBBBBBBBBBBBBBBBBBBB", Rooms: []string{"AAAAAAAAAAAAAAAAAAAA", "general"}, Data: []byte(`{"name":"Ada","id":4711}`)}
	b.ReportAllocs()
	for b.Loop() {
		value, err := redisadapter.AppendSession(s)
		if err == nil {
			_, err = redisadapter.DecodeSession(value)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
