package redisadapter_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/adapter/redisadapter"
)

const patience = 15 * time.Second

// cluster joins the main namespace on n nodes that talk to addr with the shortest watchdog.
func cluster(t *testing.T, addr string, n int, o redisadapter.Options) []*adaptertest.Node {
	t.Helper()
	o.Watchdog = 2 * time.Second
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	adapters := make([]adapter.Adapter, n)
	for i := range adapters {
		adapters[i] = redisadapter.NewPubSub(client(t, addr), &o)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := adapters[i].Close(ctx); err != nil {
				t.Errorf("Close of node %d: %v", i, err)
			}
		})
	}
	return adaptertest.Join(t, adapters, "/")
}

func stats(n *adaptertest.Node) adapter.Stats { return n.Adapter.(adapter.Counted).Stats() }

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s", patience, what)
		}
	}
}

// awaitHeard publishes from one node until the other hears it.
func awaitHeard(t *testing.T, from, to *adaptertest.Node, text string, rooms ...string) {
	t.Helper()
	eventually(t, "hearing "+text, func() bool {
		_ = from.Link.Publish(t.Context(), adaptertest.Event(text, rooms...))
		return slices.ContainsFunc(to.Messages(), func(m *adapter.Message) bool {
			return strings.Contains(string(m.Packet.Data), `"`+text+`"`)
		})
	})
}

// gaps collects what Trace reports.
type gaps struct {
	mu   sync.Mutex
	list []time.Duration
}

func (g *gaps) trace(n *adaptertest.Node) {
	n.Adapter.(adapter.Traced).AddTrace(&adapter.Trace{Gap: func(d time.Duration) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.list = append(g.list, d)
	}})
}

func (g *gaps) all() []time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.list)
}

// TestSubscriptionKilled cuts the listening connections again and again. Each time all rooms, more than fit in one
// command, must be followed again.
func TestSubscriptionKilled(t *testing.T) {
	t.Parallel()
	const rooms, rounds = 1300, 5
	server := startRedis(t)
	nodes := cluster(t, server.addr, 2, redisadapter.Options{})
	own := stats(nodes[1]).Subscriptions["channel"]
	subscribed := func() bool { return stats(nodes[1]).Subscriptions["channel"] == rooms+own }
	for i := range rooms {
		nodes[1].Local.Enter(fmt.Sprint("room ", i))
		nodes[1].Link.(adapter.RoomFollower).FollowRoomSoon(fmt.Sprint("room ", i))
	}
	eventually(t, "following all rooms", subscribed)
	var g gaps
	g.trace(nodes[1])
	admin := client(t, server.addr)
	for round := range rounds {
		if err := admin.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "noticing the cut", func() bool { return len(g.all()) == round+1 })
		eventually(t, "following all rooms again", subscribed)
		for _, r := range []int{0, 511, 512, rooms - 1} {
			nodes[0].Publish(t, adaptertest.Event(fmt.Sprintf("%d in room %d", round, r), fmt.Sprint("room ", r)))
		}
		nodes[0].Publish(t, adaptertest.Event("all"))
		nodes[1].Await(t, 5*(round+1)) // what is under way at the next cut would be lost
	}
	if n := len(nodes[1].Messages()); n != rounds*5 {
		t.Errorf("heard %d messages, want %d", n, rounds*5)
	}
	key := adapter.ReconnectKey{Role: adapter.RoleSubscribe, Cause: "closed"}
	if got := stats(nodes[1]).Reconnects[key]; got != rounds {
		t.Errorf("%d reconnections are counted, want %d", got, rounds)
	}
	for _, d := range g.all() {
		if d <= 0 || d > 2*time.Second {
			t.Errorf("gap of %v, want a short one", d)
		}
	}
}

