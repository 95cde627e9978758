package adaptertest

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/chorus/pkg/adapter"
)

// Recorder is an adapter.Recorder that keeps what is recorded. Create one with NewRecorder.
type Recorder struct {
	*Local
	mu      sync.Mutex
	begun   []adapter.Offset
	records []adapter.Record
	changed chan struct{}
}

var _ adapter.Recorder = (*Recorder)(nil)

// NewRecorder returns a Recorder with members in the given rooms.
func NewRecorder(rooms ...string) *Recorder {
	return &Recorder{Local: NewLocal(rooms...), changed: make(chan struct{})}
}

// Begin keeps the offset.
func (r *Recorder) Begin(at adapter.Offset) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun = append(r.begun, at)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Record keeps rec.
func (r *Recorder) Record(rec adapter.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, rec)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Records returns what was recorded so far.
func (r *Recorder) Records() []adapter.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.records)
}

// Begun returns the offsets of all calls of Begin.
func (r *Recorder) Begun() []adapter.Offset {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.begun)
}

// AwaitRecords waits until n messages were recorded and returns them all. It fails the test when they do not come.
func (r *Recorder) AwaitRecords(t *testing.T, n int) []adapter.Record {
	t.Helper()
	r.await(t, fmt.Sprintf("%d records", n), func() bool { return len(r.records) >= n })
	return r.Records()
}

// await waits for a condition, which is asked under the lock.
func (r *Recorder) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		r.mu.Lock()
		done, changed := ok(), r.changed
		n := len(r.records)
		r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("recorded %d messages within %v, want %s", n, patience, what)
		}
	}
}

// recorders joins a namespace with a Recorder on each adapter and waits until all have begun.
func recorders(t *testing.T, adapters []adapter.Adapter, namespace string) (list []*Recorder, links []adapter.Link) {
	t.Helper()
	for i, a := range adapters {
		r := NewRecorder()
		link, err := a.Join(t.Context(), namespace, r)
		if err != nil {
			t.Fatalf("Join(%s) on node %d: %v", namespace, i, err)
		}
		list, links = append(list, r), append(links, link)
	}
	for i, r := range list {
		AwaitReady(t, adapters[i])
		r.await(t, "a beginning", func() bool { return len(r.begun) > 0 })
	}
	return list, links
}

// keeper returns the first adapter as a Keeper, or skips the test.
func keeper(t *testing.T, adapters []adapter.Adapter) adapter.Keeper {
	t.Helper()
	k, ok := adapters[0].(adapter.Keeper)
	if !ok {
		t.Skip("the adapter keeps no sessions")
	}
	return k
}

// testRecords checks that all nodes record the same broadcasts in the same order, their own among them.
func testRecords(t *testing.T, adapters []adapter.Adapter) {
	k := keeper(t, adapters)
	const publishers, messages = 4, 100
	nodes, links := recorders(t, adapters, "/")
	others, otherLinks := recorders(t, adapters, "/other")
	var wg sync.WaitGroup
	for i, l := range links {
		for p := range publishers {
			wg.Go(func() {
				for m := range messages {
					message := Event(fmt.Sprintf("%d.%d %d", i, p, m), [][]string{nil, {"r"}, {"r", "other"}}[m%3]...)
					message.Flags.Volatile = m%10 == 9
					if err := l.Publish(context.Background(), message); err != nil {
						t.Errorf("Publish: %v", err)
					}
				}
				if err := otherLinks[i].Publish(context.Background(), Event("apart")); err != nil {
					t.Errorf("Publish: %v", err)
				}
			})
		}
	}
	wg.Wait()
	total := len(nodes) * publishers * messages
	first := nodes[0].AwaitRecords(t, total)
	for i, n := range nodes {
		records := n.AwaitRecords(t, total)
		next := map[string]int{}
		last := n.Begun()[0]
		for j, r := range records {
			text := texts(t, []*adapter.Message{r.Message})[0]
			publisher, number, _ := strings.Cut(text, " ")
			if number != fmt.Sprint(next[publisher]) {
				t.Fatalf("node %d recorded %q of publisher %s, want number %d", i, text, publisher, next[publisher])
			}
			next[publisher]++
			if own := strings.HasPrefix(publisher, fmt.Sprintf("%d.", i)); r.Own != own || r.Again {
				t.Fatalf("node %d recorded %q with Own %t, Again %t", i, text, r.Own, r.Again)
			}
			if r.Offset.Compare(last) <= 0 || r.Offset != first[j].Offset {
				t.Fatalf("node %d recorded %q at %v after %v, node 0 at %v", i, text, r.Offset, last, first[j].Offset)
			}
			last = r.Offset
		}
		if len(records) != total {
			t.Errorf("node %d recorded %d broadcasts, want %d", i, len(records), total)
		}
		others[i].AwaitRecords(t, len(nodes)*publishers)
		if got := len(n.Messages()); got != 0 {
			t.Errorf("node %d was delivered %d broadcasts besides", i, got)
		}
	}
	checkMissed(t, k, first, nodes[0].Begun()[0])
}

