package socketio_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio"
)

// tape is the log of a cluster in one process: what its nodes publish, in one order, and the sessions of clients.
type tape struct {
	mu       sync.Mutex
	changed  *sync.Cond
	records  []taped
	trimmed  int // records that are gone
	sessions map[string]*adapter.Session
	ended    bool
	readers  sync.WaitGroup
}

type taped struct {
	namespace string
	from      *tapeLink
	message   *adapter.Message
	offset    adapter.Offset
}

func newTape(t testing.TB) *tape {
	tp := &tape{sessions: map[string]*adapter.Session{}}
	tp.changed = sync.NewCond(&tp.mu)
	t.Cleanup(func() {
		tp.mu.Lock()
		tp.ended = true
		tp.changed.Broadcast()
		tp.mu.Unlock()
		tp.readers.Wait()
	})
	return tp
}

// node is one adapter. lag holds up its readers.
type tapeNode struct {
	*tape
	lag  func()
	fail error // of Save and Take
}

func (n *tapeNode) Join(_ context.Context, namespace string, local adapter.Local) (adapter.Link, error) {
	l := &tapeLink{node: n, namespace: namespace}
	n.mu.Lock()
	position := len(n.records)
	n.mu.Unlock()
	n.readers.Go(func() { l.read(local.(adapter.Recorder), position) })
	return l, nil
}

func (n *tapeNode) Close(context.Context) error { return nil }

func (n *tapeNode) Save(_ context.Context, s *adapter.Session, _ time.Duration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fail == nil {
		n.sessions[s.PID] = s
	}
	return n.fail
}

func (n *tapeNode) Take(_ context.Context, namespace, pid string, at adapter.Offset) (*adapter.Session, bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.sessions[pid]
	delete(n.sessions, pid)
	known := slices.ContainsFunc(n.records[n.trimmed:], func(r taped) bool { return r.offset == at && r.namespace == namespace })
	return s, known, n.fail
}

func (n *tapeNode) Missed(_ context.Context, namespace string, after adapter.Offset) (adapter.Page, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	page := adapter.Page{Read: after}
	for _, r := range n.records[n.trimmed:] {
		if r.offset.Compare(after) <= 0 {
			continue
		}
		if page.Read = r.offset; r.namespace == namespace && !r.message.Flags.Volatile {
			page.Records = append(page.Records, adapter.Record{Message: r.message, Offset: r.offset})
		}
		if len(page.Records) == 3 {
			break
		}
	}
	return page, n.fail
}

type tapeLink struct {
	node      *tapeNode
	namespace string
	left      bool
}

func (l *tapeLink) Publish(_ context.Context, m *adapter.Message) error {
	l.node.mu.Lock()
	defer l.node.mu.Unlock()
	l.node.records = append(l.node.records, taped{l.namespace, l, m, adapter.Offset{Major: 1000, Minor: uint64(len(l.node.records) + 1)}})
	l.node.changed.Broadcast()
	return nil
}

func (l *tapeLink) Leave(context.Context) error {
	l.node.mu.Lock()
	defer l.node.mu.Unlock()
	l.left = true
	l.node.changed.Broadcast()
	return nil
}

func (l *tapeLink) read(to adapter.Recorder, position int) {
	to.Begin(adapter.Offset{Major: 1000, Minor: uint64(position)})
	for ; ; position++ {
		l.node.mu.Lock()
		for position == len(l.node.records) && !l.left && !l.node.ended {
			l.node.changed.Wait()
		}
		if l.left || l.node.ended {
			l.node.mu.Unlock()
			return
		}
		r := l.node.records[position]
		l.node.mu.Unlock()
		l.node.lag()
		if r.namespace == l.namespace {
			to.Record(adapter.Record{Message: r.message, Offset: r.offset, Own: r.from == l})
		}
	}
}

func noLag() {}

func someLag() { time.Sleep(rand.N(300 * time.Microsecond)) }

// Clients move from node to node under constant broadcasts, some of which are older than what a node remembers.
func TestRecoveryAcrossNodesUnderLoad(t *testing.T) {
	for name, o := range map[string]*socketio.Recovery{"from memory": {}, "from the keeper": {MaxMessages: 2}} {
		t.Run(name, func(t *testing.T) {
			tp := newTape(t)
			var dialers []func() *peer
			var servers []*socketio.Server
			for range 3 {
				server, front := start(t, &socketio.Options{Adapter: &tapeNode{tape: tp, lag: someLag}, Recovery: o})
				server.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
					if s.Recovered() {
						return nil
					}
					return s.Join(ctx, "r")
				})
				servers = append(servers, server)
				dialers = append(dialers, func() *peer { return open(t, front) })
			}
			ctx, cancel := context.WithCancel(t.Context())
			var emitter sync.WaitGroup
			emitter.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					server := servers[0] // one emitter, and so one order
					_ = server.To("r").Emit(ctx, "n", n)
					_ = servers[1].To("elsewhere").Emit(ctx, "x", n)
					_ = servers[2].Volatile().To("r").Emit(ctx, "v")
					time.Sleep(300 * time.Microsecond)
				}
			})
			defer emitter.Wait()
			defer cancel()
			next, fresh := -1, 0
			var s session
			take := func(packet string) (counted bool) {
				rest, offset := cutOffset(t, packet)
				s.offset = offset
				if rest == `42["v"]` {
					return false
				}
				var n int
				if _, err := fmt.Sscanf(rest, `42["n",%d]`, &n); err != nil {
					t.Fatalf("got %s", packet)
				}
				if next >= 0 && n != next {
					t.Fatalf("got event %d, want %d", n, next)
				}
				next = n + 1
				return true
			}
			for round := range 20 {
				p := dialers[round%3]()
				auth := ""
				if s.offset != "" {
					auth = s.auth()
				}
				before, now := p.connect(auth)
				if round > 0 && now.sid != s.sid {
					fresh++
				}
				now.offset = s.offset
				s = now
				for _, packet := range before {
					take(packet)
				}
				for counted := 0; counted < 20; {
					if take(p.read()) {
						counted++
					}
				}
				p.ws.Close()
				eventually(t, "the session is kept", func() bool {
					tp.mu.Lock()
					defer tp.mu.Unlock()
					return tp.sessions[s.pid] != nil
				})
				time.Sleep(rand.N(5 * time.Millisecond))
			}
			if fresh > 0 {
				t.Errorf("%d rounds of 20 without recovery", fresh)
			}
		})
	}
}

