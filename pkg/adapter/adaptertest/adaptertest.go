// Package adaptertest tests adapters, and applications that run on several nodes.
//
// Run and RunRequests hold what every adapter must do, in the manner of testing/slogtest. A [Bus] is a cluster in memory
// for tests of an application: each socketio.Server gets an adapter of it, answers can be lost, delayed and repeated, and
// nodes can fall silent or be killed. With siotest as clients and in a bubble of testing/synctest, such a test needs no
// network and no waiting.
package adaptertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/chorus/pkg/adapter"
)

// test is one test of the suite.
type test struct {
	name string
	run  func(*testing.T, []adapter.Adapter)
	// acrossRooms tells that it holds an adapter to the order of messages to different rooms.
	acrossRooms bool
}

var tests = []test{
	{name: "Order", run: testOrder},
	{name: "ConcurrentPublishers", run: testConcurrentPublishers, acrossRooms: true},
	{name: "OrderOfRooms", run: testOrderOfRooms},
	{name: "Fields", run: testFields},
	{name: "Values", run: testValues},
	{name: "Binary", run: testBinary},
	{name: "Huge", run: testHuge},
	{name: "Rooms", run: testRooms, acrossRooms: true},
	{name: "Namespaces", run: testNamespaces, acrossRooms: true},
	{name: "FollowRaces", run: testFollowRaces},
	{name: "Leave", run: testLeave},
	{name: "Close", run: testClose},
	{name: "CloseFlushes", run: testCloseFlushes},
	{name: "EndedContext", run: testEndedContext},
	{name: "Records", run: testRecords},
	{name: "Sessions", run: testSessions},
}

// Run tests an adapter. connect returns the adapters of nodes of a new cluster, which nobody else uses; it is
// called once for each test, and what it returns is closed at the end of the test. A cluster of one node, such as
// adapter.NewMemory is made for, must hear nothing.
func Run(t *testing.T, connect func(t *testing.T) []adapter.Adapter) {
	run(t, connect, func(test) bool { return true })
}

// RunOrderedByRoom is Run for an adapter that promises less: only what goes to the same rooms arrives in its order. So
// it is where the channels of different rooms live on different servers.
func RunOrderedByRoom(t *testing.T, connect func(t *testing.T) []adapter.Adapter) {
	run(t, connect, func(test test) bool { return !test.acrossRooms })
}

func run(t *testing.T, connect func(t *testing.T) []adapter.Adapter, applies func(test) bool) {
	for _, test := range tests {
		if !applies(test) {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			adapters := connect(t)
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				for i, a := range adapters {
					if err := a.Close(ctx); err != nil {
						t.Errorf("Close of node %d: %v", i, err)
					}
				}
			})
			test.run(t, adapters)
		})
	}
}

// texts returns the string arguments of messages made by Event.
func texts(t *testing.T, messages []*adapter.Message) []string {
	t.Helper()
	list := make([]string, len(messages))
	for i, m := range messages {
		var args []string
		if err := json.Unmarshal(m.Packet.Data, &args); err != nil || len(args) != 2 {
			t.Fatalf("delivered %q: %v", m.Packet.Data, err)
		}
		list[i] = args[1]
	}
	return list
}

// drain publishes a last message from every node and waits until all others have it, so that everything before
// it has arrived. It returns what each node heard without those.
func drain(t *testing.T, nodes []*Node) [][]string {
	t.Helper()
	for i, n := range nodes {
		n.Publish(t, Event(fmt.Sprintf("end %d", i)))
	}
	heard := make([][]string, len(nodes))
	for i, n := range nodes {
		n.await(t, "the ends of all others", func(messages []*adapter.Message) bool {
			ends := 0
			for _, m := range messages {
				if isEnd(m) {
					ends++
				}
			}
			return ends >= len(nodes)-1
		})
		heard[i] = texts(t, slices.DeleteFunc(n.Messages(), isEnd))
	}
	return heard
}

func isEnd(m *adapter.Message) bool { return bytes.HasPrefix(m.Packet.Data, []byte(`["event","end `)) }

// expect compares what nodes heard with what they should have.
func expect(t *testing.T, heard [][]string, want ...[]string) {
	t.Helper()
	for i := range heard {
		if len(heard) == 1 {
			want = [][]string{nil} // nobody else is there
		}
		if !slices.Equal(heard[i], want[i]) {
			t.Errorf("node %d heard %q, want %q", i, heard[i], want[i])
		}
	}
}

