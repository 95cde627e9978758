package socketio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/chorus/pkg/socketio"
)

func TestDynamicNamespaces(t *testing.T) {
	server, front := start(t, &socketio.Options{CleanupEmptyChildNamespaces: true})
	var made []string
	server.OnNamespace(func(n *socketio.Namespace) { made = append(made, n.Name()) })
	fixed := server.Of("/dynamic-0")
	parent := server.OfMatch(regexp.MustCompile(`^/dynamic-\d+$`))
	parent.Use(func(_ context.Context, s *socketio.Socket) error {
		if string(s.Handshake().Auth) == `{"no":1}` {
			return errors.New("refused")
		}
		return nil
	})
	parent.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		return s.Emit(ctx, "welcome", s.Namespace().Name())
	})
	parent.On("echo", func(ctx context.Context, _ *socketio.Socket, args socketio.Args) error { return args.Ack(ctx, args) })
	server.OfFunc(func(_ context.Context, name string, auth json.RawMessage) (bool, error) {
		switch {
		case name == "/panic":
			panic("boom")
		case name == "/error":
			return true, errors.New("broken")
		}
		return strings.HasPrefix(name, "/auth") && string(auth) == `{"ok":true}`, nil
	})

	p := open(t, front)
	p.join("/dynamic-101", "")
	p.expect(`42/dynamic-101,["welcome","/dynamic-101"]`)
	p.send(`42/dynamic-101,5["echo",1]`)
	p.expect(`43/dynamic-101,5[1]`)
	p.join("/auth1", `{"ok":true}`)
	for send, want := range map[string]string{
		`40/dynamic-x,`:         `44/dynamic-x,{"message":"Invalid namespace"}`,
		`40/auth2,`:             `44/auth2,{"message":"Invalid namespace"}`,
		`40/panic,`:             `44/panic,{"message":"Invalid namespace"}`,
		`40/error,`:             `44/error,{"message":"Invalid namespace"}`,
		`40/dynamic-7,{"no":1}`: `44/dynamic-7,{"message":"refused"}`,
	} {
		p.send(send)
		p.expect(want)
	}
	q := open(t, front)
	q.join("/dynamic-102", "")
	q.expect(`42/dynamic-102,["welcome","/dynamic-102"]`)
	q.join("/dynamic-0", "") // exists, so it is no child
	if fixed.Len() != 1 {
		t.Errorf("the fixed namespace has %d sockets, want 1", fixed.Len())
	}
	if err := parent.Emit(t.Context(), "all", 1); err != nil {
		t.Fatal(err)
	}
	p.expect(`42/dynamic-101,["all",1]`)
	q.expect(`42/dynamic-102,["all",1]`)
	if err := parent.To(q.sids["/dynamic-102"]).Emit(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	q.expect(`42/dynamic-102,["one"]`)
	eventually(t, "the refused child is gone", func() bool { return len(parent.Children()) == 2 })
	p.ws.Close()
	q.send("41/dynamic-102,")
	eventually(t, "no child is left", func() bool { return len(parent.Children()) == 0 })
	if want := []string{"/dynamic-0", "/dynamic-101", "/auth1"}; !slices.Equal(made[:3], want) {
		t.Errorf("OnNamespace told of %v, want %v first", made, want)
	}
	q.join("/dynamic-102", "") // and made anew
	q.expect(`42/dynamic-102,["welcome","/dynamic-102"]`)
}

func TestChildrenComeAndGo(t *testing.T) {
	server, front := start(t, &socketio.Options{CleanupEmptyChildNamespaces: true})
	parent := server.OfMatch(regexp.MustCompile(`^/d`))
	done := make(chan struct{})
	for range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			p := open(t, front)
			for i := range 100 {
				nsp := fmt.Sprintf("/d%d", i%3) // the same ones at the same time
				p.join(nsp, "")
				p.send("41" + nsp + ",")
			}
		}()
	}
	for range 4 {
		<-done
	}
	eventually(t, "no child is left", func() bool { return len(parent.Children()) == 0 })
	for _, n := range server.Stats().Namespaces {
		if n.Sockets != 0 || n.Rooms != 0 {
			t.Errorf("%d sockets and %d rooms are left in %s", n.Sockets, n.Rooms, n.Name)
		}
	}
}

// Clients choose these names, and every figure of a namespace repeats its own.
func TestLongNamesOfNamespacesAreNotCounted(t *testing.T) {
	server, front := start(t, nil)
	server.OfMatch(regexp.MustCompile(`^/d`))
	p := open(t, front)
	short := "/d" + strings.Repeat("x", 126)
	for _, name := range []string{short, short + "x", "/d" + strings.Repeat("y", 100_000)} {
		p.join(name, "")
	}
	server.Of("/\xff") // the application's, which is no label
	got := make(map[string]int64)
	for _, n := range server.Stats().Namespaces {
		got[n.Name] = n.Sockets
	}
	if want := map[string]int64{"/": 0, short: 1, "other": 2}; !maps.Equal(got, want) {
		t.Errorf("sockets by namespace %v, want %v", got, want)
	}
}

// The limit of namespaces on one connection is of those at a time.
func TestNamespacesOneAfterTheOther(t *testing.T) {
	server, front := start(t, &socketio.Options{CleanupEmptyChildNamespaces: true})
	parent := server.OfMatch(regexp.MustCompile(`^/d`))
	p := open(t, front)
	for i := range 40 {
		nsp := fmt.Sprintf("/d%d", i)
		p.join(nsp, "")
		p.send("41" + nsp + ",")
		eventually(t, "the child is gone", func() bool { return len(parent.Children()) == 0 })
	}
	for i := range 32 {
		p.join(fmt.Sprintf("/d%d", i), "")
	}
	p.send("40/d32,")
	p.expect(`44/d32,{"message":"too many namespaces on one connection: the limit is 32"}`)
}

// A namespace that the application makes is a child too where its name matches a pattern, as in Node.
func TestOfMakesChildren(t *testing.T) {
	server, front := start(t, nil)
	before := server.Of("/d-1")
	server.OfFunc(func(context.Context, string, json.RawMessage) (bool, error) { return true, nil })
	parent := server.OfMatch(regexp.MustCompile(`^/d-\d+$`))
	parent.OnConnect(func(ctx context.Context, s *socketio.Socket) error { return s.Emit(ctx, "welcome") })
	child, other := server.Of("/d-2"), server.Of("/e")
	if children := parent.Children(); !slices.Equal(children, []*socketio.Namespace{child}) {
		t.Errorf("%d children, want the one that was made after the parent", len(children))
	}
	p := open(t, front)
	p.join("/d-2", "")
	p.expect(`42/d-2,["welcome"]`)
	for _, n := range []*socketio.Namespace{before, other} {
		p.join(n.Name(), "")
		_ = n.Emit(t.Context(), "first")
		p.expect(`42` + n.Name() + `,["first"]`)
	}
}

// A client decides when a child is made, so what is told of it must not end the process.
func TestPanicInOnNamespace(t *testing.T) {
	server, front := start(t, nil)
	server.OnNamespace(func(*socketio.Namespace) { panic("boom") })
	told := make(chan string, 1)
	server.OnNamespace(func(n *socketio.Namespace) { told <- n.Name() })
	server.OfMatch(regexp.MustCompile(`^/d`))
	open(t, front).join("/d1", "")
	if name := receive(t, told); name != "/d1" || server.Stats().HandlerPanics != 1 {
		t.Errorf("told of %q, %d panics", name, server.Stats().HandlerPanics)
	}
}