// checkMissed reads what was recorded from the Keeper, from some places on.
func checkMissed(t *testing.T, k adapter.Keeper, records []adapter.Record, begun adapter.Offset) {
	t.Helper()
	for _, start := range []int{-1, 0, len(records) / 2, len(records) - 2} {
		from := begun
		if start >= 0 {
			from = records[start].Offset
		}
		want := slices.DeleteFunc(slices.Clone(records[start+1:]), func(r adapter.Record) bool { return r.Message.Flags.Volatile })
		var got []adapter.Record
		for read := from; ; {
			page, err := k.Missed(t.Context(), "/", read)
			if err != nil {
				t.Fatalf("Missed(%v): %v", read, err)
			}
			got = append(got, page.Records...)
			if page.Read == read {
				break
			}
			read = page.Read
		}
		if len(got) != len(want) {
			t.Fatalf("missed after %v: %d broadcasts, want %d", from, len(got), len(want))
		}
		for i := range got {
			if got[i].Offset != want[i].Offset || string(got[i].Message.Packet.Data) != string(want[i].Message.Packet.Data) ||
				!slices.Equal(got[i].Message.Rooms, want[i].Message.Rooms) {
				t.Fatalf("missed number %d is %+v, want %+v", i, got[i], want[i])
			}
		}
	}
}

// testSessions checks that a session is given to one of those who ask, with its values. That it ends is not tested: brokers
// in memory may have a clock of their own.
func testSessions(t *testing.T, adapters []adapter.Adapter) {
	k := keeper(t, adapters)
	nodes, links := recorders(t, adapters, "/")
	if err := links[0].Publish(t.Context(), Event("one")); err != nil {
		t.Fatal(err)
	}
	at := nodes[0].AwaitRecords(t, 1)[0].Offset
	want := &adapter.Session{
		SID: "socket", PID: "private", Rooms: []string{"socket", "ü", ""},
		Data:        []byte(`{"name":"Ünn","n":[1,-2.5,null,true,{}],"bin":{"_placeholder":true,"num":0}}`),
		Attachments: [][]byte{{0, 255}},
	}
	if err := k.Save(t.Context(), want, time.Minute); err != nil {
		t.Fatalf("Save: %v", err)
	}
	var mu sync.Mutex
	var got []*adapter.Session
	var wg sync.WaitGroup
	for _, a := range adapters {
		for range 3 {
			wg.Go(func() {
				s, known, err := a.(adapter.Keeper).Take(context.Background(), "/", "private", at)
				if err != nil || !known {
					t.Errorf("Take: known %t, %v", known, err)
				}
				mu.Lock()
				defer mu.Unlock()
				if s != nil {
					got = append(got, s)
				}
			})
		}
	}
	wg.Wait()
	if len(got) != 1 {
		t.Fatalf("the session was given to %d, want one", len(got))
	}
	s := got[0]
	a, b := resolve(t, adapter.Packet{Data: s.Data, Attachments: s.Attachments}), resolve(t, adapter.Packet{Data: want.Data, Attachments: want.Attachments})
	if s.SID != want.SID || s.PID != want.PID || !slices.Equal(s.Rooms, want.Rooms) || !reflect.DeepEqual(a, b) {
		t.Errorf("session is %+v with %s, want %+v", s, s.Data, want)
	}

	for _, test := range []struct {
		what, namespace string
		at              adapter.Offset
	}{
		{"an offset that never was", "/", at.Next()},
		{"the offset of another namespace", "/other", at},
		{"the first offset", "/", adapter.Offset{}},
	} {
		s, known, err := k.Take(t.Context(), test.namespace, "nobody", test.at)
		if s != nil || known || err != nil {
			t.Errorf("Take with %s = %v, %t, %v", test.what, s, known, err)
		}
	}
	// Without values.
	if err := k.Save(t.Context(), &adapter.Session{SID: "s", PID: "empty"}, time.Minute); err != nil {
		t.Fatalf("Save: %v", err)
	}
	if s, _, err := k.Take(t.Context(), "/", "empty", at); err != nil || s == nil || !json.Valid(s.Data) {
		t.Errorf("Take of an empty session = %+v, %v", s, err)
	}
}