func testOrder(t *testing.T, adapters []adapter.Adapter) {
	nodes := Join(t, adapters, "/", "r")
	var all []string
	for i := range 1000 {
		s := fmt.Sprint(i)
		all = append(all, s)
		nodes[0].Publish(t, Event(s))
	}
	want := make([][]string, len(nodes))
	for i := 1; i < len(nodes); i++ {
		want[i] = all
	}
	expect(t, drain(t, nodes), want...)
}

func testConcurrentPublishers(t *testing.T, adapters []adapter.Adapter) {
	const publishers, messages = 8, 100
	nodes := Join(t, adapters, "/", "r")
	var wg sync.WaitGroup
	for i, n := range nodes {
		for p := range publishers {
			wg.Go(func() {
				for m := range messages {
					rooms := [][]string{nil, {"r"}, {"r", "other"}}[m%3]
					n.Publish(t, Event(fmt.Sprintf("%d.%d %d", i, p, m), rooms...))
				}
			})
		}
	}
	wg.Wait()
	for i, heard := range drain(t, nodes) {
		next := map[string]int{} // by publisher
		for _, s := range heard {
			publisher, number, _ := strings.Cut(s, " ")
			if strings.HasPrefix(publisher, fmt.Sprintf("%d.", i)) {
				t.Fatalf("node %d heard its own message %q", i, s)
			}
			// One room has a channel of its own, yet one goroutine's messages keep their order.
			if number != fmt.Sprint(next[publisher]) {
				t.Fatalf("node %d heard %q of publisher %s, want number %d", i, s, publisher, next[publisher])
			}
			next[publisher]++
		}
		if want := publishers * (len(nodes) - 1); len(next) != want {
			t.Errorf("node %d heard %d publishers, want %d", i, len(next), want)
		}
		for publisher, n := range next {
			if n != messages {
				t.Errorf("node %d heard %d messages of publisher %s, want %d", i, n, publisher, messages)
			}
		}
	}
}

// testOrderOfRooms sends from all nodes to all, to single rooms and to several, in two namespaces. Every node must hear
// all that is for its rooms, once, and of each sender and choice of rooms in order.
func testOrderOfRooms(t *testing.T, adapters []adapter.Adapter) {
	const messages = 50
	choices := [][]string{nil, {"r"}, {"s"}, {"r", "other"}, {"#odd# room ü*"}}
	namespaces := []string{"/", "/other"}
	nodes := make(map[string][]*Node, len(namespaces))
	for _, namespace := range namespaces {
		nodes[namespace] = Join(t, adapters, namespace, "r", "s", "#odd# room ü*")
	}
	var publishing sync.WaitGroup
	for _, namespace := range namespaces {
		for i, n := range nodes[namespace] {
			for c, rooms := range choices {
				publishing.Go(func() {
					for m := range messages {
						n.Publish(t, Event(fmt.Sprintf("%s %d.%d %d", namespace, i, c, m), rooms...))
					}
				})
			}
		}
	}
	publishing.Wait()
	want := (len(adapters) - 1) * len(choices) * messages
	for _, namespace := range namespaces {
		for i, n := range nodes[namespace] {
			next := map[string]int{} // by namespace, sender and rooms
			for _, s := range texts(t, n.Await(t, want)) {
				end := strings.LastIndexByte(s, ' ')
				stream, number := s[:end], s[end+1:]
				if !strings.HasPrefix(stream, namespace+" ") || strings.HasPrefix(stream, fmt.Sprintf("%s %d.", namespace, i)) {
					t.Fatalf("node %d of %s heard %q", i, namespace, s)
				}
				if number != fmt.Sprint(next[stream]) {
					t.Fatalf("node %d of %s heard %q, want number %d", i, namespace, s, next[stream])
				}
				next[stream]++
			}
			if len(next) != want/messages {
				t.Errorf("node %d of %s heard %d senders and rooms, want %d", i, namespace, len(next), want/messages)
			}
		}
	}
}

