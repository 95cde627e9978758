package adaptertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/chorus/pkg/adapter"
)

func testKinds(t *testing.T, r *requestTest) {
	nodes := r.join(t, "/admin", "a")
	odd := "#odd# room ü*"
	binary := adapter.Packet{Data: []byte(`["e",1,{"b":{"_placeholder":true,"num":0}}]`), Attachments: [][]byte{{0, 255}}}
	if r.TextOnly {
		binary = adapter.Packet{Data: []byte(`["e",1,{"b":"ü"},[null,true]]`)}
	}
	messages := []*adapter.Message{
		{Kind: adapter.Join, Targets: []string{"x", odd}},
		{Kind: adapter.Join, Rooms: []string{"a"}, Targets: []string{"x"}},
		{Kind: adapter.Join, Rooms: []string{"a", "b"}, Except: []string{odd, "d"}, Targets: []string{"x", "y"}},
		{Kind: adapter.Leave, Rooms: []string{"a"}, Except: []string{"b"}, Targets: []string{odd}},
		{Kind: adapter.Disconnect},
		{Kind: adapter.Disconnect, Rooms: []string{"a", odd}, Except: []string{"c"}, Close: true},
		{Kind: adapter.ServerSideEmit, Packet: adapter.Packet{Data: []byte(`["e"]`)}},
		{Kind: adapter.ServerSideEmit, Packet: binary},
	}
	for i, m := range messages {
		nodes[0].Publish(t, m)
		for _, n := range nodes[1:] { // one after the other: they need not come in order
			got := n.Await(t, i+1)[i]
			if got.Kind != m.Kind || !slices.Equal(got.Rooms, m.Rooms) || !slices.Equal(got.Except, m.Except) ||
				!slices.Equal(got.Targets, m.Targets) || got.Close != m.Close {
				t.Errorf("delivered %+v, want %+v", got, m)
			}
			if m.Kind == adapter.ServerSideEmit && !reflect.DeepEqual(resolve(t, got.Packet), resolve(t, m.Packet)) {
				t.Errorf("delivered %s, want %s", got.Packet.Data, m.Packet.Data)
			}
		}
	}
	if own := nodes[0].Messages(); len(own) > 0 {
		t.Errorf("the publisher heard %d messages of its own", len(own))
	}
}

// testKindsInOrder: who joins sockets to a room and then emits to it relies on the order.
func testKindsInOrder(t *testing.T, r *requestTest) {
	if r.AnyOrder {
		t.Skip("the adapter keeps no order between kinds")
	}
	nodes := r.join(t, "/", "r")
	const messages = 300
	for i := range messages {
		text := fmt.Sprint(i)
		switch i % 3 {
		case 0:
			nodes[0].Publish(t, &adapter.Message{Kind: adapter.Join, Rooms: []string{"r"}, Targets: []string{text}})
		case 1:
			nodes[0].Publish(t, Event(text, [][]string{nil, {"r"}}[i%2]...))
		case 2:
			m := Event(text)
			m.Kind = adapter.ServerSideEmit
			nodes[0].Publish(t, m)
		}
	}
	for _, n := range nodes[1:] {
		for i, m := range n.Await(t, messages) {
			text := slices.Concat(m.Targets, []string{""})[0]
			if m.Kind != adapter.Join {
				text = texts(t, []*adapter.Message{m})[0]
			}
			if text != fmt.Sprint(i) {
				t.Fatalf("message %d is %s", i, text)
			}
		}
	}
}

func testNodes(t *testing.T, r *requestTest) {
	nodes := r.join(t, "/")
	ids := map[string]int{}
	for i, n := range nodes {
		list, err := n.Link.(adapter.Requester).Nodes(t.Context())
		if err != nil || len(list) != len(nodes) {
			t.Fatalf("Nodes of node %d = %v, %v, want %d", i, list, err, len(nodes))
		}
		if list[0].ID == "" {
			t.Errorf("node %d does not know its own id", i)
		}
		for _, each := range list {
			ids[each.ID]++
		}
		m, ok := n.Adapter.(adapter.Member)
		if !ok {
			continue
		}
		for _, member := range m.Members() {
			if member.ID == list[0].ID || member.ID == "" {
				t.Errorf("Members of node %d has %+v", i, member)
			}
			if !slices.Contains(list, member) {
				t.Errorf("Nodes of node %d has no %+v, who is among Members", i, member)
			}
		}
	}
	if r.Unnamed {
		return
	}
	for id, n := range ids {
		if n != len(nodes) || len(ids) != len(nodes) {
			t.Errorf("id %q was seen by %d nodes, want the same %d ids by all", id, n, len(nodes))
		}
	}
}

