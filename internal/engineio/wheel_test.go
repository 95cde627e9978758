package engineio

import (
	"testing"
	"testing/synctest"
	"time"
)

// rolling is an engine with a wheel of coarse ticks and sessions that have only moments.
func rolling(t *testing.T, interval, timeout time.Duration, n int) (*wheel, []*Session) {
	e := newEngine(t, func(o *Options) { o.PingInterval, o.PingTimeout = interval, timeout })
	var sessions []*Session
	for range n {
		s := &Session{engine: e.Engine, stripe: &e.stripes[0], protocol: 4}
		s.outbox.Init(&e.options.Outbox, &s.stripe.drops)
		s.beat.started = true
		sessions = append(sessions, s)
	}
	return &e.wheel, sessions
}

// pingIn makes a session's next ping due after some time.
func (s *Session) pingIn(after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beat.pingAt = s.engine.now() + after
	s.armLocked()
}

func (s *Session) pinged() bool {
	_, n := s.outbox.Len()
	return n > 0
}

// Whatever is due is done within a tick, also what is due later than the wheel reaches, or was put forward.
func TestWheelIsLateByATickAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, sessions := rolling(t, 25*time.Second, 20*time.Second, 300)
		if w.tick != coarsest {
			t.Fatalf("tick %v", w.tick)
		}
		due := make(map[*Session]time.Duration)
		for i, s := range sessions {
			due[s] = time.Duration(i) * 1337 * time.Millisecond // up to 400 s, four turns
			if i%3 == 0 {
				s.pingIn(due[s] + time.Minute) // put forward by what follows
			}
			s.pingIn(due[s])
		}
		began := time.Now()
		for len(due) > 0 {
			time.Sleep(time.Millisecond * 50)
			synctest.Wait()
			passed := time.Since(began)
			for s, at := range due {
				switch pinged := s.pinged(); {
				case pinged && passed < at:
					t.Fatalf("ping after %v, due after %v", passed, at)
				case !pinged && passed > at+w.tick:
					t.Fatalf("no ping after %v, due after %v", passed, at)
				case pinged:
					w.forget(s)
					delete(due, s)
				}
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.turning || w.count != 0 {
			t.Errorf("an empty wheel turns: %d sessions", w.count)
		}
	})
}

// A session whose moment is put off is looked at once more, not moved.
func TestPuttingOffMovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, sessions := rolling(t, 25*time.Second, 20*time.Second, 1)
		s := sessions[0]
		place := func() int64 {
			w.mu.Lock()
			defer w.mu.Unlock()
			return s.spoke.at
		}
		s.pingIn(10 * time.Second)
		at := place()
		s.pingIn(20 * time.Second)
		if now := place(); now != at {
			t.Errorf("moved from %d to %d", at, now)
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if now := place(); s.pinged() || now == at {
			t.Errorf("pinged %v, at %d", s.pinged(), now)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if !s.pinged() {
			t.Error("no ping")
		}
		w.forget(s)
	})
}