func testFields(t *testing.T, adapters []adapter.Adapter) {
	nodes := Join(t, adapters, "/admin", "a", "b", "#odd# room ü*")
	sent := time.Now()
	for _, m := range []*adapter.Message{
		{Rooms: nil, Except: []string{"x", "y"}},
		{Rooms: []string{"a"}, Except: []string{"x"}, Flags: adapter.Flags{Volatile: true}},
		{Rooms: []string{"a", "nobody", "b"}, Sent: sent, Flags: adapter.Flags{Uncompressed: true}},
		{Rooms: []string{"#odd# room ü*"}},
	} {
		m.Packet.Data = []byte(`["fields"]`)
		for _, n := range nodes[1:] {
			n.mu.Lock()
			n.messages = nil
			n.mu.Unlock()
		}
		nodes[0].Publish(t, m)
		for _, n := range nodes[1:] {
			got := n.Await(t, 1)[0]
			if !slices.Equal(got.Rooms, m.Rooms) || !slices.Equal(got.Except, m.Except) || got.Flags != m.Flags {
				t.Errorf("delivered %+v, want %+v", got, m)
			}
			// Microseconds are enough, and an adapter may not carry it at all.
			if d := got.Sent.Sub(m.Sent); !got.Sent.IsZero() && (d > time.Microsecond || d < -time.Microsecond) {
				t.Errorf("delivered with Sent %v, want %v", got.Sent, m.Sent)
			}
		}
	}
}

func testValues(t *testing.T, adapters []adapter.Adapter) {
	nodes := Join(t, adapters, "/")
	deep := strings.Repeat(`[`, 100) + strings.Repeat(`{"a":[`, 100) + `1` + strings.Repeat(`]}`, 100) + strings.Repeat(`]`, 100)
	many := "[" + strings.Repeat("0,", 70_000) + "1]"
	for i, data := range []string{
		`["only"]`,
		`["",""]`,
		`["a",null,true,false,{},[],[[]],{"":{}}]`,
		`["ints",0,1,127,128,255,256,65535,65536,4294967295,4294967296,-1,-32,-33,-128,-129,-32768,-32769,-2147483649]`,
		`["numbers",0.5,-0.25,1e300,1e-300,9007199254740991,-9007199254740991,12345678901234567890,1e21]`,
		`["text","ünï 你好 🎉 \u0000\u001f\"\\/\b\f\n\r\t\u2028 ` + strings.Repeat("x", 300) + `"]`,
		`["escapes","\ud83c\udf89\u00fc\/"]`,
		`["plain",{"_placeholder":true,"num":0}]`,
		`["keys",{"a":1,"b":{"c":[1,2,{"d":null}]},"ü":2,"_placeholder":false,"num":"x"}]`,
		` [ "spaces" , { "a" : [ 1 , 2 ] , "b" : { } } ] `,
		`["deep",` + deep + `]`,
		`["many",` + many + `]`,
	} {
		nodes[0].Publish(t, &adapter.Message{Packet: adapter.Packet{Data: []byte(data)}})
		var want any
		if err := json.Unmarshal([]byte(data), &want); err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes[1:] {
			var got any
			m := n.Await(t, i+1)[i]
			if err := json.Unmarshal(m.Packet.Data, &got); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("delivered %.200q (%v), want %.200q", m.Packet.Data, err, data)
			}
			if len(m.Packet.Attachments) != 0 {
				t.Errorf("delivered %.200q with %d attachments, want none", data, len(m.Packet.Attachments))
			}
		}
	}
}

func testBinary(t *testing.T, adapters []adapter.Adapter) {
	nodes := Join(t, adapters, "/")
	data := `["b",{"_placeholder":true,"num":1},{"x":[{"num":0,"_placeholder":true}]},{"_placeholder":true,"num":2}]`
	attachments := [][]byte{{0, 1, 2, 255}, {}, bytes.Repeat([]byte{7}, 70_000)}
	nodes[0].Publish(t, &adapter.Message{Packet: adapter.Packet{Data: []byte(data), Attachments: attachments}})
	for _, n := range nodes[1:] {
		got := resolve(t, n.Await(t, 1)[0].Packet)
		want := []any{"b", []byte{}, map[string]any{"x": []any{[]byte{0, 1, 2, 255}}}, attachments[2]}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("delivered %.200v, want %.200v", got, want)
		}
	}
}

