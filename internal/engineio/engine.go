package engineio

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.com/chorus/internal/histogram"
	"example.com/chorus/internal/netloop"
)

// smallTable is the number of sessions whose table is not worth making smaller.
const smallTable = 1024

// linger is how long a client that was told to go may take to hang up.
const linger = 2 * time.Second

// Engine is an http.Handler for everything below its path.
type Engine struct {
	options  Options
	upgrader upgrader
	squeezer squeezer
	loop     *netloop.Loop
	start    time.Time
	wheel    wheel
	stripes  []stripe // of sessions, by turns
	next     atomic.Uint32
	totals   totals

	live sync.WaitGroup // sessions, and goroutines that work for them

	mu       sync.Mutex
	sessions map[string]*Session // nil under an id that is reserved
	most     int                 // how many sessions there were since the table was made
	closing  bool                // nothing may be added to live
}

var _ http.Handler = (*Engine)(nil)

// New makes an engine. Close must be called to end its goroutines.
func New(o Options) (*Engine, error) {
	o.setDefaults()
	loop, err := netloop.New(netloop.Options{WriteTimeout: o.WriteTimeout, Linger: linger, Mode: o.NetLoop})
	if err != nil {
		return nil, fmt.Errorf("engineio: %w", err)
	}
	e := &Engine{
		options:  o,
		loop:     loop,
		start:    time.Now(),
		stripes:  make([]stripe, runtime.GOMAXPROCS(0)),
		sessions: make(map[string]*Session),
	}
	for i := range e.stripes {
		e.stripes[i].messagesIn = histogram.New(netloop.PacketSizes)
	}
	e.wheel.init(e)
	e.upgrader.init(e)
	e.totals.init()
	return e, nil
}

// NetLoop returns how plain TCP connections are served, see netloop.Loop.Form.
func (e *Engine) NetLoop() string { return e.loop.Form() }

// Hanging names the loops that serve connections and do not, see netloop.Loop.Hanging.
func (e *Engine) Hanging(limit time.Duration) []string { return e.loop.Hanging(limit) }

// ServeHTTP answers handshakes, polls, posts and upgrades.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, e.options.Path) {
		http.NotFound(w, r)
		return
	}
	came := time.Now()
	q, s, no := e.verify(r)
	if no != nil {
		e.refuse(w, r, q, no)
		return
	}
	switch {
	case s == nil && q.upgrade:
		e.openWebSocket(w, r, q, came)
	case s == nil:
		e.openPolling(w, r, q, came)
	case q.upgrade:
		s.serveUpgrade(w, r, q)
	case r.Method == http.MethodGet:
		s.servePoll(w, r, q)
	case r.Method == http.MethodPost:
		s.servePost(w, r, q)
	default:
		e.totals.rejected("bad_method")
		e.answer(w, r, http.StatusInternalServerError, nil)
	}
}

// Close closes every session with reason, waits until what they had queued left or ctx ended, and ends all
// goroutines of the engine. Handshakes are refused from the beginning. A polling client that is between two
// requests has 2 seconds to fetch what waits for it.
func (e *Engine) Close(ctx context.Context, reason Reason) error {
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		return errors.New("engineio: close: engine is closed")
	}
	e.closing = true
	e.mu.Unlock()
	open := e.Sessions()
	for _, s := range open {
		s.shutdown(reason)
	}

	gone := make(chan struct{})
	go func() {
		e.live.Wait()
		close(gone)
	}()
	var err error
	select {
	case <-gone:
	case <-ctx.Done():
		err = fmt.Errorf("engineio: close: %w", context.Cause(ctx))
		for _, s := range open {
			s.abandon()
		}
		e.loop.HangUp()
		<-gone
	}
	e.loop.Close()
	return err
}

// now is the time on the engine's clock, never 0.
func (e *Engine) now() time.Duration { return time.Since(e.start) + firstMoment }

func (e *Engine) stripe() *stripe {
	return &e.stripes[int(e.next.Add(1))%len(e.stripes)]
}

func (e *Engine) session(id string) *Session {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sessions[id]
}

// Sessions returns those that are not yet forgotten, which includes some that are closing.
func (e *Engine) Sessions() []*Session {
	e.mu.Lock()
	defer e.mu.Unlock()
	open := make([]*Session, 0, len(e.sessions))
	for _, s := range e.sessions {
		if s != nil { // not a reserved id
			open = append(open, s)
		}
	}
	return open
}

// register adds a session to the table, unless the engine is closing.
func (e *Engine) register(s *Session) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return false
	}
	e.live.Add(1)
	e.sessions[s.id] = s
	e.most = max(e.most, len(e.sessions))
	return true
}

// remove takes a session out of the table, once.
func (e *Engine) remove(s *Session) {
	e.mu.Lock()
	ok := e.sessions[s.id] == s
	if ok {
		delete(e.sessions, s.id)
		e.shrinkLocked()
	}
	e.mu.Unlock()
	if ok {
		e.live.Done()
	}
}

// shrinkLocked makes the table anew after most of its sessions went: a map keeps the size that it once had.
func (e *Engine) shrinkLocked() {
	if n := len(e.sessions); e.most > smallTable && n < e.most/4 {
		sessions := make(map[string]*Session, n)
		maps.Copy(sessions, e.sessions)
		e.sessions, e.most = sessions, n
	}
}

// run starts a goroutine that Close waits for, unless the engine is closing.
func (e *Engine) run(f func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return false
	}
	e.live.Go(f)
	return true
}

// serve begins to read a WebSocket, or closes it because the engine is closing. Close waits until it has ended.
func (e *Engine) serve(ws *socket) bool {
	e.mu.Lock()
	closing := e.closing
	if !closing {
		e.live.Add(1)
	}
	e.mu.Unlock()
	if closing {
		ws.conn.Close()
		return false
	}
	ws.conn.Read()
	return true
}
