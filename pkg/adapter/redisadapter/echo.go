package redisadapter

import (
	"sync"
	"time"

	"example.com/chorus/pkg/adapter"
)

// echoes are the broadcasts of this node that went out and have not come back, of a namespace whose sessions are kept.
// A broadcast is delivered when it comes back, at its place in the one order. One that does not come for patience is
// delivered without a place, and all before it too: the order of one sender is kept. From then on nothing is waited for,
// until something comes back again.
type echoes struct {
	patience time.Duration
	limit    int // of those that wait; the oldest are delivered when there are more
	// impatient is called, without waiting, when some must be delivered: due returns them.
	impatient func()

	mu      sync.Mutex
	last    uint64 // number of the newest
	waiting map[uint64]*echo
	entries map[uint64]*echo // by the number of the entry: those that wait and are on their way
	order   []*echo          // from oldest to newest; those that are no longer waiting are skipped
	upTo    uint64           // those up to this number are to be delivered now
	timer   *time.Timer
	cut     bool // nothing has come back since one was waited for in vain
	closed  bool
}

type echo struct {
	number  uint64 // in the order of the senders
	entry   uint64 // 0 until it is on its way
	message *adapter.Message
	sent    time.Time
}

func newEchoes(patience time.Duration, limit int, impatient func()) *echoes {
	return &echoes{patience: patience, limit: limit, impatient: impatient, waiting: map[uint64]*echo{}, entries: map[uint64]*echo{}}
}

// expect notes a message that is to go out.
func (e *echoes) expect(m *adapter.Message) *echo {
	e.mu.Lock()
	e.last++
	n := &echo{number: e.last, message: m, sent: time.Now()}
	e.waiting[n.number] = n
	e.order = append(e.order, n)
	overdue := true
	switch {
	case e.cut:
		e.upTo = n.number
	case len(e.waiting) > e.limit:
		e.upTo = max(e.upTo, e.oldestLocked().number)
	default:
		overdue = false
		e.armLocked()
	}
	e.mu.Unlock()
	if overdue {
		e.impatient()
	}
	return n
}

// launch notes that a message is on its way, as the entry of this number, and returns the number.
func (e *echoes) launch(n *echo, entry uint64) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.waiting[n.number] != nil {
		n.entry = entry
		e.entries[entry] = n
	}
	return entry
}

// removeLocked ends the wait for a message.
func (e *echoes) removeLocked(n *echo) {
	delete(e.waiting, n.number)
	delete(e.entries, n.entry)
}

// giveUp has a message delivered that will not come back, or not soon, and all before it.
func (e *echoes) giveUp(n *echo) {
	e.mu.Lock()
	waits := e.waiting[n.number] != nil
	if waits {
		e.upTo = max(e.upTo, n.number)
	}
	e.mu.Unlock()
	if waits {
		e.impatient()
	}
}

// came returns the message that came back as the entry of this number; nil if it was delivered already.
func (e *echoes) came(entry uint64) *adapter.Message {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cut = false
	n := e.entries[entry]
	if n == nil {
		return nil
	}
	e.removeLocked(n)
	e.armLocked()
	return n.message
}

// due returns the messages that must be delivered without a place, oldest first.
func (e *echoes) due() (messages []*adapter.Message) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for n := e.oldestLocked(); n != nil && n.number <= e.upTo; n = e.oldestLocked() {
		e.removeLocked(n)
		messages = append(messages, n.message)
	}
	e.armLocked()
	return messages
}

// oldestLocked returns the oldest that waits, or nil.
func (e *echoes) oldestLocked() *echo {
	for len(e.order) > 0 {
		if n := e.order[0]; e.waiting[n.number] != nil {
			return n
		}
		e.order[0] = nil
		e.order = e.order[1:]
	}
	e.order = nil
	return nil
}

// armLocked sets the timer for the oldest.
func (e *echoes) armLocked() {
	n := e.oldestLocked()
	switch {
	case n == nil || e.closed:
		return // the timer finds nothing
	case e.timer == nil:
		e.timer = time.AfterFunc(e.patience, e.expire)
	}
}

// expire is called by the timer, and looks when it must be called again.
func (e *echoes) expire() {
	e.mu.Lock()
	e.timer = nil
	n := e.oldestLocked()
	if n == nil || e.closed {
		e.mu.Unlock()
		return
	}
	now := time.Now()
	overdue := now.Sub(n.sent) >= e.patience
	if overdue {
		e.cut = true
		for _, n := range e.order {
			if now.Sub(n.sent) < e.patience {
				break
			}
			e.upTo = max(e.upTo, n.number)
		}
	} else {
		e.timer = time.AfterFunc(e.patience-now.Sub(n.sent), e.expire)
	}
	e.mu.Unlock()
	if overdue {
		e.impatient()
	}
}

// close ends the timer. All that still wait can be taken with due.
func (e *echoes) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.upTo = e.last
	if e.timer != nil {
		e.timer.Stop()
	}
}
