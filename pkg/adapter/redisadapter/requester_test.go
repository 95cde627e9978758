package redisadapter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/adapter/redisadapter"
)

// answering is a namespace with sockets that answers requests.
type answering struct {
	*adaptertest.Local
	ids    []string // of its sockets
	silent bool

	mu    sync.Mutex
	asked []*adapter.Message
	hand  chan<- func(*adapter.Response) // gets what answers, instead of an answer; nil for none
}

func newAnswering(ids ...string) *answering {
	return &answering{Local: adaptertest.NewLocal(ids...), ids: ids}
}

func (l *answering) Answer(m *adapter.Message, respond func(*adapter.Response)) {
	l.mu.Lock()
	l.asked = append(l.asked, m)
	silent, hand := l.silent, l.hand
	l.mu.Unlock()
	if hand != nil {
		hand <- respond
	}
	if silent || hand != nil {
		return
	}
	var selected []string
	for _, id := range l.ids {
		if (len(m.Rooms) == 0 || slices.Contains(m.Rooms, id)) && !slices.Contains(m.Except, id) {
			selected = append(selected, id)
		}
	}
	switch m.Kind {
	case adapter.Fetch:
		r := &adapter.Response{Sockets: []adapter.Socket{}}
		for _, id := range selected {
			r.Sockets = append(r.Sockets, adapter.Socket{
				ID: id, Handshake: json.RawMessage(`{"auth":{}}`), Rooms: []string{id}, Data: json.RawMessage(`{"id":"` + id + `"}`),
			})
		}
		respond(r)
	case adapter.Count:
		respond(&adapter.Response{Count: len(selected)})
	case adapter.ServerSideEmit:
		respond(&adapter.Response{Packet: &m.Packet})
	case adapter.Broadcast:
		respond(&adapter.Response{Count: len(selected)})
		for _, id := range selected {
			go respond(&adapter.Response{Packet: &adapter.Packet{Data: fmt.Appendf(nil, "[%q]", id)}})
		}
	}
}

// messages returns what was asked.
func (l *answering) messages() []*adapter.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.asked)
}

// peer is one node of a cluster that answers.
type peer struct {
	*answering
	adapter adapter.Adapter
	link    adapter.Link
}

// join starts a node with sockets of the given ids.
func join(t *testing.T, addr string, o redisadapter.Options, ids ...string) *peer {
	t.Helper()
	if o.Watchdog == 0 {
		o.Watchdog = 2 * time.Second
	}
	o.Logger = quiet(o.Logger)
	return joinAdapter(t, redisadapter.NewPubSub(client(t, addr), &o), ids...)
}

func joinAdapter(t *testing.T, a adapter.Adapter, ids ...string) *peer {
	t.Helper()
	p := &peer{answering: newAnswering(ids...), adapter: a}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.adapter.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	var err error
	if p.link, err = p.adapter.Join(t.Context(), "/", p.answering); err != nil {
		t.Fatal(err)
	}
	adaptertest.AwaitReady(t, p.adapter)
	return p
}

func (p *peer) stats() adapter.Stats { return p.adapter.(adapter.Counted).Stats() }

// awaitMembers waits until the node knows n others by name.
func (p *peer) awaitMembers(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("knowing %d other nodes", n), func() bool { return len(p.adapter.(adapter.Member).Members()) == n })
}

// ask sends a request and returns what came.
func (p *peer) ask(ctx context.Context, m *adapter.Message) (responses []adapter.Response, err error) {
	err = p.link.(adapter.Requester).Request(ctx, m, func(r *adapter.Response) { responses = append(responses, *r) })
	return responses, err
}