// TestKilledUnderLoad cuts the listening connections 50 times while 1000 messages come each second. Each time all
// channels are back within a second.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	const rounds = 50
	server := startRedis(t)
	nodes := cluster(t, server.addr, 2, redisadapter.Options{})
	for i := range 100 {
		nodes[1].Enter(t, fmt.Sprint("room ", i))
	}
	var g gaps
	g.trace(nodes[1])
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
				nodes[0].Publish(t, adaptertest.Event("load", fmt.Sprint("room ", i%100)))
			case <-ctx.Done():
				return
			}
		}
	})
	admin := client(t, server.addr)
	for round := range rounds {
		if err := admin.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "listening again", func() bool { return len(g.all()) == round+1 })
	}
	stop()
	load.Wait()
	for i, d := range g.all() {
		if d > time.Second {
			t.Errorf("gap %d of %v, want at most 1 s", i, d)
		}
	}
	for i := range 100 {
		room := fmt.Sprint("room ", i)
		awaitHeard(t, nodes[0], nodes[1], "at last in "+room, room)
	}
}

// TestRestart kills Redis and starts it again. Calls return meanwhile, and all works again by itself.
func TestRestart(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	nodes := cluster(t, server.addr, 2, redisadapter.Options{})
	nodes[1].Enter(t, "before")
	server.kill()
	eventually(t, "noticing that Redis is away", func() bool {
		s := stats(nodes[0])
		return !s.Up[adapter.RolePublish] && !s.Up[adapter.RoleSubscribe] && nodes[0].Adapter.(adapter.Status).Ready() != nil
	})
	start := time.Now()
	nodes[1].Enter(t, "meanwhile") // returns at once
	nodes[0].Publish(t, adaptertest.Event("early"))
	if d := time.Since(start); d > time.Second {
		t.Errorf("following and publishing without Redis took %v", d)
	}
	eventually(t, "giving up what waited too long", func() bool { return stats(nodes[0]).PublishErrors["refused"] == 1 })
	nodes[0].Publish(t, adaptertest.Event("held back"))
	server.start(t)
	for _, n := range nodes {
		adaptertest.AwaitReady(t, n.Adapter)
	}
	for _, room := range []string{"before", "meanwhile"} {
		awaitHeard(t, nodes[0], nodes[1], "in "+room, room)
	}
	for _, m := range nodes[1].Messages() {
		if strings.Contains(string(m.Packet.Data), "early") {
			t.Error("heard a message that was given up")
		}
	}
	awaitHeard(t, nodes[0], nodes[1], "again")
	awaitHeard(t, nodes[1], nodes[0], "and back")
}