func testFetch(t *testing.T, r *requestTest) {
	nodes := r.join(t, "/chat", "a")
	described := func(node, i int) adapter.Socket {
		return adapter.Socket{
			ID:        fmt.Sprintf("socket %d of %d", i, node),
			Handshake: json.RawMessage(`{"headers":{"host":"x","set-cookie":["a","b"]},"issued":1700000000000,"secure":false,"auth":{"t":[1,null]}}`),
			Rooms:     []string{"a", "ünï", fmt.Sprintf("socket %d of %d", i, node)},
			Data:      json.RawMessage(fmt.Sprintf(`{"node":%d,"deep":{"x":[1.5,"<y>",true]}}`, node)),
		}
	}
	want := &adapter.Message{Kind: adapter.Fetch, Rooms: []string{"a", "b"}, Except: []string{"c"}, Timeout: 3 * time.Second}
	for i, n := range nodes {
		n.AnswerWith(func(m *adapter.Message, respond func(*adapter.Response)) {
			if m.Kind != adapter.Fetch || !slices.Equal(m.Rooms, want.Rooms) || !slices.Equal(m.Except, want.Except) {
				t.Errorf("node %d is asked %+v, want %+v", i, m, want)
			}
			var sockets []adapter.Socket // of node 1 none
			for s := range i - 1 {
				sockets = append(sockets, described(i, s))
			}
			go respond(&adapter.Response{Sockets: sockets})
		})
	}
	responses, err := nodes[0].request(t, want)
	if err != nil || len(responses) != len(nodes)-1 {
		t.Fatalf("Request = %d responses, %v, want %d", len(responses), err, len(nodes)-1)
	}
	got := map[string]adapter.Socket{}
	for _, resp := range responses {
		for _, s := range resp.Sockets {
			got[s.ID] = s
		}
	}
	total := 0
	for i := range nodes[1:] {
		for s := range i {
			total++
			want := described(i+1, s)
			have := got[want.ID]
			if !slices.Equal(have.Rooms, want.Rooms) || !sameJSON(have.Handshake, want.Handshake) || !sameJSON(have.Data, want.Data) {
				t.Errorf("socket %q is %+v, want %+v", want.ID, have, want)
			}
		}
	}
	if len(got) != total {
		t.Errorf("%d sockets, want %d", len(got), total)
	}
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

func testCount(t *testing.T, r *requestTest) {
	nodes := r.join(t, "/", "a")
	for i, n := range nodes {
		n.AnswerWith(func(m *adapter.Message, respond func(*adapter.Response)) {
			if m.Kind == adapter.Fetch { // an adapter whose wire format has no Count may fetch
				respond(&adapter.Response{Sockets: make([]adapter.Socket, i*10)})
				return
			}
			respond(&adapter.Response{Count: i * 10})
		})
	}
	for _, rooms := range [][]string{nil, {"a"}, {"a", "b"}} {
		responses, err := nodes[0].request(t, &adapter.Message{Kind: adapter.Count, Rooms: rooms})
		if err != nil {
			t.Errorf("Request = %v", err)
		}
		if got, want := counts(responses), countsOf(nodes); !slices.Equal(got, want) {
			t.Errorf("counts of rooms %q are %v, want %v", rooms, got, want)
		}
	}
}

// counts returns what nodes counted, sorted.
func counts(responses []*adapter.Response) (list []int) {
	for _, r := range responses {
		list = append(list, r.Count)
	}
	slices.Sort(list)
	return list
}

// countsOf is what the nodes of testCount answer.
func countsOf(nodes []*Node) (list []int) {
	for i := range nodes[1:] {
		list = append(list, (i+1)*10)
	}
	return list
}

// values returns the packets of acknowledgements as JSON text, sorted.
func values(t *testing.T, responses []*adapter.Response) (list []string) {
	t.Helper()
	for _, r := range responses {
		if r.Packet == nil {
			continue
		}
		text, err := json.Marshal(resolve(t, *r.Packet))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(text))
	}
	slices.Sort(list)
	return list
}

