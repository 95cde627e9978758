package redisadapter

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"example.com/chorus/internal/cluster"
	"example.com/chorus/pkg/adapter"
)

// membersChannel is where nodes tell that they live. It depends on no option, so that nodes which were configured
// apart by mistake find out.
const membersChannel = "socket.io-members#"

const (
	maxMembers        = 4096     // other nodes that are believed to exist
	maxStrangers      = 1024     // that are remembered, so that each is named once
	announcementBytes = 16 << 10 // a longer message is not read
)

// signature is what nodes must have in common to hear each other.
type signature struct {
	Mode    string `json:"mode"` // pubsub, sharded or streams
	Prefix  string `json:"prefix"`
	Streams int    `json:"streams,omitempty"` // how many, where the mode has streams
}

// String names the signature as operators configure it.
func (s signature) String() string {
	text := fmt.Sprintf("mode %s, prefix %q", s.Mode, s.Prefix)
	if s.Streams > 0 {
		text += fmt.Sprintf(", %d streams", s.Streams)
	}
	return text
}

// announcement is what nodes publish about themselves.
type announcement struct {
	Type string       `json:"type"`
	Node adapter.Node `json:"node"`
	signature
	Number uint64 `json:"number,omitempty"` // counts the signs of life of a node
}

// The types of announcements.
const (
	announceHello = "hello" // a node came, or hears again after a gap: everyone answers at once, to that node alone
	announceAlive = "alive" // each second
	announceBye   = "bye"   // a node leaves in order
)

// membership knows the other nodes by their signs of life. Its run is one goroutine; what is heard is judged on the
// goroutine of the subscriber, so that changes come one after the other.
type membership struct {
	signature signature
	interval  time.Duration
	lapse     time.Duration
	members   *cluster.Members
	log       *slog.Logger
	counts    *counters
	publish   func(channel string, payload []byte)
	left      func(id string, goodbye bool) // what hears of each node that is gone
	complain  rate.Sometimes                // logs malformed announcements

	mu        sync.Mutex
	node      adapter.Node // only Draining ever changes
	number    uint64       // of the newest own sign of life
	sent      time.Time
	departed  bool                // said goodbye: a later sign would call this node back to life
	strangers map[string]struct{} // ids of nodes with another signature
	observers []func([]adapter.Node)
	changed   chan struct{} // closed at the next change of the members
}

func newMembership(node adapter.Node, s signature, o *Options, c *counters, publish func(string, []byte)) *membership {
	return &membership{
		node: node, signature: s, interval: o.HeartbeatInterval, lapse: o.HeartbeatLapse,
		members: cluster.NewMembers(o.HeartbeatLapse), log: o.Logger, counts: c, publish: publish,
		left:      func(string, bool) {},
		complain:  rate.Sometimes{First: 1, Interval: time.Second},
		strangers: map[string]struct{}{},
		changed:   make(chan struct{}),
	}
}

// interests are the channels of a membership: that of all nodes, and the node's own.
func (m *membership) interests() []interest {
	return []interest{
		{channel: membersChannel, kind: kindMembership},
		{channel: memberChannel(m.node.ID), kind: kindMembership},
	}
}

// memberChannel is where one node is told something. That it has a subscriber tells that the node's connection exists.
func memberChannel(id string) string { return membersChannel + id + "#" }

func (m *membership) wants(channelKind, string) bool { return true }

// run publishes signs of life until ctx ends.
func (m *membership) run(ctx context.Context) {
	beat := time.NewTicker(m.interval)
	defer beat.Stop()
	for {
		select {
		case <-beat.C:
			m.mu.Lock()
			m.number++
			m.sent = time.Now()
			number := m.number
			m.mu.Unlock()
			m.announce(membersChannel, announceAlive, number)
		case <-ctx.Done():
			return
		}
	}
}

// heardAgain begins a time in which others can be heard: none is lost for what was missed before.
func (m *membership) heardAgain() {
	m.members.Pardon()
	m.hello()
}

// hello asks all nodes to say who they are.
func (m *membership) hello() { m.announce(membersChannel, announceHello, 0) }

// drain tells the others at once, and with every sign of life from now on, that this node takes no new clients.
func (m *membership) drain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.node.Draining || m.departed {
		return
	}
	m.node.Draining = true
	m.sayLocked(membersChannel, announceAlive, m.number)
}

// self is how the others know this node.
func (m *membership) self() adapter.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.node
}

// goodbye tells the others not to wait.
func (m *membership) goodbye() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.departed {
		m.sayLocked(membersChannel, announceBye, 0)
	}
	m.departed = true
}

func (m *membership) announce(channel, kind string, number uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.departed {
		m.sayLocked(channel, kind, number)
	}
}

// sayLocked queues an announcement, which does not wait.
func (m *membership) sayLocked(channel, kind string, number uint64) {
	payload, err := json.Marshal(announcement{Type: kind, Node: m.node, signature: m.signature, Number: number})
	if err != nil { // of strings and numbers: cannot happen
		m.log.Error("redisadapter: announcement", slog.Any("error", err))
		return
	}
	m.publish(channel, payload)
}

