package socketio_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/socketio"
)

func TestServerSideEmit(t *testing.T) {
	inCluster(t, func(t *testing.T, bus *adaptertest.Bus, one, two, three *clusterNode) {
		var mu sync.Mutex
		got := map[string][]string{}
		for name, n := range map[string]*clusterNode{"one": one, "two": two, "three": three} {
			n.OnServerSide("hello", func(_ context.Context, args socketio.Args) error {
				var text string
				var data []byte
				if err := args.Decode(&text, &data); err != nil {
					return err
				}
				if args.WantsAck() {
					return errors.New("nobody asked for it")
				}
				if err := args.Ack(context.Background()); !errors.Is(err, socketio.ErrNoAck) {
					return fmt.Errorf("Ack = %w", err)
				}
				mu.Lock()
				defer mu.Unlock()
				got[name] = append(got[name], text+string(data))
				return nil
			})
		}
		for i := range 100 {
			must(one.ServerSideEmit(t.Context(), "hello", fmt.Sprint(i), []byte("x")))
		}
		synctest.Wait()
		var want []string
		for i := range 100 {
			want = append(want, fmt.Sprintf("%dx", i))
		}
		if got["one"] != nil || !slices.Equal(got["two"], want) || !slices.Equal(got["three"], want) {
			t.Errorf("handled %v", got)
		}
		if n := two.Stats().ServerSide["handled"]; n != 100 {
			t.Errorf("%d events are counted, want 100; the log has %s", n, two.log)
		}
		for _, event := range []string{"connect", "connection", "new_namespace"} {
			if err := one.ServerSideEmit(t.Context(), event); !errors.Is(err, socketio.ErrReservedEvent) {
				t.Errorf("ServerSideEmit(%q) = %v", event, err)
			}
			if _, err := one.ServerSideEmitWithAck(t.Context(), event); !errors.Is(err, socketio.ErrReservedEvent) {
				t.Errorf("ServerSideEmitWithAck(%q) = %v", event, err)
			}
			panics(t, func() { one.OnServerSide(event, nil) })
		}
		panics(t, func() { one.OnServerSide("hello", nil) })
		if err := one.ServerSideEmit(t.Context(), "x", make(chan int)); err == nil {
			t.Error("a channel was emitted")
		}
		if err := one.ServerSideEmit(t.Context(), "x", slices.Repeat([]any{[]byte{1}}, 11)...); !errors.Is(err, socketio.ErrTooManyAttachments) {
			t.Errorf("11 binary values = %v", err)
		}
	})
}

func panics(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	f()
}

func TestServerSideEmitWithAck(t *testing.T) {
	inCluster(t, func(t *testing.T, bus *adaptertest.Bus, one, two, three *clusterNode) {
		release := make(chan struct{})
		for name, n := range map[string]*clusterNode{"one": one, "two": two, "three": three} {
			n.OnServerSide("name", func(ctx context.Context, args socketio.Args) error {
				if err := args.Ack(ctx, name, []byte{1}); err != nil {
					return err
				}
				if err := args.Ack(ctx); !errors.Is(err, socketio.ErrAcked) {
					t.Errorf("second Ack = %v", err)
				}
				return nil
			})
		}
		two.OnServerSide("later", func(ctx context.Context, args socketio.Args) error {
			args = args.Clone()
			go func() {
				<-release
				must(args.Ack(context.Background(), "late"))
			}()
			return nil
		})
		answers, err := one.ServerSideEmitWithAck(t.Context(), "name")
		if got := words(t, answers); err != nil || !slices.Equal(got, []string{"three", "two"}) {
			t.Errorf("ServerSideEmitWithAck = %q, %v", got, err)
		}
		var data []byte
		if err := answers[0].Raw(1).Decode(&data); err != nil || !slices.Equal(data, []byte{1}) {
			t.Errorf("binary value = %v, %v", data, err)
		}
		time.AfterFunc(time.Second, func() { close(release) })
		answers, err = one.ServerSideEmitWithAck(t.Context(), "later")
		if got := words(t, answers); !slices.Equal(silent(err), []string{"three"}) || !slices.Equal(got, []string{"late"}) {
			t.Errorf("ServerSideEmitWithAck = %q, %v, want late and three silent", got, err)
		}
	})
}

