package forward_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func TestCloseEndsRelaysPolitely(t *testing.T) {
	nodes := newCluster(t, setup{}, "a", "b")
	idle := join(t, nodes[0], nodes[1]).upgrade()
	busy := join(t, nodes[0], nodes[1]).upgrade()
	go func() { // until the connection ends
		for busy.conn.WriteMessage(websocket.TextMessage, []byte(`42["echo","`+strings.Repeat("x", 100_000)+`"]`)) == nil {
		}
	}()
	busy.read(`42["echo","` + strings.Repeat("x", 100_000) + `"]`)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- nodes[1].forward.Close(ctx) }()
	for _, w := range []*ws{idle, busy} {
		for { // whatever comes before is whole
			_ = w.conn.SetReadDeadline(time.Now().Add(patience))
			_, data, err := w.conn.ReadMessage()
			if websocket.IsCloseError(err, websocket.CloseGoingAway) {
				break
			}
			if err != nil || !strings.HasPrefix(string(data), `42["echo","`) {
				t.Fatalf("read %.20q, %v, want messages and then a close frame", data, err)
			}
		}
		w.conn.Close()
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if n := nodes[1].forward.Stats().Relayed; n != 0 {
		t.Errorf("%d relays are left", n)
	}
}

// Relays are handed over one by one, and none is added meanwhile.
func TestHandOver(t *testing.T) {
	nodes := newCluster(t, setup{}, "a", "b")
	var relayed []*ws
	for range 4 {
		relayed = append(relayed, join(t, nodes[0], nodes[1]).upgrade())
	}
	late := join(t, nodes[0], nodes[1])
	f := nodes[1].forward
	if told, left := f.HandOver(0), f.Relays(); told != 0 || left != 4 {
		t.Errorf("HandOver(0) = %d, %d relays are left, want 0 and 4", told, left)
	}
	sentElsewhere(t, nodes[1], late.sid)
	if status, _ := late.post(`42["echo",1]`); status != http.StatusOK {
		t.Errorf("POST while handing over: %d", status)
	}
	if told, left := f.HandOver(1), f.Relays(); told != 1 || left != 3 {
		t.Errorf("HandOver(1) = %d, %d relays are left, want 1 and 3", told, left)
	}
	until(t, "one relay ends", func() bool { return f.Stats().Relayed == 3 })
	if told, left := f.HandOver(100), f.Relays(); told != 3 || left != 0 {
		t.Errorf("HandOver(100) = %d, %d relays are left, want 3 and 0", told, left)
	}
	for _, w := range relayed {
		if err := w.fails(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Errorf("a relayed WebSocket ended with %v, want the close frame 1001", err)
		}
		w.conn.Close()
	}
	until(t, "all relays end", func() bool { return f.Stats().Relayed == 0 })
	if n := f.Relays(); n != 0 {
		t.Errorf("%d relays are counted when none is there", n)
	}
}

// Between Drain and Close a node answers its own clients, however long that takes; those of other nodes lose nothing by it.
func TestDrainPassesRequestsOn(t *testing.T) {
	nodes := newCluster(t, setup{}, "a", "b")
	w := join(t, nodes[0], nodes[1]).upgrade()
	c := join(t, nodes[0], nodes[1])
	nodes[1].forward.Drain()
	nodes[1].forward.Drain() // once more: no matter
	if err := w.fails(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("the relayed WebSocket ended with %v, want a close frame", err)
	}
	w.conn.Close()
	until(t, "the relay ends", func() bool { return nodes[1].forward.Stats().Relayed == 0 })
	sentElsewhere(t, nodes[1], c.sid)
	for i := range 3 {
		text := fmt.Sprintf(`42["echo",%d]`, i)
		if status, body := c.post(text); status != http.StatusOK {
			t.Errorf("POST while draining: %d %s", status, body)
		}
		if status, body := c.get(); status != http.StatusOK || body != text {
			t.Errorf("GET while draining: %d %s", status, body)
		}
	}
	if err := nodes[1].forward.Close(context.Background()); err != nil {
		t.Errorf("Close: %v", err)
	}
	(<-ask(t, nodes[1], c.sid, http.MethodGet, nil)).isUnknown(t, time.Second, time.Now())
}

func TestCloseWaitsForRequests(t *testing.T) {
	nodes := newCluster(t, setup{}, "a", "b")
	c := join(t, nodes[0], nodes[1])
	other := join(t, nodes[0], nodes[1])
	polled := ask(t, nodes[1], c.sid, http.MethodGet, nil)
	// The poll is under way once the owner has it; what is emitted then is its answer, and was not lost.
	closed := make(chan error, 1)
	until(t, "the poll is there", func() bool { return nodes[1].forward.Active() == 1 })
	go func() { closed <- nodes[1].forward.Close(context.Background()) }()
	until(t, "it is closing", nodes[1].forward.Closing)

	nodes[1].members.lose(nodes[0].self().ID) // the adapter closes: no matter
	sentElsewhere(t, nodes[1], other.sid)
	if status, _ := other.post(`42["echo",1]`); status != http.StatusOK {
		t.Errorf("POST while closing: %d", status)
	}
	select {
	case err := <-closed:
		t.Fatalf("Close returned %v before the poll had its answer", err)
	default:
	}
	if err := nodes[0].server.Emit(context.Background(), "late"); err != nil {
		t.Fatal(err)
	}
	if a := <-polled; a.status != http.StatusOK || a.body != `42["late"]` {
		t.Errorf("poll: %d %s %v", a.status, a.body, a.err)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	(<-ask(t, nodes[1], c.sid, http.MethodGet, nil)).isUnknown(t, time.Second, time.Now())
}

func TestCloseCutsWhenTimeIsUp(t *testing.T) {
	nodes := newCluster(t, setup{}, "a", "b")
	polled := ask(t, nodes[1], join(t, nodes[0], nodes[1]).sid, http.MethodGet, nil)
	until(t, "the poll is there", func() bool { return nodes[1].forward.Active() == 1 })
	w := join(t, nodes[0], nodes[1]).upgrade()
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(enough)
	if err := nodes[1].forward.Close(ctx); !errors.Is(err, enough) {
		t.Errorf("Close: %v, want the cause", err)
	}
	(<-polled).isUnknown(t, time.Second, time.Now())
	_ = w.fails()
}