// ackPacket is an acknowledgement, with as many values as the adapter carries, and how values shows it.
func (r *requestTest) ackPacket(i int, text bool) (p adapter.Packet, shown string) {
	switch {
	case r.FirstValue && text:
		return adapter.Packet{Data: fmt.Appendf(nil, `[{"n":%d}]`, i)}, fmt.Sprintf(`[{"n":%d}]`, i)
	case r.FirstValue:
		return adapter.Packet{Data: fmt.Appendf(nil, `[{"b":{"_placeholder":true,"num":0},"n":%d}]`, i), Attachments: [][]byte{{0, 255}}},
			fmt.Sprintf(`[{"b":"AP8=","n":%d}]`, i)
	case text:
		return adapter.Packet{Data: fmt.Appendf(nil, `[%d,"two"]`, i)}, fmt.Sprintf(`[%d,"two"]`, i)
	}
	return adapter.Packet{Data: fmt.Appendf(nil, `[%d,{"_placeholder":true,"num":0}]`, i), Attachments: [][]byte{{0, 255}}},
		fmt.Sprintf(`[%d,"AP8="]`, i)
}

func testServerSideEmit(t *testing.T, r *requestTest) {
	nodes := r.join(t, "/")
	packet := adapter.Packet{Data: []byte(`["ask",{"_placeholder":true,"num":0},"ü"]`), Attachments: [][]byte{bytes.Repeat([]byte{7}, 1000)}}
	if r.TextOnly {
		packet = adapter.Packet{Data: []byte(`["ask",{"a":[1,2]},"ü"]`)}
	}
	var want []string
	for i, n := range nodes {
		answer, shown := r.ackPacket(i, r.TextOnly)
		if i > 0 {
			want = append(want, shown)
		}
		n.AnswerWith(func(m *adapter.Message, respond func(*adapter.Response)) {
			if m.Kind != adapter.ServerSideEmit || !reflect.DeepEqual(resolve(t, m.Packet), resolve(t, packet)) {
				t.Errorf("node %d is asked %+v", i, m)
			}
			go respond(&adapter.Response{Packet: &answer})
		})
	}
	responses, err := nodes[0].request(t, &adapter.Message{Kind: adapter.ServerSideEmit, Packet: packet})
	slices.Sort(want)
	if got := values(t, responses); err != nil || !slices.Equal(got, want) {
		t.Errorf("answers are %q, %v, want %q", got, err, want)
	}
	for i, n := range nodes {
		if len(n.Messages()) > 0 {
			t.Errorf("node %d was given a request as a message without answer", i)
		}
	}
}

func testBroadcastWithAck(t *testing.T, r *requestTest) {
	nodes := r.join(t, "/chat", "a")
	packet := adapter.Packet{Data: []byte(`["q",{"_placeholder":true,"num":0},"ü"]`), Attachments: [][]byte{{0, 1, 255}}}
	want := &adapter.Message{Packet: packet, Rooms: []string{"a"}, Except: []string{"b", "c"}, Timeout: 5 * time.Second}
	var acks []string
	for i, n := range nodes {
		n.AnswerWith(func(m *adapter.Message, respond func(*adapter.Response)) {
			if m.Kind != adapter.Broadcast || !slices.Equal(m.Rooms, want.Rooms) || !slices.Equal(m.Except, want.Except) ||
				!reflect.DeepEqual(resolve(t, m.Packet), resolve(t, packet)) {
				t.Errorf("node %d is asked %+v, want %+v", i, m, want)
			}
			// Microseconds may be lost on the wire, and an adapter may not carry it at all.
			if m.Timeout != 0 && (m.Timeout > want.Timeout || m.Timeout < want.Timeout-time.Second) {
				t.Errorf("node %d has %v, want at most %v", i, m.Timeout, want.Timeout)
			}
			respond(&adapter.Response{Count: i})
			for range i {
				p, _ := r.ackPacket(i, false)
				go respond(&adapter.Response{Packet: &p})
			}
		})
		for range i {
			_, shown := r.ackPacket(i, false)
			acks = append(acks, shown)
		}
	}
	responses, err := nodes[0].request(t, want)
	if err != nil {
		t.Errorf("Request = %v", err)
	}
	slices.Sort(acks)
	if got := values(t, responses); !slices.Equal(got, acks) {
		t.Errorf("acknowledgements are %q, want %q", got, acks)
	}
	total, counted := 0, 0
	for _, resp := range responses {
		if resp.Packet == nil {
			counted++
			total += resp.Count
		}
	}
	if total != len(acks) || counted != len(nodes)-1 {
		t.Errorf("%d nodes counted %d sockets, want %d and %d", counted, total, len(nodes)-1, len(acks))
	}
}