// A handler that fails, panics or blocks harms nobody.
func TestServerSideHandlersFail(t *testing.T) {
	inCluster(t, func(t *testing.T, bus *adaptertest.Bus, one, two, three *clusterNode) {
		ctx := t.Context()
		two.OnServerSide("panic", func(context.Context, socketio.Args) error { panic("oh") })
		two.OnServerSide("fail", func(context.Context, socketio.Args) error { return errors.New("no luck") })
		two.OnServerSide("well", func(ctx context.Context, args socketio.Args) error {
			if args.WantsAck() {
				return args.Ack(ctx, "well")
			}
			return nil
		})
		for _, event := range []string{"panic", "fail", "unknown"} {
			must(one.ServerSideEmit(ctx, event))
		}
		three.bus.Silence(true)
		answers, err := one.ServerSideEmitWithAck(ctx, "well")
		if !slices.Equal(words(t, answers), []string{"well"}) || !slices.Equal(silent(err), []string{"three"}) {
			t.Errorf("ServerSideEmitWithAck = %v, %v", answers, err)
		}
		st := two.Stats()
		if st.ServerSide["failed"] != 2 || st.ServerSide["no_handler"] != 1 || st.ServerSide["handled"] != 1 || st.HandlerPanics != 1 {
			t.Errorf("ServerSide = %v with %d panics", st.ServerSide, st.HandlerPanics)
		}
		for _, want := range []string{"no luck", "panic: oh", "serverside_test.go"} {
			if !strings.Contains(two.log.String(), want) {
				t.Errorf("the log has no %q: %s", want, two.log)
			}
		}

		blocked, release := make(chan struct{}), make(chan struct{})
		two.OnServerSide("block", func(context.Context, socketio.Args) error {
			close(blocked)
			<-release
			return nil
		})
		must(one.ServerSideEmit(ctx, "block"))
		<-blocked
		for range 1100 {
			must(one.ServerSideEmit(ctx, "well"))
		}
		must(one.To("two").Emit(ctx, "broadcasts go on"))
		must(two.client.Expect(ctx, "broadcasts go on"))
		if n, err := one.To("two").Except("three").Count(ctx); n != 1 || !slices.Equal(silent(err), []string{"three"}) {
			t.Errorf("Count beside a busy handler = %d, %v", n, err)
		}
		synctest.Wait()
		if n := two.Stats().ServerSide["queue_full"]; n != 1100-1024 {
			t.Errorf("%d events were dropped, want %d", n, 1100-1024)
		}
		close(release)
		synctest.Wait()
		if n := two.Stats().ServerSide["handled"]; n != 1+1+1024 {
			t.Errorf("%d events were handled, want %d", n, 1+1+1024)
		}
	})
}

// A handler's context ends with the server, which waits for it.
func TestServerSideHandlersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := adaptertest.NewBus(nil)
		one, err := socketio.NewServer(&socketio.Options{Adapter: bus.Add("one")})
		must(err)
		two, err := socketio.NewServer(&socketio.Options{Adapter: bus.Add("two")})
		must(err)
		returned := false
		two.OnServerSide("wait", func(ctx context.Context, _ socketio.Args) error {
			<-ctx.Done()
			time.Sleep(time.Second)
			returned = true
			return nil
		})
		must(one.ServerSideEmit(t.Context(), "wait"))
		synctest.Wait()
		must(two.Shutdown(t.Context()))
		if !returned {
			t.Error("Shutdown did not wait for the handler")
		}
		must(one.ServerSideEmit(t.Context(), "wait"))
		must(one.Shutdown(t.Context()))
	})
}