// resolve decodes a packet and puts the attachments in their places.
func resolve(t *testing.T, p adapter.Packet) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(p.Data, &v); err != nil {
		t.Fatalf("delivered %q: %v", p.Data, err)
	}
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case map[string]any:
			if v["_placeholder"] == true {
				n, ok := v["num"].(float64)
				if !ok || int(n) >= len(p.Attachments) {
					t.Fatalf("delivered a placeholder %v with %d attachments", v, len(p.Attachments))
				}
				return p.Attachments[int(n)]
			}
			for k := range maps.Clone(v) {
				v[k] = walk(v[k])
			}
		}
		return v
	}
	return walk(v)
}

func testHuge(t *testing.T, adapters []adapter.Adapter) {
	nodes := Join(t, adapters, "/")
	text := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	const messages = 5
	for range messages {
		nodes[0].Publish(t, Event(text))
	}
	want := make([][]string, len(nodes))
	for i := 1; i < len(nodes); i++ {
		want[i] = slices.Repeat([]string{text}, messages)
	}
	for i, heard := range drain(t, nodes) {
		if !slices.Equal(heard, want[i]) {
			t.Errorf("node %d heard %d messages, want %d of 1 MiB each", i, len(heard), len(want[i]))
		}
	}
}

func testRooms(t *testing.T, adapters []adapter.Adapter) {
	nodes := Join(t, adapters, "/")
	last := nodes[len(nodes)-1]
	last.Enter(t, "a")
	last.Enter(t, "b")
	nodes[0].Enter(t, "a")
	nodes[0].Publish(t, Event("one room", "a"))
	nodes[0].Publish(t, Event("empty room", "nobody"))
	nodes[0].Publish(t, Event("two rooms", "b", "a"))
	nodes[0].Publish(t, Event("all"))
	if len(nodes) > 1 { // what is still under way would meet the change
		last.await(t, "all", func(messages []*adapter.Message) bool { return slices.Contains(texts(t, messages), "all") })
	}
	last.Exit("a")
	nodes[0].Publish(t, Event("left", "a"))
	nodes[0].Publish(t, Event("still there", "b"))
	last.Enter(t, "a")
	nodes[0].Publish(t, Event("entered again", "a"))
	heard := drain(t, nodes)
	// A message that meets a change of the room may be delivered or not.
	for i := range heard {
		heard[i] = slices.DeleteFunc(heard[i], func(s string) bool {
			return s == "left" || i != len(nodes)-1 && (s == "two rooms" || s == "empty room")
		})
	}
	want := make([][]string, len(nodes))
	for i := 1; i < len(nodes)-1; i++ {
		want[i] = []string{"all"}
	}
	want[len(nodes)-1] = []string{"one room", "two rooms", "all", "still there", "entered again"}
	for i, list := range heard {
		if i == len(nodes)-1 && len(nodes) > 1 { // an adapter may deliver what concerns no room of the node
			heard[i] = slices.DeleteFunc(list, func(s string) bool { return s == "empty room" })
		}
	}
	expect(t, heard, want...)
}

func testNamespaces(t *testing.T, adapters []adapter.Adapter) {
	const room = "r"
	main, admin := Join(t, adapters, "/", room), Join(t, adapters, "/admin", room)
	sub := Join(t, adapters, "/admin/sub", room)
	for range 10 {
		main[0].Publish(t, Event("main"))
		admin[0].Publish(t, Event("admin"))
		sub[0].Publish(t, Event("sub", room))
		admin[0].Publish(t, Event("admin", room))
	}
	for name, nodes := range map[string][]*Node{"main": main, "admin": admin, "sub": sub} {
		for i, heard := range drain(t, nodes) {
			want := map[string]int{"main": 10, "admin": 20, "sub": 10}[name]
			if i == 0 {
				want = 0
			}
			if !slices.Equal(heard, slices.Repeat([]string{name}, want)) {
				t.Errorf("node %d heard %q in %s, want %d times %q", i, heard, name, want, name)
			}
		}
	}
}

