package engineio

import (
	"sync"
	"time"
)

const (
	spokes      = 1024                   // what is due later than a turn of the wheel is looked at once a turn
	coarsest    = 200 * time.Millisecond // what is due within a tick is done together
	finest      = time.Millisecond
	tickShare   = 100 // of the heartbeat's times
	firstMoment = 1   // of the engine's clock, in ns: there begins the first tick
	batchVisits = 256 // sessions whose pings leave together
)

// wheel looks at sessions when something of theirs becomes due: in place of a timer each, which would cost more and
// fire alone. It is late by a tick at most. Nothing moves when a moment is put off, as each pong does: a session that is
// looked at too early is put further on.
type wheel struct {
	engine *Engine
	tick   time.Duration

	mu      sync.Mutex
	buckets [spokes]*Session
	count   int
	done    int64 // ticks since the engine's start that were looked at
	turning bool  // timer is set, or turn is under way
	timer   *time.Timer
	due     []*Session // of turn
}

// spoke is a session's place in its wheel: a list for each tick.
type spoke struct {
	prev, next *Session
	at         int64 // tick; 0: in none
}

func (w *wheel) init(e *Engine) {
	w.engine = e
	w.tick = min(max(min(e.options.PingInterval, e.options.PingTimeout)/tickShare, finest), coarsest)
}

// visit makes sure that s is looked at when the moment at has come, or before.
func (w *wheel) visit(s *Session, at time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.turning {
		w.done = int64((w.engine.now() - firstMoment) / w.tick)
	}
	tick := int64((at - firstMoment + w.tick - 1) / w.tick)
	tick = min(max(tick, w.done+1), w.done+spokes-1)
	if s.spoke.at != 0 {
		if s.spoke.at <= tick {
			return
		}
		w.removeLocked(s)
	}
	head := &w.buckets[tick%spokes]
	s.spoke = spoke{next: *head, at: tick}
	if *head != nil {
		(*head).spoke.prev = s
	}
	*head = s
	w.count++
	if !w.turning {
		w.turning = true
		w.setLocked()
	}
}

// forget takes s out of the wheel.
func (w *wheel) forget(s *Session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.spoke.at != 0 {
		w.removeLocked(s)
	}
}

func (w *wheel) removeLocked(s *Session) {
	p := &s.spoke
	if p.prev != nil {
		p.prev.spoke.next = p.next
	} else {
		w.buckets[p.at%spokes] = p.next
	}
	if p.next != nil {
		p.next.spoke.prev = p.prev
	}
	*p = spoke{}
	w.count--
}

// setLocked sets the timer to the end of the next tick.
func (w *wheel) setLocked() {
	wait := firstMoment + time.Duration(w.done+1)*w.tick - w.engine.now()
	if w.timer == nil {
		w.timer = time.AfterFunc(wait, w.turn)
		return
	}
	w.timer.Reset(wait)
}

// turn looks at the sessions of the ticks that have passed. It is called once at a time, and not again when the wheel
// is empty.
func (w *wheel) turn() {
	w.mu.Lock()
	now := int64((w.engine.now() - firstMoment) / w.tick)
	w.done = max(w.done, now-spokes) // nobody ran for so long: each is looked at once
	for w.done < now {
		w.done++
		for s := w.buckets[w.done%spokes]; s != nil; s = w.buckets[w.done%spokes] {
			w.removeLocked(s)
			w.due = append(w.due, s)
		}
	}
	w.mu.Unlock()
	for due := w.due; len(due) > 0; {
		n := min(len(due), batchVisits)
		w.engine.loop.Batch(func() {
			for _, s := range due[:n] {
				s.tick()
			}
		})
		due = due[n:]
	}
	clear(w.due)
	w.due = w.due[:0]
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.turning = w.count > 0; w.turning {
		w.setLocked()
	}
}