// Children of a parent have its handlers, on the nodes where they exist.
func TestServerSideOfChildren(t *testing.T) {
	bus := adaptertest.NewBus(nil)
	one, front := start(t, &socketio.Options{Adapter: bus.Add("one")})
	two, other := start(t, &socketio.Options{Adapter: bus.Add("two")})
	got := make(chan string, 1)
	for _, s := range []*socketio.Server{one, two} {
		s.OfMatch(regexp.MustCompile(`^/a$`)).OnServerSide("e", func(_ context.Context, args socketio.Args) error {
			var text string
			err := args.Decode(&text)
			got <- text
			return err
		})
	}
	dial(t, front, "/a")
	dial(t, other, "/a")
	must(one.Of("/a").ServerSideEmit(t.Context(), "e", "hello"))
	if text := receive(t, got); text != "hello" {
		t.Errorf("got %q", text)
	}
	nodes, err := one.Of("/a").Nodes(t.Context())
	if err != nil || len(nodes) != 2 {
		t.Errorf("Nodes = %v, %v", nodes, err)
	}
}

func TestServerSideTyped(t *testing.T) {
	type question struct{ N int }
	const (
		reload socketio.Event[string]       = "reload"
		double socketio.Call[question, int] = "double"
		odd    socketio.Call[int, string]   = "odd"
	)
	inCluster(t, func(t *testing.T, bus *adaptertest.Bus, one, two, three *clusterNode) {
		var reloaded []string
		for i, n := range []*clusterNode{two, three} {
			reload.HandleServerSide(n, func(_ context.Context, what string) error {
				if n == two {
					reloaded = append(reloaded, what)
				}
				return nil
			})
			double.HandleServerSide(n, func(_ context.Context, q question) (int, error) {
				if q.N < 0 && i == 0 {
					return 0, errors.New("negative")
				}
				return 2*q.N + i, nil
			})
			n.OnServerSide(string(odd), func(ctx context.Context, args socketio.Args) error { return args.Ack(ctx, i) })
		}
		must(reload.EmitServerSide(t.Context(), one, "config"))
		answers, err := double.CallServerSide(t.Context(), one, question{21})
		slices.Sort(answers)
		if err != nil || !slices.Equal(answers, []int{42, 43}) || !slices.Equal(reloaded, []string{"config"}) {
			t.Errorf("CallServerSide = %v, %v; reloaded %q", answers, err, reloaded)
		}
		answers, err = double.CallServerSide(t.Context(), one, question{-1})
		if !slices.Equal(silent(err), []string{"two"}) || !slices.Equal(answers, []int{-1}) {
			t.Errorf("CallServerSide with a failure = %v, %v", answers, err)
		}
		if texts, err := odd.CallServerSide(t.Context(), one, 1); err == nil || len(texts) != 0 {
			t.Errorf("answers of another type = %v, %v", texts, err)
		}
		must(one.ServerSideEmit(t.Context(), string(reload), 7)) // not of the type
		must(one.ServerSideEmit(t.Context(), string(double), question{1}))
		synctest.Wait()
		if n := two.Stats().ServerSide["failed"]; n != 2 {
			t.Errorf("%d events failed, want 2", n)
		}
	})
}

// lag is the delay of the answers of one node.
func lag(node string, d time.Duration) func(from, to adapter.Node, r *adapter.Response) []time.Duration {
	return func(from, _ adapter.Node, _ *adapter.Response) []time.Duration {
		if from.Name == node {
			return []time.Duration{d}
		}
		return []time.Duration{0}
	}
}

// Answers stream: who is fast is not held up by who is slow.
func TestClusterSocketsStream(t *testing.T) {
	inCluster(t, func(t *testing.T, bus *adaptertest.Bus, one, two, three *clusterNode) {
		bus.Answers(lag("two", 3*time.Second))
		start := time.Now()
		var at []time.Duration
		for _, err := range one.Sockets(t.Context()) {
			must(err)
			at = append(at, time.Since(start))
		}
		if !slices.Equal(at, []time.Duration{0, 0, 3 * time.Second}) {
			t.Errorf("sockets came after %v, want 0, 0 and 3 s", at)
		}
	})
}
