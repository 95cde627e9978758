package socketio

import (
	"container/list"
	"context"
	"fmt"
	"time"
)

// session is what a client gets back when it comes again.
type session struct {
	pid, sid string
	rooms    []string // without the own id
	data     map[string]any
	expires  time.Time
	place    *list.Element // in keptSessions.expiring
	taken    bool          // by a client that is not in the namespace yet
}

// keptSessions are the sessions of one namespace on a node that is alone. recovery.mu guards them.
type keptSessions struct {
	max      int
	byPID    map[string]*session
	expiring list.List // of *session, in the order of their end; those that were taken keep their place until entry
	timer    *time.Timer
}

func (k *keptSessions) add(s *session) {
	s.place = k.expiring.PushBack(s)
	k.byPID[s.pid] = s
}

// take gives a session to a client that comes back; giveBack or done must follow.
func (k *keptSessions) take(s *session) {
	delete(k.byPID, s.pid)
	s.taken = true
}

func (k *keptSessions) giveBack(s *session) {
	s.taken = false
	k.byPID[s.pid] = s
}

func (k *keptSessions) done(s *session) {
	if s.place != nil {
		k.expiring.Remove(s.place)
	}
}

// sweep forgets what expired, and has again called at the next end.
func (k *keptSessions) sweep(again func()) (expired []*session) {
	now := time.Now()
	k.stop()
	var next *list.Element
	for e := k.expiring.Front(); e != nil; e = next {
		next = e.Next()
		oldest := e.Value.(*session)
		switch due := oldest.expires.Sub(now); {
		case oldest.taken:
			continue
		case due > 0 && len(k.byPID) <= k.max:
			k.timer = time.AfterFunc(due, again)
			return expired
		}
		k.expiring.Remove(e)
		delete(k.byPID, oldest.pid)
		expired = append(expired, oldest)
	}
	return expired
}

func (k *keptSessions) stop() {
	if k.timer != nil {
		k.timer.Stop()
	}
}

// report tells the handlers of sessions that nobody came back to.
func (r *recovery) report(expired []*session) {
	handlers := r.nsp.routes().expired
	if len(handlers) == 0 || len(expired) == 0 {
		return
	}
	r.nsp.server.workers.start(func() {
		for _, e := range expired {
			for _, h := range handlers {
				err := guard(func() error {
					h(context.Background(), ExpiredSession{ID: e.sid, Rooms: e.rooms, Data: e.data})
					return nil
				})
				if err != nil {
					r.nsp.server.report("OnSessionExpired", fmt.Errorf("namespace %q: %w", r.nsp.name, err))
				}
			}
		}
	})
}
