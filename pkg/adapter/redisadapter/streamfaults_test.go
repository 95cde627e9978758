package redisadapter_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/adapter/redisadapter"
)

// joinRecorder joins a namespace with a Recorder and waits until the adapter is ready.
func joinRecorder(t *testing.T, a adapter.Adapter, namespace string) (*adaptertest.Recorder, adapter.Link) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = a.Close(ctx)
	})
	r := adaptertest.NewRecorder()
	link, err := a.Join(t.Context(), namespace, r)
	if err != nil {
		t.Fatal(err)
	}
	adaptertest.AwaitReady(t, a)
	return r, link
}

// text returns the argument of an event made by adaptertest.Event.
func text(r adapter.Record) string {
	s := strings.TrimPrefix(string(r.Message.Packet.Data), `["event","`)
	return strings.TrimSuffix(s, `"]`)
}

// Connections that break all the time, of readers and of writers whose answers get lost, cost nothing and double nothing.
func TestStreamsBrokenConnections(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	o := redisadapter.StreamsOptions{Options: redisadapter.Options{Logger: quiet(nil)}, LocalAfter: 10 * time.Second}
	adapters := streamNodes(t, server.addr, 2, o)
	one, link := joinRecorder(t, adapters[0], "/")
	two, _ := joinRecorder(t, adapters[1], "/")
	control := client(t, server.addr)
	stop := make(chan struct{})
	var breaker sync.WaitGroup
	breaker.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				control.ClientKillByFilter(context.Background(), "TYPE", "normal", "SKIPME", "yes")
			}
		}
	})
	const messages = 2000
	for i := range messages {
		if err := link.Publish(t.Context(), adaptertest.Event(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Microsecond)
	}
	close(stop)
	breaker.Wait()
	for name, r := range map[string]*adaptertest.Recorder{"the publisher": one, "the other": two} {
		for i, rec := range r.AwaitRecords(t, messages) {
			if text(rec) != fmt.Sprint(i) || rec.Offset.IsZero() || rec.Again {
				t.Fatalf("%s recorded %s as number %d: %+v", name, text(rec), i, rec)
			}
		}
	}
	s := adapters[1].(adapter.Counted).Stats()
	if p := adapters[0].(adapter.Counted).Stats().PublishErrors; len(p) > 0 {
		t.Errorf("publish errors %v", p)
	}
	if len(s.Gaps) > 0 || s.Reconnects[adapter.ReconnectKey{Role: adapter.RoleSubscribe, Cause: "closed"}] == 0 {
		t.Errorf("gaps %v, reconnects %v", s.Gaps, s.Reconnects)
	}
}