func testHugeAnswers(t *testing.T, r *requestTest) {
	nodes := r.join(t, "/")
	text := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	many := make([]adapter.Socket, 2000)
	for i := range many {
		many[i] = adapter.Socket{
			ID: fmt.Sprint(i), Handshake: json.RawMessage(`{"url":"` + text[:1000] + `"}`), Rooms: []string{}, Data: json.RawMessage(`{}`),
		}
	}
	rooms := make([]string, 5000)
	for i := range rooms {
		rooms[i] = fmt.Sprint("room ", i)
	}
	for _, n := range nodes {
		n.AnswerWith(func(m *adapter.Message, respond func(*adapter.Response)) {
			if m.Kind == adapter.Fetch {
				if len(m.Rooms) != len(rooms) {
					t.Errorf("asked for %d rooms, want %d", len(m.Rooms), len(rooms))
				}
				respond(&adapter.Response{Sockets: many})
				return
			}
			respond(&adapter.Response{Packet: &adapter.Packet{Data: []byte(`["` + text + `"]`)}})
		})
	}
	responses, err := nodes[0].request(t, &adapter.Message{Kind: adapter.Fetch, Rooms: rooms})
	if err != nil || len(responses) != len(nodes)-1 {
		t.Fatalf("Request = %d responses, %v", len(responses), err)
	}
	for _, resp := range responses {
		if len(resp.Sockets) != len(many) || !sameJSON(resp.Sockets[1999].Handshake, many[1999].Handshake) {
			t.Errorf("%d sockets came, want %d", len(resp.Sockets), len(many))
		}
	}
	big := &adapter.Message{Kind: adapter.ServerSideEmit, Packet: adapter.Packet{Data: []byte(`["e","` + text + `"]`)}}
	responses, err = nodes[0].request(t, big)
	if err != nil || len(responses) != len(nodes)-1 {
		t.Fatalf("Request = %d responses, %v", len(responses), err)
	}
	for _, got := range values(t, responses) {
		if got != `["`+text+`"]` {
			t.Errorf("an answer of %d bytes came, want %d", len(got), len(text)+4)
		}
	}
}

func testManyAcks(t *testing.T, r *requestTest) {
	const acks = 2000
	nodes := r.join(t, "/")
	for _, n := range nodes {
		n.AnswerWith(func(_ *adapter.Message, respond func(*adapter.Response)) {
			respond(&adapter.Response{Count: acks})
			go func() {
				for range acks {
					respond(&adapter.Response{Packet: &adapter.Packet{Data: []byte(`["ok"]`)}})
				}
			}()
		})
	}
	responses, err := nodes[0].request(t, &adapter.Message{Packet: adapter.Packet{Data: []byte(`["q"]`)}})
	if want := (len(nodes) - 1) * (acks + 1); err != nil || len(responses) != want {
		t.Errorf("Request = %d responses, %v, want %d", len(responses), err, want)
	}
}

// testAbsurdAnswers: what a faulty node counts does not harm the others, nor later requests.
func testAbsurdAnswers(t *testing.T, r *requestTest) {
	nodes := r.join(t, "/")
	for i, n := range nodes {
		n.AnswerWith(func(m *adapter.Message, respond func(*adapter.Response)) {
			if m.Kind == adapter.Broadcast && i == 1 {
				respond(&adapter.Response{Count: math.MaxInt})
				return
			}
			respond(&adapter.Response{})
		})
	}
	ctx, cancel := contextOf(t, 200*time.Millisecond)
	defer cancel()
	responses, err := nodes[0].ask(ctx, &adapter.Message{Packet: adapter.Packet{Data: []byte(`["q"]`)}}).result(t)
	if err == nil {
		t.Errorf("Request = nil with %d responses, though acknowledgements are missing", len(responses))
	}
	if responses, err := nodes[0].request(t, &adapter.Message{Kind: adapter.Count}); err != nil || len(responses) != len(nodes)-1 {
		t.Errorf("the next Request = %d responses, %v", len(responses), err)
	}
}
