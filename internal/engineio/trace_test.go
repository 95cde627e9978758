package engineio

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// told is what a Trace was told, with durations of the fake clock.
type told struct {
	opened, upgraded, ponged []string
}

func (w *told) trace() Trace {
	note := func(list *[]string) func(string, time.Duration) {
		return func(transport string, d time.Duration) { *list = append(*list, transport+" "+d.String()) }
	}
	return Trace{Opened: note(&w.opened), Upgraded: note(&w.upgraded), Pong: note(&w.ponged)}
}

// A session's life in time: the wait for its admission, the change of its transport, the answers to its pings.
func TestTrace(t *testing.T) {
	var got told
	bubble(t, func(o *Options) { o.Trace = got.trace() }, func(w *world) {
		query, c := w.openPolling()
		ws := w.dial(strings.Replace(query, "transport=polling", "", 1))
		write(t, ws, "2probe")
		if got := read(t, ws); got != "3probe" {
			t.Fatalf("read %q", got)
		}
		time.Sleep(5 * ms)
		write(t, ws, "5")
		if got := read(t, ws); got != "2" {
			t.Fatalf("read %q, want a ping", got)
		}
		time.Sleep(7 * ms)
		for range 2 { // nobody asked for the second one
			write(t, ws, "3")
		}
		synctest.Wait()
		c.session.Close(ForcedClose, nil)
		_ = ws.Close()
	})
	want := told{[]string{"polling 0s"}, []string{"websocket 5ms"}, []string{"websocket 7ms"}}
	if !slices.Equal(got.opened, want.opened) || !slices.Equal(got.upgraded, want.upgraded) || !slices.Equal(got.ponged, want.ponged) {
		t.Errorf("told %+v, want %+v", got, want)
	}
}

// A session id with the tag of another node says what is wrong: the balancer.
func TestWrongNode(t *testing.T) {
	for tag, want := range map[string]map[string]uint64{
		"":   {"unknown_sid": 3},
		"n1": {"unknown_sid": 2, "wrong_node": 1},
	} {
		e := newEngine(t, func(o *Options) { o.RouteTag = tag })
		base := e.server(t).URL
		for _, sid := range []string{"unknown", "n1_unknown", "n2_unknown"} {
			if status, body, _ := do(t, "GET", base+"/engine.io/?EIO=4&transport=polling&sid="+sid, ""); status != 400 || !strings.Contains(body, "Session ID unknown") {
				t.Errorf("%s: %d %s", sid, status, body)
			}
		}
		for reason, n := range want {
			if got := e.Stats().Rejected; got[reason] != n || len(got) != len(want) {
				t.Errorf("tag %q: rejected %v, want %v", tag, got, want)
			}
		}
	}
}