// While Redis is away the clients of a node go on; what it emitted reaches the others when Redis is back.
func TestStreamsOutage(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	o := redisadapter.StreamsOptions{Options: redisadapter.Options{Logger: quiet(nil)}, LocalAfter: 100 * time.Millisecond}
	adapters := streamNodes(t, server.addr, 2, o)
	one, link := joinRecorder(t, adapters[0], "/")
	two, _ := joinRecorder(t, adapters[1], "/")
	publish := func(s string) time.Duration {
		start := time.Now()
		if err := link.Publish(t.Context(), adaptertest.Event(s)); err != nil {
			t.Fatal(err)
		}
		return time.Since(start)
	}
	publish("before")
	two.AwaitRecords(t, 1)
	// Else its answer may get lost, and a Redis that forgot the entry is given it again.
	eventually(t, "the answer", func() bool { return adapters[0].(adapter.Counted).Stats().Published["stream"] == 1 })
	server.kill()
	eventually(t, "the loss is noticed", func() bool { return adapters[0].(adapter.Status).Ready() != nil })
	for i := range 5 {
		if d := publish(fmt.Sprint("away ", i)); d > time.Second {
			t.Errorf("Publish took %v while Redis was away", d)
		}
	}
	for i, rec := range one.AwaitRecords(t, 6)[1:] {
		if text(rec) != fmt.Sprint("away ", i) || !rec.Offset.IsZero() || !rec.Own || rec.Again {
			t.Errorf("recorded %+v, want number %d without offset", rec, i)
		}
	}
	server.start(t)
	for i, rec := range two.AwaitRecords(t, 6)[1:] {
		if text(rec) != fmt.Sprint("away ", i) {
			t.Errorf("the other recorded %s, want number %d", text(rec), i)
		}
	}
	for i, rec := range one.AwaitRecords(t, 11)[6:] {
		if text(rec) != fmt.Sprint("away ", i) || rec.Offset.IsZero() || !rec.Own || !rec.Again {
			t.Errorf("recorded %s %+v, want number %d again, with its offset", text(rec), rec, i)
		}
	}
	publish("after")
	if rec := one.AwaitRecords(t, 12)[11]; text(rec) != "after" || rec.Offset.IsZero() || rec.Again {
		t.Errorf("recorded %+v after the outage", rec)
	}
	if gaps := adapters[1].(adapter.Counted).Stats().Gaps; gaps["reset"]+gaps["trimmed"] != 1 {
		t.Errorf("gaps are %v, want one since the stream is new", gaps)
	}
	if got := len(two.Begun()); got != 2 {
		t.Errorf("%d beginnings, want 2", got)
	}
}

// A node that is slower than the stream is long counts what it missed, and goes on.
func TestStreamsTrimmed(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	o := redisadapter.StreamsOptions{Options: redisadapter.Options{Logger: quiet(nil)}, ReadCount: 10}
	adapters := streamNodes(t, server.addr, 2, o)
	_, link := joinRecorder(t, adapters[0], "/")
	two, _ := joinRecorder(t, adapters[1], "/")
	control := client(t, server.addr)
	// While no connection of the second reader lives, the stream is cut.
	if err := link.Publish(t.Context(), adaptertest.Event("first")); err != nil {
		t.Fatal(err)
	}
	two.AwaitRecords(t, 1)
	pipe := control.TxPipeline()
	for i := range 200 {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "socket.io", Values: []any{
			"uid", "ffffffffffffffff", "nsp", "/", "type", "3",
			"data", fmt.Sprintf(`{"packet":{"type":2,"data":["event","%d"]},"opts":{"rooms":[],"except":[],"flags":{}}}`, i),
		}})
	}
	pipe.XTrimMaxLen(t.Context(), "socket.io", 50)
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	records := two.AwaitRecords(t, 51)
	if text(records[50]) != "199" || text(records[1]) != "150" {
		t.Errorf("recorded %s to %s, want 150 to 199", text(records[1]), text(records[50]))
	}
	eventually(t, "the gap is counted", func() bool { return adapters[1].(adapter.Counted).Stats().Gaps["trimmed"] > 0 })
	redisadapter.Measure(t.Context(), adapters[1])
	if s := adapters[1].(adapter.Counted).Stats().Streams; s.Trimmed != 150 || s.Lag != 0 {
		t.Errorf("%+v, want 150 entries trimmed and none behind", s)
	}
	begun := two.Begun()
	if len(begun) < 2 || begun[1].Compare(records[1].Offset) < 0 {
		t.Errorf("began at %v, want again after the gap", begun)
	}
}

