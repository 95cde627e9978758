package redisadapter

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"
)

// errDeaf ends a connection that answers pings and hears nothing.
var errDeaf = errors.New("the connection is deaf: messages to the own channel do not come back")

const (
	probeMark = "probe "
	// probesMissed is how many messages to the own channel a connection may miss. In a cluster of Redis a message may
	// come after the answer to a ping that was sent later.
	probesMissed = 2
)

// probe finds connections that live but hear nothing, such as one whose subscriptions got lost in a proxy, or one to
// a server that is no master any more: a ping proves only the connection. Each second a numbered message is published
// to a channel of the node's own. When Redis has taken number n, a ping says so on the listening connection, and behind
// its answer nothing up to n can come. So slow reading is never taken for deafness, and no clock is needed.
type probe struct {
	interest interest
	// publish queues a payload without waiting; done hears whether Redis took it.
	publish func(payload string, done func(err error))

	mu    sync.Mutex
	sent  uint64
	taken uint64 // by Redis
	heard uint64
	when  time.Time // of heard
}

func newProbe(i interest, publish func(payload string, done func(error))) *probe {
	i.kind = kindMembership
	return &probe{interest: i, publish: publish}
}

func (p *probe) wants(channelKind, string) bool { return true }

// hear notes a number that came back. Another's message can at most put off the verdict.
func (p *probe) hear(h heard) {
	n, err := strconv.ParseUint(h.payload, 10, 64)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && n > p.heard && n <= p.sent {
		p.heard, p.when = n, time.Now()
	}
}

// restart begins a connection, which hears nothing of what was published before.
func (p *probe) restart() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard, p.when = p.sent, time.Now()
}

// send publishes the next number.
func (p *probe) send() {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.sent++
	n := p.sent
	p.mu.Unlock()
	p.publish(strconv.FormatUint(n, 10), func(err error) {
		if err != nil {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.taken = max(p.taken, n)
	})
}

// mark returns what the ping says that is sent now.
func (p *probe) mark() string {
	if p == nil {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return probeMark + strconv.FormatUint(p.taken, 10)
}

// deaf judges the connection by the answer to a ping.
func (p *probe) deaf(pong string) bool {
	number, ok := strings.CutPrefix(pong, probeMark)
	if p == nil || !ok {
		return false
	}
	n, err := strconv.ParseUint(number, 10, 64)
	p.mu.Lock()
	defer p.mu.Unlock()
	return err == nil && n >= p.heard+probesMissed
}

// last returns when the connection was last known to hear.
func (p *probe) last() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.when
}