// TestAbsentAtStart starts without Redis.
func TestAbsentAtStart(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	server.kill()
	local := adaptertest.NewLocal()
	a := redisadapter.NewPubSub(client(t, server.addr), &redisadapter.Options{PublishQueue: 10, Watchdog: 2 * time.Second})
	defer func() {
		if err := a.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	link, err := a.Join(t.Context(), "/", local)
	if err != nil {
		t.Fatalf("Join: %v", err)
	}
	if err := a.(adapter.Status).Ready(); err == nil {
		t.Error("Ready without Redis")
	}
	eventually(t, "refusing to publish", func() bool {
		err := link.Publish(t.Context(), adaptertest.Event("x"))
		return errors.Is(err, redisadapter.ErrUnavailable) && strings.Contains(err.Error(), "10 messages")
	})
	if s := a.(adapter.Counted).Stats(); s.Dropped["queue_full"] == 0 || s.PublishQueue > 10 {
		t.Errorf("stats %+v, want a bounded queue and what was refused", s)
	}
	server.start(t)
	adaptertest.AwaitReady(t, a)
	if s := a.(adapter.Counted).Stats(); len(s.Reconnects) > 0 {
		t.Errorf("the first connection counts as %v, want no reconnection", s.Reconnects)
	}
}

// TestCloseWithoutRedis closes with messages in the queue that cannot be sent: they are given up by name, soon.
func TestCloseWithoutRedis(t *testing.T) {
	t.Parallel()
	const messages = 5
	server := startRedis(t)
	a := redisadapter.NewPubSub(client(t, server.addr), &redisadapter.Options{Watchdog: patience})
	link, err := a.Join(t.Context(), "/", adaptertest.NewLocal())
	if err != nil {
		t.Fatal(err)
	}
	adaptertest.AwaitReady(t, a)
	server.kill()
	eventually(t, "noticing that Redis refuses connections", func() bool {
		return !a.(adapter.Counted).Stats().Up[adapter.RolePublish] && errors.Is(a.(adapter.Status).Ready(), syscall.ECONNREFUSED)
	})
	for range messages {
		if err := link.Publish(t.Context(), adaptertest.Event("x")); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	if err := a.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if d := time.Since(start); d > patience/2 {
		t.Errorf("Close took %v", d)
	}
	if s := a.(adapter.Counted).Stats(); s.PublishErrors["refused"] != messages || s.PublishQueue != 0 {
		t.Errorf("stats %+v, want %d messages given up", s, messages)
	}
}

// TestCloseTwice closes while another Close waits for Redis to take what is queued: none of it is given up.
func TestCloseTwice(t *testing.T) {
	t.Parallel()
	const messages = 5
	server := startRedis(t)
	a := redisadapter.NewPubSub(client(t, server.addr), &redisadapter.Options{Logger: quiet(nil), Watchdog: patience})
	link, err := a.Join(t.Context(), "/", adaptertest.NewLocal())
	if err != nil {
		t.Fatal(err)
	}
	adaptertest.AwaitReady(t, a)
	server.freeze()
	for range messages {
		if err := link.Publish(t.Context(), adaptertest.Event("x")); err != nil {
			t.Fatal(err)
		}
	}
	var closing sync.WaitGroup
	for range 2 {
		closing.Go(func() {
			if err := a.Close(t.Context()); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	time.Sleep(100 * time.Millisecond) // nothing tells that both wait
	server.thaw()
	closing.Wait()
	if s := a.(adapter.Counted).Stats(); s.Published["broadcast"] != messages {
		t.Errorf("%d messages are published, want %d: %v", s.Published["broadcast"], messages, s.PublishErrors)
	}
}

// TestPublishWaitsForContext fills the queue while Redis takes its time: Publish waits, but not longer than its
// context.
func TestPublishWaitsForContext(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	nodes := cluster(t, server.addr, 1, redisadapter.Options{PublishQueue: 2})
	admin := client(t, server.addr)
	if err := admin.Do(t.Context(), "CLIENT", "PAUSE", "1000", "ALL").Err(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var err error
	for range 100 {
		if err = nodes[0].Link.Publish(ctx, adaptertest.Event("x")); err != nil {
			break
		}
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Publish to a full queue = %v, want %v", err, context.DeadlineExceeded)
	}
	// The pause ends, and whoever has the patience gets through.
	if err := nodes[0].Link.Publish(t.Context(), adaptertest.Event("x")); err != nil {
		t.Errorf("Publish with patience: %v", err)
	}
}

// TestDeaf lets the network swallow everything on the connections that exist.
func TestDeaf(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	proxy := startProxy(t, server.addr)
	far := cluster(t, proxy.addr, 1, redisadapter.Options{})[0]
	near := cluster(t, server.addr, 1, redisadapter.Options{})[0]
	far.Enter(t, "room")
	awaitHeard(t, near, far, "before")
	var g gaps
	g.trace(far)
	proxy.swallow()
	eventually(t, "noticing the silence", func() bool {
		return stats(far).Reconnects[adapter.ReconnectKey{Role: adapter.RoleSubscribe, Cause: "watchdog"}] == 1
	})
	if d := g.all()[0]; d < 2*time.Second || d > 5*time.Second {
		t.Errorf("gap of %v, want about the watchdog's 2 s", d)
	}
	awaitHeard(t, near, far, "after", "room")
	awaitHeard(t, far, near, "back")
}

// TestDeafButAlive lets a connection hear nothing although its pings are answered.
func TestDeafButAlive(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	proxy := startProxy(t, server.addr)
	far := cluster(t, proxy.addr, 1, redisadapter.Options{})[0]
	near := cluster(t, server.addr, 1, redisadapter.Options{})[0]
	far.Enter(t, "room")
	awaitHeard(t, near, far, "before")
	var g gaps
	g.trace(far)
	start := time.Now()
	proxy.swallowPushes()
	eventually(t, "noticing the deafness", func() bool {
		return stats(far).Reconnects[adapter.ReconnectKey{Role: adapter.RoleSubscribe, Cause: "deaf"}] == 1
	})
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("noticed after %v, want within 5 s", d)
	}
	if d := g.all()[0]; d < time.Second || d > 5*time.Second {
		t.Errorf("gap of %v, want that since the last message that came back", d)
	}
	awaitHeard(t, near, far, "after", "room")
	if r := stats(near).Reconnects; len(r) > 0 {
		t.Errorf("the other node reconnected: %v", r)
	}
}

// TestLostAnswer lets Redis take a message whose answer never arrives: it must not be sent again. One that still waits for
// its turn, behind a heartbeat for example, is sent once the loss is noticed.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	proxy := startProxy(t, server.addr)
	far := cluster(t, proxy.addr, 1, redisadapter.Options{})[0]
	near := cluster(t, server.addr, 1, redisadapter.Options{})[0]
	proxy.swallowAnswers()
	far.Publish(t, adaptertest.Event("once"))
	eventually(t, "another connection", func() bool {
		return stats(far).Reconnects[adapter.ReconnectKey{Role: adapter.RolePublish, Cause: "closed"}] == 1
	})
	awaitHeard(t, far, near, "after")
	once := 0
	for _, m := range near.Messages() {
		if string(m.Packet.Data) == `["event","once"]` {
			once++
		}
	}
	if once != 1 {
		t.Errorf("the message arrived %d times, want once", once)
	}
}

// TestPassword names a wrong password, and works as soon as it is right.
func TestPassword(t *testing.T) {
	t.Parallel()
	server := startRedis(t, "--requirepass", "right")
	rdb := redis.NewClient(&redis.Options{Addr: server.addr, Password: "wrong"})
	defer func() { _ = rdb.Close() }()
	var log lockedBuffer
	a := redisadapter.NewPubSub(rdb, &redisadapter.Options{Watchdog: 2 * time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	link, err := a.Join(t.Context(), "/", adaptertest.NewLocal())
	if err != nil {
		t.Fatal(err)
	}
	if err := link.Publish(t.Context(), adaptertest.Event("x")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "counting the refusal", func() bool { return a.(adapter.Counted).Stats().PublishErrors["auth"] == 1 })
	if err := a.(adapter.Status).Ready(); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("Ready = %v, want WRONGPASS", err)
	}
	if !strings.Contains(log.String(), "cannot publish") || !strings.Contains(log.String(), "kind=auth") {
		t.Errorf("log %q names no failed authentication", log.String())
	}
	if err := a.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestForbiddenCommands lets Redis refuse each command of the adapter.
func TestForbiddenCommands(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	admin := client(t, server.addr)
	acl := func(rules ...any) {
		t.Helper()
		if err := admin.Do(t.Context(), append([]any{"ACL", "SETUSER", "node", "reset", "on", ">pw", "+@all", "allchannels"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	acl("-publish")
	rdb := redis.NewClient(&redis.Options{Addr: server.addr, Username: "node", Password: "pw"})
	defer func() { _ = rdb.Close() }()
	a := redisadapter.NewPubSub(rdb, &redisadapter.Options{Watchdog: 2 * time.Second})
	defer func() { _ = a.Close(context.Background()) }()
	local := adaptertest.NewLocal("room")
	link, err := a.Join(t.Context(), "/", local)
	if err != nil {
		t.Fatal(err)
	}
	adaptertest.AwaitReady(t, a)
	if err := link.Publish(t.Context(), adaptertest.Event("x")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "counting the refusal", func() bool { return a.(adapter.Counted).Stats().PublishErrors["auth"] == 1 })
	acl("resetchannels") // closes connections whose subscriptions are not allowed any more
	eventually(t, "naming the refusal", func() bool {
		err := a.(adapter.Status).Ready()
		return err != nil && strings.Contains(err.Error(), "NOPERM")
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := link.(adapter.RoomFollower).FollowRoom(ctx, "room"); err != nil {
		t.Errorf("FollowRoom without permission: %v", err)
	}
	acl()
	adaptertest.AwaitReady(t, a)
}

// TestMalformed counts what is no message, and goes on.
func TestMalformed(t *testing.T) {
	server := startRedis(t)
	nodes := cluster(t, server.addr, 2, redisadapter.Options{})
	nodes[1].Enter(t, "r")
	admin := client(t, server.addr)
	for _, channel := range []string{"socket.io#/#", "socket.io#/#r#"} {
		for _, payload := range []string{"", "{}", "\x93", strings.Repeat("\x91", 100_000)} {
			if err := admin.Publish(t.Context(), channel, payload).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	awaitHeard(t, nodes[0], nodes[1], "after", "r")
	s := stats(nodes[1]).Received
	for _, kind := range []string{"broadcast", "room"} {
		if n := s[adapter.ReceivedKey{Kind: kind, Result: "malformed"}]; n != 4 {
			t.Errorf("%d malformed messages of kind %s, want 4", n, kind)
		}
	}
	// The room's channel is not followed by the sender, the namespace's is: it hears itself and drops that.
	nodes[0].Publish(t, adaptertest.Event("x"))
	eventually(t, "counting the own message", func() bool {
		return stats(nodes[0]).Received[adapter.ReceivedKey{Kind: "broadcast", Result: "own"}] == 1
	})
}

// TestSlowReceiver stops reading while a namespace takes its time, and loses nothing.
func TestSlowReceiver(t *testing.T) {
	const messages = 500
	server := startRedis(t)
	near := cluster(t, server.addr, 1, redisadapter.Options{})[0]
	slow := &slowLocal{Local: adaptertest.NewLocal(), hold: make(chan struct{})}
	a := redisadapter.NewPubSub(client(t, server.addr), &redisadapter.Options{ReceiveQueue: 8, Watchdog: 2 * time.Second})
	defer func() { _ = a.Close(context.Background()) }()
	if _, err := a.Join(t.Context(), "/", slow); err != nil {
		t.Fatal(err)
	}
	adaptertest.AwaitReady(t, a)
	for i := range messages {
		near.Publish(t, adaptertest.Event(fmt.Sprint(i)))
	}
	eventually(t, "publishing all", func() bool { return stats(near).Published["broadcast"] == messages })
	close(slow.hold)
	for i, m := range slow.Await(t, messages) {
		if want := fmt.Sprintf(`["event","%d"]`, i); string(m.Packet.Data) != want {
			t.Fatalf("message %d is %s, want %s", i, m.Packet.Data, want)
		}
	}
	if r := a.(adapter.Counted).Stats().Reconnects; len(r) > 0 {
		t.Errorf("reconnected while not reading: %v", r)
	}
}

// slowLocal delivers nothing until hold is closed.
type slowLocal struct {
	*adaptertest.Local
	hold chan struct{}
}

func (l *slowLocal) Deliver(m *adapter.Message) {
	<-l.hold
	l.Local.Deliver(m)
}

// TestJoinErrors are those of options that can never work.
func TestJoinErrors(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{})
	defer func() { _ = ring.Close() }()
	rdb := client(t, "127.0.0.1:1")
	for _, test := range []struct {
		name      string
		rdb       redis.UniversalClient
		options   redisadapter.Options
		namespace string
		want      string
	}{
		{"nil client", nil, redisadapter.Options{}, "/", "not supported"},
		{"ring", ring, redisadapter.Options{}, "/", "*redis.Ring is not supported"},
		{"negative queue", rdb, redisadapter.Options{PublishQueue: -1}, "/", "PublishQueue is -1"},
		{"negative attachments", rdb, redisadapter.Options{MaxAttachments: -1}, "/", "MaxAttachments is -1"},
		{"short watchdog", rdb, redisadapter.Options{Watchdog: time.Second}, "/", "Watchdog is 1s"},
		{"namespace", rdb, redisadapter.Options{}, "/a#b", `namespace "/a#b"`},
	} {
		a := redisadapter.NewPubSub(test.rdb, &test.options)
		_, err := a.Join(t.Context(), test.namespace, adaptertest.NewLocal())
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Join = %v, want %q", test.name, err, test.want)
		}
		a.(adapter.Counted).Stats()
		if err := a.Close(t.Context()); err != nil {
			t.Errorf("%s: Close = %v", test.name, err)
		}
	}
}
