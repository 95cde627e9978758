package redisadapter_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/adapter/redisadapter"
)

// TestAnswersDoNotWait lets more acknowledgements come than may wait while Redis is gone, or silent: what is lost is
// counted, and nobody who read one from a client was held up.
func TestAnswersDoNotWait(t *testing.T) {
	t.Parallel()
	const queue, acks = 16, 1000
	const classic = `{"uid":"nnnnnn","requestId":"1","type":7,"opts":{"rooms":[]},"packet":{"data":["q"],"nsp":"/"}}`
	const clustered = `{"type":3,"data":{"packet":{"type":2,"data":["q"]},"requestId":"1","opts":{"rooms":[],"except":[],"flags":{}}},` +
		`"uid":"0123456789abcdef","nsp":"/"}`
	o := redisadapter.Options{PublishQueue: queue, Watchdog: patience, Logger: quiet(nil)}
	for _, mode := range []struct {
		name string
		make func(rdb redis.UniversalClient) adapter.Adapter
		ask  []any // the command that asks for acknowledgements
	}{
		{"pubsub", func(rdb redis.UniversalClient) adapter.Adapter { return redisadapter.NewPubSub(rdb, &o) },
			[]any{"PUBLISH", "socket.io-request#/#", classic}},
		{"sharded", func(rdb redis.UniversalClient) adapter.Adapter {
			return redisadapter.NewSharded(rdb, &redisadapter.ShardedOptions{Options: o})
		}, []any{"SPUBLISH", "socket.io#/#", clustered}},
		{"streams", func(rdb redis.UniversalClient) adapter.Adapter {
			return redisadapter.NewStreams(rdb, &redisadapter.StreamsOptions{Options: o})
		}, []any{"PUBLISH", "socket.io#/#", clustered}},
	} {
		for name, stop := range map[string]func(*redisServer){"gone": (*redisServer).kill, "silent": (*redisServer).freeze} {
			t.Run(mode.name+" "+name, func(t *testing.T) {
				t.Parallel()
				server := startRedis(t)
				a := mode.make(client(t, server.addr))
				t.Cleanup(func() {
					server.kill()
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					defer cancel()
					_ = a.Close(ctx)
				})
				local := newAnswering("a")
				responders := make(chan func(*adapter.Response), 1)
				local.hand = responders
				if _, err := a.Join(t.Context(), "/", local); err != nil {
					t.Fatal(err)
				}
				adaptertest.AwaitReady(t, a)
				server.do(t, mode.ask...)
				respond := <-responders
				stop(server)
				if name == "gone" {
					eventually(t, "noticing that Redis is away", func() bool { return !a.(adapter.Counted).Stats().Up[adapter.RolePublish] })
				}
				start := time.Now()
				for range acks {
					respond(&adapter.Response{Packet: &adapter.Packet{Data: []byte(`["ok"]`)}})
				}
				if d := time.Since(start); d > 2*time.Second {
					t.Errorf("%d answers took %v", acks, d)
				}
				const flying = 256 // at most, in the batch on which Redis fell silent
				s := a.(adapter.Counted).Stats()
				signs := 3 // of life may wait too
				n := int(s.Dropped["queue_full"])
				if n == 0 || n+s.PublishQueue < acks-flying || n+s.PublishQueue > acks+signs || s.PublishQueue <= queue {
					t.Errorf("%d answers are dropped and %d wait, want %d in all, and more than %d that wait", n, s.PublishQueue, acks, queue)
				}
			})
		}
	}
}

// freeze lets the server live and do nothing, until it is killed.
func (s *redisServer) freeze() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }

// thaw ends freeze.
func (s *redisServer) thaw() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }
