package redisadapter

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/chorus/pkg/adapter"
)

// air carries announcements between memberships.
type air struct {
	mu       sync.Mutex
	nodes    map[string]*membership
	deaf     map[string]bool // hear nothing
	delay    time.Duration
	carrying sync.WaitGroup
	hearing  sync.Mutex // what a node hears comes one after the other
}

func (a *air) add(id string, s signature) *membership {
	o, _ := (&Options{Logger: slog.New(slog.DiscardHandler)}).withDefaults()
	m := newMembership(adapter.Node{ID: id}, s, &o, newCounters(), a.publish)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nodes[id] = m
	return m
}

func (a *air) publish(channel string, payload []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, m := range a.nodes {
		own := memberChannel(id)
		if !a.deaf[id] && (channel == membersChannel || channel == own) {
			h := heard{channel: channel, kind: kindMembership, payload: string(payload)}
			delay := a.delay
			a.carrying.Go(func() {
				time.Sleep(delay)
				a.hearing.Lock()
				defer a.hearing.Unlock()
				m.hear(h)
			})
		}
	}
}

func (a *air) silence(id string, on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deaf[id] = on
}

func ids(nodes []adapter.Node) (list []string) {
	for _, n := range nodes {
		list = append(list, n.ID)
	}
	slices.Sort(list)
	return list
}

// TestMembership lets nodes come, vanish, go and come back.
func TestMembership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		air := &air{nodes: map[string]*membership{}, deaf: map[string]bool{}}
		defer air.carrying.Wait()
		same := signature{Mode: "pubsub", Prefix: "p"}
		end := map[string]context.CancelFunc{}
		var running sync.WaitGroup
		defer running.Wait()
		start := func(id string, s signature) *membership {
			m := air.add(id, s)
			ctx, cancel := context.WithCancel(t.Context())
			end[id] = cancel
			running.Go(func() { m.run(ctx) })
			m.heardAgain()
			return m
		}
		expect := func(m *membership, want ...string) {
			t.Helper()
			if got := ids(m.members.Alive()); !slices.Equal(got, want) {
				t.Errorf("%s knows %q, want %q", m.node.ID, got, want)
			}
		}
		a := start("a", same)
		var lost []string
		var goodbyes []bool
		air.hearing.Lock()
		a.left = func(id string, goodbye bool) { lost, goodbyes = append(lost, id), append(goodbyes, goodbye) }
		air.hearing.Unlock()
		b := start("b", same)
		c := start("c", same)
		stranger := start("d", signature{Mode: "streams", Prefix: "p", Streams: 3})
		synctest.Wait() // the hello is answered at once
		for _, m := range []*membership{a, b, c} {
			if m.members.Len() != 2 {
				t.Errorf("%s knows %q at once, want two others", m.node.ID, ids(m.members.Alive()))
			}
		}
		expect(stranger)
		time.Sleep(10 * time.Second)
		expect(a, "b", "c")
		for _, m := range []*membership{a, stranger} {
			if n := m.counts.strangers.Load(); n == 0 || n > 3 {
				t.Errorf("%s counts %d strangers", m.node.ID, n)
			}
		}

		time.Sleep(500 * time.Millisecond) // not at a heartbeat, which the air may carry behind what follows
		b.drain()
		b.drain() // once more: no matter
		synctest.Wait()
		draining := func() (names []string) {
			for _, n := range a.members.Alive() {
				if n.Draining {
					names = append(names, n.ID)
				}
			}
			return names
		}
		if got := draining(); !slices.Equal(got, []string{"b"}) || !b.self().Draining {
			t.Errorf("%q drain, want b", got)
		}
		time.Sleep(3 * time.Second) // with its signs of life too
		if got := draining(); !slices.Equal(got, []string{"b"}) {
			t.Errorf("%q drain after a while, want b", got)
		}
		end["b"]() // vanishes
		time.Sleep(5 * time.Second)
		expect(a, "c")
		c.goodbye()
		c.announce(membersChannel, announceAlive, 99) // too late to say
		synctest.Wait()
		expect(a)
		air.hearing.Lock()
		if !slices.Equal(lost, []string{"b", "c"}) || !slices.Equal(goodbyes, []bool{false, true}) {
			t.Errorf("lost %q with goodbye %v, want b without and c with", lost, goodbyes)
		}

		air.hearing.Unlock()
		e := start("e", same)
		synctest.Wait()
		expect(a, "e")
		air.silence("a", true) // hears nobody, and not itself: nobody is blamed
		time.Sleep(10 * time.Second)
		expect(a, "e")
		air.silence("a", false)
		a.heardAgain()
		time.Sleep(10 * time.Second)
		expect(a, "e")
		expect(e, "a")
		air.mu.Lock()
		air.delay = 2500 * time.Millisecond // everything is read late
		air.mu.Unlock()
		time.Sleep(20 * time.Second)
		expect(a, "e")
		for _, cancel := range end {
			cancel()
		}
	})
}

// TestAnnouncement pins the form, which nodes of different versions share.
// The logger of a program may carry the program's own name as "node": others must not stand under the same key.
func TestMembershipLog(t *testing.T) {
	var log bytes.Buffer
	o, _ := (&Options{Logger: slog.New(slog.NewJSONHandler(&log, nil)).With("node", "one")}).withDefaults()
	m := newMembership(adapter.Node{ID: "one"}, signature{Mode: "pubsub"}, &o, newCounters(), func(string, []byte) {})
	say := func(kind, mode string) {
		payload, err := json.Marshal(announcement{Type: kind, Node: adapter.Node{ID: "2", Name: "two"}, signature: signature{Mode: mode}})
		if err != nil {
			t.Fatal(err)
		}
		m.hear(heard{kind: kindMembership, payload: string(payload)})
	}
	say(announceAlive, "pubsub")
	say(announceBye, "pubsub")
	say(announceAlive, "streams")
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines of log, want 3:\n%s", len(lines), &log)
	}
	for _, line := range lines {
		if strings.Count(line, `"node":"one"`) != 1 || strings.Count(line, `"node"`) != 1 || !strings.Contains(line, `"peer":"two"`) {
			t.Errorf("log %s, want the node one and the peer two", line)
		}
	}
}

func TestAnnouncement(t *testing.T) {
	want := announcement{
		Type: announceAlive, Number: 7, signature: signature{Mode: "streams", Prefix: "p", Streams: 2},
		Node: adapter.Node{ID: "abcdef", Name: "one", Tag: "t", Address: "10.0.0.1:80"},
	}
	const text = `{"type":"alive","node":{"uid":"abcdef","name":"one","tag":"t","address":"10.0.0.1:80"},"mode":"streams","prefix":"p","streams":2,"number":7}`
	if b, err := json.Marshal(want); err != nil || string(b) != text {
		t.Errorf("announcement is %s, %v, want %s", b, err, text)
	}
	want.Node.Draining = true
	if b, err := json.Marshal(want); err != nil || !strings.Contains(string(b), `"address":"10.0.0.1:80","draining":true}`) {
		t.Errorf("announcement of a node that drains is %s, %v", b, err)
	}
	want.Node.Draining = false
	if got, err := decodeAnnouncement(text); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("decodeAnnouncement = %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "{}", `{"type":"alive"}`, `{"type":"x","node":{"uid":"a"}}`, `{"type":"alive","node":{"uid":"` + strings.Repeat("x", announcementBytes) + `"}}`} {
		if a, err := decodeAnnouncement(bad); err == nil {
			t.Errorf("decodeAnnouncement(%.40q) = %+v, want an error", bad, a)
		}
	}
}

// TestMembersBounded: announcements of invented nodes fill no memory.
func TestMembersBounded(t *testing.T) {
	air := &air{nodes: map[string]*membership{}, deaf: map[string]bool{}}
	m := air.add("a", signature{})
	for i := range maxMembers + 100 {
		b, _ := json.Marshal(announcement{Type: announceAlive, Node: adapter.Node{ID: "n" + string(rune(0x4e00+i))}})
		m.hear(heard{payload: string(b), kind: kindMembership})
		b, _ = json.Marshal(announcement{Type: announceAlive, Node: adapter.Node{ID: "s" + string(rune(0x4e00+i))}, signature: signature{Mode: "other"}})
		m.hear(heard{payload: string(b), kind: kindMembership})
	}
	if n := m.members.Len(); n != maxMembers {
		t.Errorf("%d members, want %d", n, maxMembers)
	}
	if n := m.counts.received[kindMembership][resultMalformed].Load(); n != 100 {
		t.Errorf("%d announcements are refused, want 100", n)
	}
	if n := len(m.strangers); n > maxStrangers {
		t.Errorf("%d strangers are remembered, want at most %d", n, maxStrangers)
	}
}