// Values come back from the keeper as JSON says, binary as it was.
func TestSessionDataAcrossNodes(t *testing.T) {
	tp := newTape(t)
	one, oneFront := start(t, &socketio.Options{Adapter: &tapeNode{tape: tp, lag: noLag}, Recovery: &socketio.Recovery{}})
	two, twoFront := start(t, &socketio.Options{Adapter: &tapeNode{tape: tp, lag: noLag}, Recovery: &socketio.Recovery{}})
	one.OnConnect(func(_ context.Context, s *socketio.Socket) error {
		s.Set("user", struct {
			Name string `json:"name"`
			Key  []byte `json:"key"`
		}{"Ann", []byte{1, 255}})
		return nil
	})
	left := make(chan struct{}, 1)
	one.OnDisconnect(func(context.Context, *socketio.Socket, socketio.Reason) { left <- struct{}{} })
	back := make(chan *socketio.Socket, 1)
	two.OnConnect(func(_ context.Context, s *socketio.Socket) error {
		back <- s
		return nil
	})
	p := open(t, oneFront)
	_, s := p.connect("")
	_ = two.Emit(t.Context(), "x")
	_, s.offset = p.event()
	p.ws.Close()
	receive(t, left)
	q := open(t, twoFront)
	_, again := q.connect(s.auth())
	socket := receive(t, back)
	user, _ := socket.Get("user")
	if got := fmt.Sprint(user); again.sid != s.sid || !socket.Recovered() || got != "map[key:[1 255] name:Ann]" {
		t.Errorf("came back as %+v with user %v", again, got)
	}
}

func TestKeeperRefusals(t *testing.T) {
	tp := newTape(t)
	node := &tapeNode{tape: tp, lag: noLag}
	server, front := start(t, &socketio.Options{Adapter: node, Recovery: &socketio.Recovery{MaxMessages: 1}})
	left := make(chan struct{}, 1)
	server.OnDisconnect(func(context.Context, *socketio.Socket, socketio.Reason) { left <- struct{}{} })
	var s session
	witness := open(t, front)
	witness.connect("")
	lose := func(offset string) (again session) {
		p := open(t, front)
		_, s = p.connect("")
		_ = server.Emit(t.Context(), "x")
		if _, s.offset = p.event(); offset != "" {
			s.offset = offset
		}
		p.ws.Close()
		receive(t, left)
		for i := range 5 {
			_ = server.Emit(t.Context(), "missed", i)
		}
		for got := ""; got != `42["missed",4]`; { // this node has recorded them
			got, _ = witness.event()
		}
		return s
	}
	setFail := func(err error) {
		tp.mu.Lock()
		defer tp.mu.Unlock()
		node.fail = err
	}
	for name, test := range map[string]struct {
		offset string
		before func()
		count  string
	}{
		"no offset":      {offset: "x", count: "no_offset"},
		"unknown offset": {offset: "7-7", count: "no_offset"},
		"future offset":  {offset: "1001-7", count: "no_offset"},
		"trimmed": {before: func() {
			tp.mu.Lock()
			defer tp.mu.Unlock()
			tp.trimmed = len(tp.records) - 1
		}, count: "no_offset"},
		"unavailable": {before: func() { setFail(errors.New("away")) }, count: "unavailable"},
		"taken": {before: func() {
			tp.mu.Lock()
			defer tp.mu.Unlock()
			clear(tp.sessions)
		}, count: "unknown"},
	} {
		before := server.Stats().Namespaces[0].Recoveries[test.count]
		s := lose(test.offset)
		if test.before != nil {
			test.before()
		}
		p := open(t, front)
		missed, fresh := p.connect(s.auth())
		if fresh.sid == s.sid || fresh.pid == s.pid || len(missed) != 0 {
			t.Errorf("%s: recovered with %q", name, missed)
		}
		if got := server.Stats().Namespaces[0].Recoveries[test.count] - before; got != 1 {
			t.Errorf("%s: %s counted %d times, want once", name, test.count, got)
		}
		setFail(nil)
		p.ws.Close()
		receive(t, left)
	}
}

// Without other nodes, events of this node alone keep the offset of what came before.
func TestUnkeptEventsKeepTheOffset(t *testing.T) {
	tp := newTape(t)
	server, front := start(t, &socketio.Options{Adapter: &tapeNode{tape: tp, lag: noLag}, Recovery: &socketio.Recovery{}})
	p := open(t, front)
	_, _ = p.connect("")
	_ = server.Emit(t.Context(), "one")
	_, first := p.event()
	_ = server.Local().Emit(t.Context(), "local")
	got, second := p.event()
	_ = server.Volatile().Emit(t.Context(), "volatile")
	_, third := p.event()
	if got != `42["local"]` || second != first || third == first || !strings.Contains(third, "-") {
		t.Errorf("offsets %s, %s of the local event %s, %s of the volatile one", first, second, got, third)
	}
}