// summary tells what came, in an order that does not depend on chance.
func summary(responses []adapter.Response) string {
	var parts []string
	for _, r := range responses {
		switch {
		case r.Packet != nil:
			parts = append(parts, string(r.Packet.Data)+strings.Repeat("+", len(r.Packet.Attachments)))
		case r.Sockets != nil:
			for _, s := range r.Sockets {
				parts = append(parts, s.ID+string(s.Data))
			}
		default:
			parts = append(parts, fmt.Sprint(r.Count))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// TestRequests asks three nodes everything, with either setting of the channel of answers.
func TestRequests(t *testing.T) {
	server := startRedis(t)
	for _, specific := range []bool{false, true} {
		t.Run(fmt.Sprint("specific ", specific), func(t *testing.T) {
			o := redisadapter.Options{PublishOnSpecificResponseChannel: specific, Prefix: t.Name()}
			one := join(t, server.addr, o, "a")
			join(t, server.addr, o, "b", "c")
			join(t, server.addr, o, "d")
			one.awaitMembers(t, 2)
			for _, test := range []struct {
				name    string
				message adapter.Message
				want    string
			}{
				{"fetch", adapter.Message{Kind: adapter.Fetch}, `b{"id":"b"} c{"id":"c"} d{"id":"d"}`},
				{"fetch of one", adapter.Message{Kind: adapter.Fetch, Rooms: []string{"c"}}, `c{"id":"c"}`},
				{"count", adapter.Message{Kind: adapter.Count}, "1 2"},
				{"count of rooms", adapter.Message{Kind: adapter.Count, Rooms: []string{"b", "d", "x"}}, "1 1"},
				{"count except", adapter.Message{Kind: adapter.Count, Except: []string{"b"}}, "1 1"},
				{"server-side emit", adapter.Message{Kind: adapter.ServerSideEmit, Packet: adapter.Packet{Data: []byte(`["hi",1]`)}}, `["hi"] ["hi"]`},
				{"ack", adapter.Message{Packet: adapter.Packet{Data: []byte(`["q"]`)}}, `1 2 ["b"] ["c"] ["d"]`},
				{"ack of nobody", adapter.Message{Packet: adapter.Packet{Data: []byte(`["q"]`)}, Rooms: []string{"x"}}, `0 0`},
			} {
				start := time.Now()
				responses, err := one.ask(t.Context(), &test.message)
				if got := summary(responses); err != nil || got != test.want {
					t.Errorf("%s: Request = %s, %v, want %s", test.name, got, err, test.want)
				}
				if d := time.Since(start); d > time.Second {
					t.Errorf("%s: Request took %v", test.name, d)
				}
			}
			if n := len(one.messages()); n > 0 {
				t.Errorf("the node asked itself %d times", n)
			}
			nodes, err := one.link.(adapter.Requester).Nodes(t.Context())
			if err != nil || len(nodes) != 3 || nodes[0].ID != redisadapter.UID(one.adapter) {
				t.Errorf("Nodes = %+v, %v, want 3 with this one first", nodes, err)
			}
			if s := one.stats(); s.Requests["complete"] != 8 || s.Members != 2 {
				t.Errorf("stats %+v, want 8 complete requests and 2 members", s)
			}
		})
	}
}

// TestKinds publishes what wants no answer.
func TestKinds(t *testing.T) {
	server := startRedis(t)
	one, two := join(t, server.addr, redisadapter.Options{}), join(t, server.addr, redisadapter.Options{}, "s")
	want := []*adapter.Message{
		{Kind: adapter.Join, Rooms: []string{"s"}, Targets: []string{"r1", "r2"}},
		{Kind: adapter.Leave, Except: []string{"x"}, Targets: []string{"r1"}},
		{Kind: adapter.Disconnect, Rooms: []string{"s"}, Close: true},
		{Kind: adapter.ServerSideEmit, Packet: adapter.Packet{Data: []byte(`["e",{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{1}}}},
		{Packet: adapter.Packet{Data: []byte(`["last"]`)}},
	}
	for _, m := range want {
		if err := one.link.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	for i, got := range two.Await(t, len(want)) {
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want[i]) {
			t.Errorf("message %d is %+v, want %+v", i, got, want[i])
		}
	}
	for _, kind := range []adapter.Kind{adapter.Fetch, adapter.Count} {
		if err := one.link.Publish(t.Context(), &adapter.Message{Kind: kind}); !errors.Is(err, redisadapter.ErrInvalidData) {
			t.Errorf("Publish of kind %d = %v, want %v", kind, err, redisadapter.ErrInvalidData)
		}
	}
	for _, kind := range []adapter.Kind{adapter.Join, adapter.Leave, adapter.Disconnect} {
		if _, err := one.ask(t.Context(), &adapter.Message{Kind: kind}); !errors.Is(err, redisadapter.ErrInvalidData) {
			t.Errorf("Request of kind %d = %v, want %v", kind, err, redisadapter.ErrInvalidData)
		}
	}
}

// TestSpy lets a program listen to the requests: it is waited for twice, and then not until the number changes.
func TestSpy(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	one := join(t, server.addr, redisadapter.Options{RequestTimeout: 1200 * time.Millisecond})
	join(t, server.addr, redisadapter.Options{}, "b")
	one.awaitMembers(t, 1)
	spy := client(t, server.addr).Subscribe(t.Context(), "socket.io-request#/#")
	defer func() { _ = spy.Close() }()
	if _, err := spy.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		start := time.Now()
		responses, err := one.ask(t.Context(), &adapter.Message{Kind: adapter.Count})
		d := time.Since(start)
		if summary(responses) != "1" {
			t.Errorf("request %d was answered %q, want 1", i, summary(responses))
		}
		var silent *adapter.SilentNodesError
		switch {
		case i < 2 && (!errors.As(err, &silent) || silent.Unnamed != 1 || len(silent.Nodes) > 0 || d < time.Second):
			t.Errorf("request %d = %v after %v, want 1 unnamed node that was waited for", i, err, d)
		case i >= 2 && (err != nil || d > time.Second):
			t.Errorf("request %d = %v after %v, want no waiting", i, err, d)
		}
	}
	nodes, err := one.link.(adapter.Requester).Nodes(t.Context())
	if err != nil || len(nodes) != 3 || nodes[2] != (adapter.Node{}) {
		t.Errorf("Nodes = %+v, %v, want 3 with the spy last", nodes, err)
	}
}

// TestSilentNode lets a node vanish without a word. The request under way costs the lapse, later ones nothing.
func TestSilentNode(t *testing.T) {
	server := startRedis(t)
	proxy := startProxy(t, server.addr)
	o := redisadapter.Options{HeartbeatInterval: 100 * time.Millisecond, HeartbeatLapse: 400 * time.Millisecond, Watchdog: patience}
	one := join(t, server.addr, o, "a")
	join(t, server.addr, o, "b")
	o.Node.Name = "vanishing"
	join(t, proxy.addr, o, "c")
	one.awaitMembers(t, 2)
	proxy.swallow()
	start := time.Now()
	responses, err := one.ask(t.Context(), &adapter.Message{Kind: adapter.Fetch})
	var silent *adapter.SilentNodesError
	if !errors.As(err, &silent) || len(silent.Nodes) != 1 || silent.Nodes[0].Name != "vanishing" || silent.Unnamed != 0 {
		t.Errorf("Request = %v, want that the vanished node is silent", err)
	}
	if got := summary(responses); got != `b{"id":"b"}` {
		t.Errorf("answered %s, want the answer of the node that is left", got)
	}
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("Request took %v, want about the lapse", d)
	}
	start = time.Now()
	if responses, err := one.ask(t.Context(), &adapter.Message{Kind: adapter.Fetch}); err != nil || len(responses) != 1 {
		t.Errorf("the next Request = %v, %v, want one answer", responses, err)
	}
	if d := time.Since(start); d > 300*time.Millisecond {
		t.Errorf("the next Request took %v", d)
	}
	if s := one.stats(); s.Requests["incomplete"] != 1 || s.Requests["complete"] != 1 {
		t.Errorf("requests %v, want one complete and one incomplete", s.Requests)
	}
}

// TestGoodbye: a node that leaves in order is not waited for.
func TestGoodbye(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	one, two := join(t, server.addr, redisadapter.Options{}), join(t, server.addr, redisadapter.Options{})
	one.awaitMembers(t, 1)
	var mu sync.Mutex
	var told []int
	one.adapter.(adapter.Member).OnMembership(func(members []adapter.Node) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, len(members))
	})
	two.answering.mu.Lock()
	two.silent = true
	two.answering.mu.Unlock()
	done := make(chan error)
	go func() {
		_, err := one.ask(t.Context(), &adapter.Message{Kind: adapter.Fetch})
		done <- err
	}()
	eventually(t, "asking", func() bool { return len(two.messages()) == 1 })
	start := time.Now()
	if err := two.adapter.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Request of a node that left = %v", err)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("Request took %v after the goodbye", d)
	}
	one.awaitMembers(t, 0)
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(told, []int{0}) {
		t.Errorf("OnMembership was called with %v members, want once with none", told)
	}
}

// TestUnavailable asks while Redis is away.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	one := join(t, server.addr, redisadapter.Options{})
	server.kill()
	eventually(t, "noticing that Redis is away", func() bool { return one.adapter.(adapter.Status).Ready() != nil })
	start := time.Now()
	if _, err := one.ask(t.Context(), &adapter.Message{Kind: adapter.Fetch}); err == nil {
		t.Error("Request without Redis succeeded")
	}
	if _, err := one.link.(adapter.Requester).Nodes(t.Context()); err == nil {
		t.Error("Nodes without Redis succeeded")
	}
	if d := time.Since(start); d > 6*time.Second {
		t.Errorf("asking without Redis took %v", d)
	}
	if s := one.stats(); s.Requests["failed"] != 1 {
		t.Errorf("requests %v, want one that failed", s.Requests)
	}
	server.start(t)
	eventually(t, "asking again", func() bool {
		_, err := one.ask(t.Context(), &adapter.Message{Kind: adapter.Fetch})
		return err == nil
	})
	if err := one.link.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := one.ask(t.Context(), &adapter.Message{Kind: adapter.Fetch}); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("Request after Leave = %v, want %v", err, adapter.ErrClosed)
	}
}

// TestForbiddenRequest lets Redis refuse to count, and then to publish: errors that say so, and nothing waits.
func TestForbiddenRequest(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	admin := client(t, server.addr)
	one := join(t, server.addr, redisadapter.Options{})
	join(t, server.addr, redisadapter.Options{}, "b")
	one.awaitMembers(t, 1)
	for _, command := range []string{"-pubsub", "-publish"} {
		if err := admin.Do(t.Context(), "ACL", "SETUSER", "default", "+@all", command).Err(); err != nil {
			t.Fatal(err)
		}
		failed, refused := one.stats().Requests["failed"]+one.stats().Requests["incomplete"], one.stats().PublishErrors["auth"]
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := one.ask(ctx, &adapter.Message{Kind: adapter.Count})
		cancel()
		if err == nil || command == "-pubsub" && !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("%s: Request = %v, want why", command, err)
		}
		s := one.stats()
		if s.Requests["failed"]+s.Requests["incomplete"] != failed+1 || s.PublishErrors["auth"] != refused+1 {
			t.Errorf("%s: requests %v, errors %v, want one more of each", command, s.Requests, s.PublishErrors)
		}
	}
}

// TestCloseDuringRequest ends the adapter while it waits for an answer.
func TestCloseDuringRequest(t *testing.T) {
	server := startRedis(t)
	one, two := join(t, server.addr, redisadapter.Options{}), join(t, server.addr, redisadapter.Options{})
	one.awaitMembers(t, 1)
	two.silent = true
	done := make(chan error)
	go func() {
		_, err := one.ask(t.Context(), &adapter.Message{Kind: adapter.Fetch})
		done <- err
	}()
	eventually(t, "asking", func() bool { return len(two.messages()) == 1 })
	if err := one.adapter.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("Request = %v, want %v", err, adapter.ErrClosed)
	}
}

// TestLegacyRequests sends what emitters and older adapters send.
func TestLegacyRequests(t *testing.T) {
	server := startRedis(t)
	one := join(t, server.addr, redisadapter.Options{PublishOnSpecificResponseChannel: true}, "s1", "s2")
	raw := client(t, server.addr)
	answers := raw.PSubscribe(t.Context(), "socket.io-response#*")
	defer func() { _ = answers.Close() }()
	if _, err := answers.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	uid := redisadapter.UID(one.adapter)
	for _, test := range []struct{ request, channel, answer string }{
		{`{"requestId":"1","type":0,"rooms":["s2"]}`, "", `{"requestId":"1","sockets":["s2"],"node":"` + uid + `"}`},
		{`{"uid":"nnnnnn","requestId":"2","type":1}`, "nnnnnn#", `{"requestId":"2","rooms":["s1","s2"],"node":"` + uid + `"}`},
		{`{"requestId":"3","type":2,"sid":"s1","room":"r"}`, "", `{"requestId":"3","node":"` + uid + `"}`},
		{`{"requestId":"4","type":3,"sid":"s1","room":"r"}`, "", `{"requestId":"4","node":"` + uid + `"}`},
		{`{"requestId":"5","type":4,"sid":"s1","close":true}`, "", `{"requestId":"5","node":"` + uid + `"}`},
		// Node answers this one on the channel of all, whatever the option says.
		{`{"uid":"nnnnnn","requestId":"6","type":6,"data":["e"]}`, "", `{"type":6,"requestId":"6","data":"e","node":"` + uid + `"}`},
	} {
		for _, elsewhere := range []string{`{"requestId":"x","type":2,"sid":"elsewhere","room":"r"}`, test.request} {
			if err := raw.Publish(t.Context(), "socket.io-request#/#", elsewhere).Err(); err != nil {
				t.Fatal(err)
			}
		}
		got, err := answers.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := "socket.io-response#/#" + test.channel; got.Channel != want || got.Payload != test.answer {
			t.Errorf("%s was answered on %s with %s\nwant on %s with %s", test.request, got.Channel, got.Payload, want, test.answer)
		}
	}
	kinds := []adapter.Kind{adapter.Join, adapter.Leave, adapter.Disconnect}
	for i, m := range one.Await(t, len(kinds)) {
		if m.Kind != kinds[i] || !slices.Equal(m.Rooms, []string{"s1"}) {
			t.Errorf("message %d is %+v, want kind %d for s1", i, m, kinds[i])
		}
	}
}

// TestHostile throws things at the channels of requests, answers and members.
func TestHostile(t *testing.T) {
	server := startRedis(t)
	one, two := join(t, server.addr, redisadapter.Options{}, "a"), join(t, server.addr, redisadapter.Options{}, "b")
	one.awaitMembers(t, 1)
	raw := client(t, server.addr)
	uid := redisadapter.UID(two.adapter)
	junk := []string{
		"", "{}", "{", "\x00", "\xdf\xff\xff\xff\xff", strings.Repeat("\x91", 100_000), strings.Repeat(`{"a":`, 100_000),
		`{"type":4}`, `{"requestId":"` + strings.Repeat("x", 1<<20) + `"}`, `{"type":5,"requestId":"1","uid":"` + strings.Repeat("u", 1<<16) + `","opts":{}}`,
		`{"type":"alive","node":{"uid":""}}`, `{"type":"bye","node":{"uid":"nobody"},"mode":"pubsub","prefix":"socket.io"}`,
	}
	for _, channel := range []string{
		"socket.io-request#/#", "socket.io-response#/#", "socket.io-response#/#" + uid + "#",
		"socket.io-members#", "socket.io-members#" + uid + "#", "socket.io-members#" + uid + "#probe",
	} {
		for _, payload := range junk {
			if err := raw.Publish(t.Context(), channel, payload).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 3 {
		if responses, err := one.ask(t.Context(), &adapter.Message{Kind: adapter.Count}); err != nil || summary(responses) != "1" {
			t.Errorf("Request = %s, %v, want 1", summary(responses), err)
		}
	}
	received := two.stats().Received
	for kind, least := range map[string]uint64{"request": 9, "response": 4, "membership": 10} {
		if n := received[adapter.ReceivedKey{Kind: kind, Result: "malformed"}]; n < least {
			t.Errorf("%d malformed messages of kind %s are counted, want at least %d", n, kind, least)
		}
	}
	if n := len(two.Messages()); n > 0 {
		t.Errorf("%d hostile messages were delivered", n)
	}
}

// TestStrangers names nodes on the same Redis that are configured differently, once, on both sides.
func TestStrangers(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	var log lockedBuffer
	one := join(t, server.addr, redisadapter.Options{Logger: textLog(&log), HeartbeatInterval: 50 * time.Millisecond})
	two := join(t, server.addr, redisadapter.Options{Prefix: "other", Node: adapter.Node{Name: "two"}, HeartbeatInterval: 50 * time.Millisecond})
	eventually(t, "noticing each other", func() bool { return one.stats().Strangers == 1 && two.stats().Strangers == 1 })
	heard := one.stats().Received[adapter.ReceivedKey{Kind: "membership", Result: "no_match"}]
	eventually(t, "hearing more", func() bool {
		return one.stats().Received[adapter.ReceivedKey{Kind: "membership", Result: "no_match"}] > heard+5
	})
	if n := strings.Count(log.String(), "configured differently"); n != 1 || !strings.Contains(log.String(), "peer=two") {
		t.Errorf("log %q names the stranger %d times, want once", log.String(), n)
	}
	if n := len(one.adapter.(adapter.Member).Members()); n != 0 || one.stats().Strangers != 1 {
		t.Errorf("%d members, %d strangers, want 0 and 1", n, one.stats().Strangers)
	}
}
