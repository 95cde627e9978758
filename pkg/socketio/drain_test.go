package socketio_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/siotest"
)

// drained is a server with clients of which the end of each is timed.
type drained struct {
	*socketio.Server
	bus   *adaptertest.BusNode
	start time.Time

	watching sync.WaitGroup
	mu       sync.Mutex
	ends     []time.Duration // since start
	reasons  map[string]int
	progress []socketio.DrainProgress
}

// inDrain runs a test with a server of a cluster that has n clients. It ends what is left.
func inDrain(t *testing.T, n int, o *socketio.Options, test func(t *testing.T, bus *adaptertest.Bus, d *drained)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		bus := adaptertest.NewBus(nil)
		d := &drained{bus: bus.Add("one"), reasons: make(map[string]int)}
		o.Adapter, o.Logger = d.bus, slog.New(slog.DiscardHandler)
		o.PingInterval = time.Hour
		var err error
		if d.Server, err = socketio.NewServer(o); err != nil {
			t.Fatal(err)
		}
		for range n {
			c, err := siotest.Connect(t.Context(), d, nil)
			if err != nil {
				t.Fatal(err)
			}
			d.watching.Go(func() {
				defer c.Close()
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Hour)
				defer cancel()
				reason, err := c.Wait(ctx)
				d.mu.Lock()
				defer d.mu.Unlock()
				d.ends = append(d.ends, time.Since(d.start))
				d.reasons[string(reason)]++
				if err != nil {
					t.Errorf("a client: %v", err)
				}
			})
		}
		d.start = time.Now()
		test(t, bus, d)
		if err := d.Shutdown(context.Background()); err != nil && !errors.Is(err, socketio.ErrServerClosed) {
			t.Errorf("Shutdown: %v", err)
		}
		d.watching.Wait()
	})
}

// with returns the options of a drain whose progress is kept.
func (d *drained) with(o socketio.DrainOptions) *socketio.DrainOptions {
	o.OnProgress = func(p socketio.DrainProgress) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.progress = append(d.progress, p)
	}
	return &o
}

// phases returns the phases that were told, each once in a row.
func (d *drained) phases() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for _, p := range d.progress {
		if len(names) == 0 || names[len(names)-1] != string(p.Phase) {
			names = append(names, string(p.Phase))
		}
	}
	return strings.Join(names, " ")
}

// closedBy returns how many clients were closed until a time after the start.
func (d *drained) closedBy(at time.Duration) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, end := range d.ends {
		if end <= at {
			n++
		}
	}
	return n
}