// hear takes an announcement.
func (m *membership) hear(h heard) {
	a, err := decodeAnnouncement(h.payload)
	if err == nil && a.signature == m.signature && a.Type != announceBye && m.members.Len() >= maxMembers && !m.members.Has(a.Node.ID) {
		err = fmt.Errorf("%w: more than %d nodes", errMalformed, maxMembers)
	}
	switch {
	case err != nil:
		m.counts.received[kindMembership][resultMalformed].Add(1)
		m.complain.Do(func() {
			m.log.Warn("redisadapter: received a malformed announcement", slog.Int("bytes", len(h.payload)), slog.Any("error", err))
		})
	case a.Node.ID == m.node.ID:
		m.counts.received[kindMembership][resultOwn].Add(1)
		if a.Type == announceAlive {
			m.expire(a.Number)
		}
	case a.signature != m.signature:
		m.counts.received[kindMembership][resultNoMatch].Add(1)
		m.stranger(a)
	default:
		m.counts.received[kindMembership][resultDelivered].Add(1)
		m.update(a)
	}
}

// decodeAnnouncement reads what a node tells about itself.
func decodeAnnouncement(payload string) (announcement, error) {
	var a announcement
	if len(payload) > announcementBytes {
		return a, fmt.Errorf("%w: announcement of %d bytes", errMalformed, len(payload))
	}
	if err := json.Unmarshal([]byte(payload), &a); err != nil {
		return a, malformed(err)
	}
	if a.Node.ID == "" {
		return a, fmt.Errorf("%w: node without id", errMalformed)
	}
	switch a.Type {
	case announceHello, announceAlive, announceBye:
		return a, nil
	}
	return a, fmt.Errorf("%w: announcement %.32q", errMalformed, a.Type)
}

// update notes what another node of this cluster told.
func (m *membership) update(a announcement) {
	if a.Type == announceBye {
		if m.members.Goodbye(a.Node.ID) {
			m.left(a.Node.ID, true)
			m.log.Info("redisadapter: node left", slog.String("peer", a.Node.String()))
			m.tell()
		}
		return
	}
	known := m.members.Has(a.Node.ID)
	if m.members.Heard(a.Node) {
		if !known {
			m.log.Info("redisadapter: node joined", slog.String("peer", a.Node.String()))
			if a.Node.Tag != "" && a.Node.Tag == m.node.Tag {
				m.log.Error("redisadapter: another node has the same tag, so sessions cannot be told apart",
					slog.String("peer", a.Node.String()), slog.String("tag", a.Node.Tag))
			}
		}
		m.tell()
	}
	if a.Type == announceHello {
		m.announce(memberChannel(a.Node.ID), announceAlive, 0)
	}
}

// expire is called when the own sign of life came back, which proves that those of others could come too. One that
// came late tells that this node reads late: then nobody is blamed.
func (m *membership) expire(number uint64) {
	m.mu.Lock()
	late := number != m.number || time.Since(m.sent) > m.lapse/2
	m.mu.Unlock()
	if late {
		m.members.Pardon()
		return
	}
	lost := m.members.Expire()
	for _, n := range lost {
		m.log.Warn("redisadapter: node lost", slog.String("peer", n.String()), slog.Duration("silent_for", m.lapse))
		m.left(n.ID, false)
	}
	if len(lost) > 0 {
		m.tell()
	}
}

// stranger names a node that can never hear this one.
func (m *membership) stranger(a announcement) {
	if a.Type == announceBye {
		return
	}
	m.mu.Lock()
	_, known := m.strangers[a.Node.ID]
	if !known {
		if len(m.strangers) >= maxStrangers {
			clear(m.strangers)
		}
		m.strangers[a.Node.ID] = struct{}{}
	}
	m.mu.Unlock()
	if known {
		return
	}
	m.counts.strangers.Add(1)
	m.log.Error("redisadapter: a node on the same Redis is configured differently, so neither hears the other",
		slog.String("peer", a.Node.String()), slog.String("theirs", a.signature.String()), slog.String("ours", m.signature.String()))
	if a.Type == announceHello { // it shall be as loud
		m.announce(memberChannel(a.Node.ID), announceAlive, 0)
	}
}

func (m *membership) tell() {
	m.mu.Lock()
	observers := m.observers
	close(m.changed)
	m.changed = make(chan struct{})
	m.mu.Unlock()
	if len(observers) == 0 {
		return
	}
	nodes := m.members.Alive()
	for _, f := range observers {
		f(nodes)
	}
}

// nextChange returns what is closed at the next change of the members.
func (m *membership) nextChange() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// observe adds a function that is called after each change.
func (m *membership) observe(f func([]adapter.Node)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.observers = append(slices.Clip(m.observers), f)
}