// testFollowRaces changes rooms from many goroutines, with the hints in any order. After the last FollowRoom
// returned the room must be heard.
func testFollowRaces(t *testing.T, adapters []adapter.Adapter) {
	nodes := Join(t, adapters, "/")
	last := nodes[len(nodes)-1]
	f, ok := last.Link.(adapter.RoomFollower)
	if !ok {
		t.Skip("the adapter follows no rooms: nothing to race")
	}
	const rooms, rounds = 20, 30
	var wg sync.WaitGroup
	for r := range rooms {
		room := fmt.Sprintf("room %d", r)
		wg.Go(func() {
			for i := range rounds {
				last.Local.Enter(room)
				if i%3 == 0 {
					f.FollowRoomSoon(room)
				} else {
					last.follow(t, room)
				}
				// The hint of the exit comes late: the next entry may overtake it.
				last.Local.Exit(room)
				wg.Go(func() { f.UnfollowRoom(room) })
			}
			last.Enter(t, room)
			nodes[0].Publish(t, Event(room, room))
		})
	}
	wg.Wait()
	if len(nodes) == 1 {
		return
	}
	got := texts(t, last.Await(t, rooms))
	slices.Sort(got)
	if n := len(slices.Compact(got)); n != rooms {
		t.Errorf("heard %d rooms, want %d", n, rooms)
	}
}

func testLeave(t *testing.T, adapters []adapter.Adapter) {
	nodes := Join(t, adapters, "/", "r")
	last := nodes[len(nodes)-1]
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_ = nodes[0].Link.Publish(t.Context(), Event("flood", [][]string{nil, {"r"}}[i%2]...))
			}
		}
	})
	if len(nodes) > 1 {
		last.Await(t, 10)
	}
	if err := last.Link.Leave(t.Context()); err != nil {
		t.Errorf("Leave: %v", err)
	}
	last.Seal()
	if err := last.Link.Publish(t.Context(), Event("late")); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("Publish after Leave = %v, want %v", err, adapter.ErrClosed)
	}
	close(stop)
	wg.Wait()
	again := NewLocal()
	link, err := last.Adapter.Join(t.Context(), "/", again)
	if err != nil {
		t.Fatalf("Join after Leave: %v", err)
	}
	AwaitReady(t, last.Adapter)
	if len(nodes) > 1 {
		nodes[0].Publish(t, Event("again"))
		again.await(t, "the namespace that was joined again", func(messages []*adapter.Message) bool {
			return slices.Contains(texts(t, messages), "again")
		})
	}
	if err := link.Leave(t.Context()); err != nil {
		t.Errorf("Leave: %v", err)
	}
	if n := last.Late(); n > 0 {
		t.Errorf("%d calls after Leave returned", n)
	}
}

func testClose(t *testing.T, adapters []adapter.Adapter) {
	nodes := Join(t, adapters, "/", "r")
	last := nodes[len(nodes)-1]
	for i := range 100 {
		nodes[0].Publish(t, Event(fmt.Sprint(i)))
	}
	for range 2 { // the second time changes nothing
		if err := last.Adapter.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	last.Seal()
	if err := last.Link.Publish(t.Context(), Event("late")); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("Publish after Close = %v, want %v", err, adapter.ErrClosed)
	}
	if _, err := last.Adapter.Join(t.Context(), "/late", NewLocal()); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("Join after Close = %v, want %v", err, adapter.ErrClosed)
	}
	if len(nodes) > 2 { // the others go on
		nodes[0].Publish(t, Event("after"))
		nodes[1].Await(t, 101)
	}
	if n := last.Late(); n > 0 {
		t.Errorf("%d calls after Close returned", n)
	}
}

func testCloseFlushes(t *testing.T, adapters []adapter.Adapter) {
	const messages = 2000
	nodes := Join(t, adapters, "/")
	for i := range messages {
		nodes[0].Publish(t, Event(fmt.Sprint(i)))
	}
	if err := nodes[0].Adapter.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	for _, n := range nodes[1:] {
		for i, s := range texts(t, n.Await(t, messages)) {
			if s != fmt.Sprint(i) {
				t.Fatalf("message %d is %q", i, s)
			}
		}
	}
}

func testEndedContext(t *testing.T, adapters []adapter.Adapter) {
	nodes := Join(t, adapters, "/")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if f, ok := nodes[0].Link.(adapter.RoomFollower); ok {
			nodes[0].Local.Enter("r")
			_ = f.FollowRoom(ctx, "r")
		}
		for range 100 {
			_ = nodes[0].Link.Publish(ctx, Event("x"))
		}
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("calls with an ended context wait")
	}
}