// lone is a node of the cluster that takes clients, or the limit counts.
func addServer(t *testing.T, node *adaptertest.BusNode) *socketio.Server {
	t.Helper()
	s, err := socketio.NewServer(&socketio.Options{Adapter: node, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func deadline(t *testing.T, after time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(t.Context(), after)
	return ctx, cancel
}

func TestDrainIsEven(t *testing.T) {
	inDrain(t, 400, &socketio.Options{}, func(t *testing.T, bus *adaptertest.Bus, d *drained) {
		other := addServer(t, bus.Add("two"))
		defer other.Shutdown(context.Background())
		ctx, cancel := deadline(t, 35*time.Second)
		defer cancel()
		if err := d.Drain(ctx, d.with(socketio.DrainOptions{LameDuck: 5 * time.Second, Spread: 20 * time.Second})); err != nil {
			t.Errorf("Drain = %v", err)
		}
		took := time.Since(d.start)
		synctest.Wait()
		if took < 24*time.Second || took > 26*time.Second {
			t.Errorf("Drain took %v, want lame duck and spread, 25s", took)
		}
		for at, want := range map[int]int{5: 0, 10: 100, 15: 200, 20: 300, 26: 400} {
			if got := d.closedBy(time.Duration(at) * time.Second); got < want-5 || got > want+5 {
				t.Errorf("after %ds %d clients are closed, want %d", at, got, want)
			}
		}
		if d.reasons[string(siotest.TransportClose)] != 400 {
			t.Errorf("reasons %v, want 400 times transport close", d.reasons)
		}
		if got := d.phases(); got != "lame_duck closing done" {
			t.Errorf("phases %q", got)
		}
		last := d.progress[len(d.progress)-1]
		if last.Closed != 400 || last.Open != 0 || last.Takers != 1 {
			t.Errorf("last progress %+v, want 400 closed, none open, one taker", last)
		}
		st := d.Stats()
		if st.Transports[1].Drained != 400 || st.Transports[1].Closed[socketio.ServerShutdown] != 400 {
			t.Errorf("Stats: drained %d, closed %v, want 400", st.Transports[1].Drained, st.Transports[1].Closed)
		}
		members := other.Adapter().(*adaptertest.BusNode).Members()
		if len(members) != 1 || !members[0].Draining {
			t.Errorf("the other node knows %+v, want a draining one", members)
		}
	})
}

// The order is no order of age: clients that came together do not come back together.
func TestDrainRandomOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := adaptertest.NewBus(nil)
		s, other := addServer(t, bus.Add("one")), addServer(t, bus.Add("two"))
		var order []string
		var mu sync.Mutex
		s.OnDisconnect(func(_ context.Context, socket *socketio.Socket, _ socketio.Reason) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, socket.ID())
		})
		var came []string
		for range 30 {
			c, err := siotest.Connect(t.Context(), s, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			came = append(came, c.ID())
		}
		if err := s.Drain(t.Context(), &socketio.DrainOptions{Rate: 10}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if slices.Equal(order, came) || len(order) != 30 {
			t.Errorf("%d clients ended in the order in which they came", len(order))
		}
		for _, s := range []*socketio.Server{s, other} {
			if err := s.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
}

// The others' limit bounds the pace; nodes that drain share it, and do not count as takers.
func TestDrainLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		options  socketio.Options
		drain    socketio.DrainOptions
		takers   int
		draining int
		seconds  float64 // for 60 clients
	}{
		"from the rate":         {drain: socketio.DrainOptions{Rate: 6}, takers: 1, seconds: 10},
		"from the spread":       {drain: socketio.DrainOptions{Spread: 6 * time.Second}, takers: 1, seconds: 6},
		"one taker":             {options: socketio.Options{MaxHandshakesPerSecond: 12}, drain: socketio.DrainOptions{Spread: time.Second}, takers: 1, seconds: 10},
		"two takers":            {options: socketio.Options{MaxHandshakesPerSecond: 12}, drain: socketio.DrainOptions{Rate: 1000}, takers: 2, seconds: 5},
		"two takers, two drain": {options: socketio.Options{MaxHandshakesPerSecond: 12}, drain: socketio.DrainOptions{Spread: time.Second}, takers: 2, draining: 1, seconds: 10},
		"few connections":       {drain: socketio.DrainOptions{Spread: 50 * time.Second}, takers: 1, seconds: 6},
	} {
		t.Run(name, func(t *testing.T) {
			o := tt.options
			inDrain(t, 0, &o, func(t *testing.T, bus *adaptertest.Bus, d *drained) {
				clients := 60
				for range clients { // slower than the limit, which is also this node's
					time.Sleep(time.Second)
					c, err := siotest.Connect(t.Context(), d, nil)
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
				}
				for range tt.takers {
					defer addServer(t, bus.Add("taker")).Shutdown(context.Background())
				}
				for range tt.draining {
					node := bus.Add("leaving")
					defer addServer(t, node).Shutdown(context.Background())
					node.Drain()
				}
				start := time.Now()
				ctx, cancel := deadline(t, time.Minute)
				defer cancel()
				if err := d.Drain(ctx, &tt.drain); err != nil {
					t.Errorf("Drain = %v", err)
				}
				if took := time.Since(start).Seconds(); took < tt.seconds-0.3 || took > tt.seconds+0.3 {
					t.Errorf("60 clients took %.1f s, want %.1f", took, tt.seconds)
				}
			})
		})
	}
}

// Servers that do not tell their name, as Node's, take clients too.
func TestDrainToUnnamedServers(t *testing.T) {
	inDrain(t, 10, &socketio.Options{}, func(t *testing.T, bus *adaptertest.Bus, d *drained) {
		defer addServer(t, bus.Add("")).Shutdown(context.Background())
		ctx, cancel := deadline(t, time.Minute)
		defer cancel()
		if err := d.Drain(ctx, d.with(socketio.DrainOptions{Spread: 5 * time.Second})); err != nil {
			t.Errorf("Drain = %v", err)
		}
		if took := time.Since(d.start); took > 6*time.Second {
			t.Errorf("Drain took %v, want the spread", took)
		}
	})
}

// Without another node the clients stay until the time is nearly up, or until there is one.
func TestDrainWithoutTakers(t *testing.T) {
	inDrain(t, 40, &socketio.Options{}, func(t *testing.T, bus *adaptertest.Bus, d *drained) {
		node := bus.Add("leaving")
		defer addServer(t, node).Shutdown(context.Background())
		node.Drain()
		ctx, cancel := deadline(t, 35*time.Second)
		defer cancel()
		if err := d.Drain(ctx, d.with(socketio.DrainOptions{LameDuck: time.Second, Spread: 10 * time.Second})); err != nil {
			t.Errorf("Drain = %v", err)
		}
		took := time.Since(d.start)
		synctest.Wait()
		if got := d.closedBy(29 * time.Second); got != 0 {
			t.Errorf("%d clients are closed after 29s, want none", got)
		}
		if got := d.closedBy(32 * time.Second); got < 10 || got > 30 {
			t.Errorf("%d clients are closed after 32s, want about half", got)
		}
		if took < 33*time.Second || took >= 35*time.Second {
			t.Errorf("Drain took %v, want it to end just before the deadline", took)
		}
		if got := d.phases(); got != "lame_duck waiting closing done" {
			t.Errorf("phases %q", got)
		}
	})
	inDrain(t, 40, &socketio.Options{}, func(t *testing.T, bus *adaptertest.Bus, d *drained) {
		ctx, cancel := deadline(t, time.Minute)
		defer cancel()
		late := make(chan *socketio.Server, 1)
		time.AfterFunc(10*time.Second, func() { late <- addServer(t, bus.Add("late")) })
		if err := d.Drain(ctx, d.with(socketio.DrainOptions{Spread: 10 * time.Second})); err != nil {
			t.Errorf("Drain = %v", err)
		}
		if took := time.Since(d.start); took < 13*time.Second || took > 15*time.Second {
			t.Errorf("Drain took %v, want 14s: 10 until there is another node, 4 to close", took)
		}
		if err := (<-late).Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestDrainDeadline(t *testing.T) {
	inDrain(t, 100, &socketio.Options{}, func(t *testing.T, bus *adaptertest.Bus, d *drained) {
		defer addServer(t, bus.Add("two")).Shutdown(context.Background())
		ctx, cancel := deadline(t, 10*time.Second)
		defer cancel()
		err := d.Drain(ctx, d.with(socketio.DrainOptions{Rate: 5}))
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "connections are left") {
			t.Errorf("Drain = %v, want how many are left when the time is up", err)
		}
		last := d.progress[len(d.progress)-1]
		if last.Cut < 48 || last.Cut > 52 || last.Open != last.Cut || last.Closed != 100-last.Cut || last.Error == "" {
			t.Errorf("last progress %+v, want 50 cut", last)
		}
		// It may be begun again, faster.
		if err := d.Drain(t.Context(), &socketio.DrainOptions{Rate: 1000}); err != nil {
			t.Errorf("second Drain = %v", err)
		}
		if open := d.Stats().Transports[1].Open; open != 0 {
			t.Errorf("%d connections are open", open)
		}
	})
}

func TestDrainIsIdempotent(t *testing.T) {
	inDrain(t, 10, &socketio.Options{}, func(t *testing.T, bus *adaptertest.Bus, d *drained) {
		defer addServer(t, bus.Add("two")).Shutdown(context.Background())
		if err := d.Drain(t.Context(), &socketio.DrainOptions{Spread: -1}); err == nil || !strings.Contains(err.Error(), "Spread") || d.Ready() != nil {
			t.Errorf("Drain of bad options = %v, Ready = %v, want an error and no drain", err, d.Ready())
		}
		first := make(chan error, 1)
		go func() { first <- d.Drain(t.Context(), &socketio.DrainOptions{Rate: 1}) }()
		synctest.Wait()
		if d.Ready() == nil {
			t.Error("the server is ready while it drains")
		}
		ctx, cancel := deadline(t, time.Second)
		defer cancel()
		if err := d.Drain(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a call that waits = %v, want that its time is up", err)
		}
		if err := d.Drain(t.Context(), nil); err != nil || time.Since(d.start) > 11*time.Second {
			t.Errorf("a second call = %v after %v, want the end of the first", err, time.Since(d.start))
		}
		if err := <-first; err != nil {
			t.Errorf("first Drain = %v", err)
		}
		if err := d.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := d.Drain(t.Context(), nil); !errors.Is(err, socketio.ErrServerClosed) {
			t.Errorf("Drain after Shutdown = %v, want ErrServerClosed", err)
		}
	})
}

// A server that is alone keeps nobody waiting for a node that can never be there.
func TestDrainAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := socketio.NewServer(nil)
		if err != nil {
			t.Fatal(err)
		}
		c, err := siotest.Connect(t.Context(), s, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		start := time.Now()
		ctx, cancel := deadline(t, time.Minute)
		defer cancel()
		if err := s.Drain(ctx, &socketio.DrainOptions{LameDuck: 2 * time.Second}); err != nil || time.Since(start) > 2500*time.Millisecond {
			t.Errorf("Drain = %v after %v, want the lame duck only", err, time.Since(start))
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Shutdown in the middle of a drain ends it.
func TestShutdownEndsDrain(t *testing.T) {
	inDrain(t, 10, &socketio.Options{}, func(t *testing.T, bus *adaptertest.Bus, d *drained) {
		defer addServer(t, bus.Add("two")).Shutdown(context.Background())
		done := make(chan error, 1)
		go func() { done <- d.Drain(t.Context(), &socketio.DrainOptions{Rate: 1}) }()
		time.Sleep(time.Second)
		if err := d.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil || time.Since(d.start) > 2*time.Second {
			t.Errorf("Drain = %v after %v, want its end with the connections'", err, time.Since(d.start))
		}
	})
}