// Namespaces whose stream has a negative number at Node's servers.
func TestStreamsNegativeRemainder(t *testing.T) {
	server := startRedis(t)
	o := redisadapter.StreamsOptions{Options: redisadapter.Options{Logger: quiet(nil)}, StreamCount: 3}
	adapters := streamNodes(t, server.addr, 2, o)
	const namespace = "/notifications"
	_, link := joinRecorder(t, adapters[0], namespace)
	two, _ := joinRecorder(t, adapters[1], namespace)
	control := client(t, server.addr)
	if err := link.Publish(t.Context(), adaptertest.Event("ours")); err != nil {
		t.Fatal(err)
	}
	if rec := two.AwaitRecords(t, 1)[0]; rec.Offset.IsZero() {
		t.Errorf("ours has no offset")
	}
	if n := control.XLen(t.Context(), "socket.io-1").Val(); n != 2 { // with the mark of the beginning
		t.Errorf("socket.io-1 has %d entries, want ours in it", n)
	}
	err := control.XAdd(t.Context(), &redis.XAddArgs{Stream: "socket.io--2", Values: []any{
		"uid", "ffffffffffffffff", "nsp", namespace, "type", "3",
		"data", `{"packet":{"type":2,"data":["event","theirs"]},"opts":{"rooms":[],"except":[],"flags":{}}}`,
	}}).Err()
	if err != nil {
		t.Fatal(err)
	}
	if rec := two.AwaitRecords(t, 2)[1]; text(rec) != "theirs" || !rec.Offset.IsZero() {
		t.Errorf("recorded %+v, want what a Node server wrote, without offset", rec)
	}
}

// Sessions end.
func TestStreamsSessionEnds(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := streamNodes(t, server.addr, 1, redisadapter.StreamsOptions{Options: redisadapter.Options{Logger: quiet(nil)}})[0]
	_, _ = joinRecorder(t, a, "/")
	k := a.(adapter.Keeper)
	if err := k.Save(t.Context(), &adapter.Session{SID: "s", PID: "p"}, 1500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	left := client(t, server.addr).PTTL(t.Context(), "sio:session:p").Val()
	if left <= time.Second || left > 1500*time.Millisecond {
		t.Errorf("the session lives for %v, want 1.5s", left)
	}
}

// A Redis that is full, or has become a replica, is named, and gets the entries when it takes them again. Signs of life
// go on meanwhile.
func TestStreamsRefusedEntries(t *testing.T) {
	t.Parallel()
	for kind, commands := range map[string]struct{ refuse, take []any }{
		"oom":      {[]any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"}},
		"readonly": {[]any{"REPLICAOF", "127.0.0.1", "1"}, []any{"REPLICAOF", "NO", "ONE"}},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			var log lockedBuffer
			o := redisadapter.StreamsOptions{Options: redisadapter.Options{Logger: textLog(&log)}, LocalAfter: 50 * time.Millisecond}
			adapters := streamNodes(t, server.addr, 2, o)
			_, link := joinRecorder(t, adapters[0], "/")
			two, _ := joinRecorder(t, adapters[1], "/")
			publish := func(s string) {
				if err := link.Publish(t.Context(), adaptertest.Event(s)); err != nil {
					t.Fatal(err)
				}
			}
			publish("0")
			two.AwaitRecords(t, 1)
			server.do(t, commands.refuse...)
			const messages = 20
			for i := range messages - 1 {
				publish(fmt.Sprint(i + 1))
			}
			eventually(t, "readiness says why", func() bool {
				err := adapters[0].(adapter.Status).Ready()
				return err != nil && strings.Contains(strings.ToLower(err.Error()), kind)
			})
			if s := adapters[0].(adapter.Counted).Stats(); s.PublishErrors[kind] == 0 || s.PublishQueue == 0 {
				t.Errorf("publish errors %v, %d messages wait", s.PublishErrors, s.PublishQueue)
			}
			if text := log.String(); !strings.Contains(text, "kind="+kind) {
				t.Errorf("the log does not name %s: %s", kind, text)
			}
			lapse := time.Now().Add(4 * time.Second)
			eventually(t, "the lapse of those who say nothing", func() bool { return time.Now().After(lapse) })
			if n := len(adapters[1].(adapter.Member).Members()); n != 1 {
				t.Errorf("the other node knows %d nodes, want the one that cannot write", n)
			}
			server.do(t, commands.take...)
			for i, rec := range two.AwaitRecords(t, messages) {
				if text(rec) != fmt.Sprint(i) {
					t.Errorf("recorded %s as number %d", text(rec), i)
				}
			}
		})
	}
}
