package socketio

import (
	"container/list"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/chorus/internal/engineio"
	"example.com/chorus/internal/frame"
	"example.com/chorus/pkg/socketio/parser"
)

// Recovery keeps the sessions of clients that lost their connection, and the events that they miss meanwhile
// (protocol section "Connection state recovery"). A client that comes back in time has its id, rooms and data again
// and gets what it missed before its CONNECT is answered; Socket.Recovered tells.
//
// Sessions end for good when the client or the server disconnects on purpose. A session is given back once.
type Recovery struct {
	// Window is how long sessions and events are kept. Default 2 minutes.
	Window time.Duration
	// RunMiddlewares runs the middlewares for recovered clients too. By default whoever presents the private session
	// id is let in without them, as in Node.
	RunMiddlewares bool
	// MaxMessages and MaxBytes bound the kept events of a namespace. A client that missed more than what is kept
	// starts a fresh session. Default 10 000 and 16 MiB.
	MaxMessages int
	MaxBytes    int
	// MaxSessions bounds the kept sessions of a namespace; the oldest expire first. Default 100 000.
	MaxSessions int
}

func (r *Recovery) withDefaults() (Recovery, error) {
	c := *r
	for _, n := range []struct {
		name  string
		value *int
		unset int
	}{
		{"MaxMessages", &c.MaxMessages, 10_000},
		{"MaxBytes", &c.MaxBytes, 16 << 20},
		{"MaxSessions", &c.MaxSessions, 100_000},
	} {
		if *n.value < 0 {
			return c, fmt.Errorf("socketio: Options.Recovery.%s is %d, must be positive", n.name, *n.value)
		}
		if *n.value == 0 {
			*n.value = n.unset
		}
	}
	if c.Window < 0 {
		return c, fmt.Errorf("socketio: Options.Recovery.Window is %v, must be positive", c.Window)
	}
	if c.Window == 0 {
		c.Window = 2 * time.Minute
	}
	return c, nil
}

// ExpiredSession is a session that no client came back to.
type ExpiredSession struct {
	ID    string // of its socket
	Rooms []string
	Data  map[string]any
}

// takeover bounds the wait for the end of a socket whose client is back before its loss was noticed.
const takeover = 2 * time.Second

var (
	errTakeover   = errors.New("the client came back on another connection")
	errMissedMore = errors.New("the client missed more than what is kept")
)

// recovery is the memory of one namespace. Every event of the namespace goes through its lock, so that the order of
// offsets is the order of delivery: a client that has one offset has everything before it.
type recovery struct {
	nsp   *Namespace
	opts  Recovery
	epoch string // in every offset: those of an earlier process are unknown

	mu       sync.Mutex
	last     uint64 // offset of the newest event
	log      []kept // events from oldest to newest
	bytes    int    // of log
	sessions map[string]*session
	expiring list.List                // of *session, in the order of their end; those that were taken keep their place until entry
	live     map[string]*Socket       // that have a session, or are about to
	awaited  map[string]chan struct{} // closed when the session of a live socket is kept
	timer    *time.Timer
	counts   map[string]uint64 // attempts by result
}

type kept struct {
	offset uint64
	at     time.Time
	frame  *frame.Frame
	rooms  []string
	except []string
}

type session struct {
	pid, sid string
	rooms    []string
	data     map[string]any
	expires  time.Time
	place    *list.Element // in expiring
	taken    bool          // by a client that is not in the namespace yet
}

func newRecovery(n *Namespace, o Recovery) *recovery {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return &recovery{
		nsp: n, opts: o, epoch: base64.RawURLEncoding.EncodeToString(b[:]),
		sessions: make(map[string]*session), live: make(map[string]*Socket),
		awaited: make(map[string]chan struct{}), counts: make(map[string]uint64),
	}
}

func (r *recovery) offset(n uint64) string { return r.epoch + "." + strconv.FormatUint(n, 36) }

func (r *recovery) parse(offset string) (uint64, bool) {
	epoch, number, _ := strings.Cut(offset, ".")
	n, err := strconv.ParseUint(number, 36, 64)
	return n, err == nil && epoch == r.epoch && n <= r.last
}

// broadcast delivers and keeps an event.
func (r *recovery) broadcast(b Broadcast, p *payload, now time.Time) ([]*Socket, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := r.stamped(p, b.volatile)
	if err != nil {
		return nil, err
	}
	d := b.delivery(f, now)
	if !b.volatile {
		except := b.except
		if b.from != nil {
			except = append(slices.Clip(except), b.from.id)
		}
		r.keepLocked(kept{at: now, frame: d.frame, rooms: b.rooms, except: except})
	}
	return r.nsp.deliver(d), nil
}

// send delivers and keeps an event for one socket.
func (r *recovery) send(s *Socket, p *payload, e SocketEmitter) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := r.stamped(p, e.volatile)
	if err != nil {
		return err
	}
	if e.uncompressed {
		f = f.Uncompressed()
	}
	if !e.volatile {
		r.keepLocked(kept{at: time.Now(), frame: f, rooms: []string{s.id}})
	}
	return s.conn.session.Send(f, e.volatile)
}

// stamped makes the frame of an event with its offset as last argument. A volatile event has that of the event
// before it: clients take any last string for an offset, and its own string would make their next recovery fail.
func (r *recovery) stamped(p *payload, volatile bool) (*frame.Frame, error) {
	n := r.last
	if !volatile {
		n++
	}
	plain := len(p.json)
	p.json = append(p.json[:plain-1], ',')
	p.json = parser.AppendString(p.json, r.offset(n))
	p.json = append(p.json, ']')
	f, _, err := p.packet(r.nsp, parser.Event, 0, false)
	return f, err
}

func (r *recovery) keepLocked(k kept) {
	r.last++
	k.offset = r.last
	r.log = append(r.log, k)
	r.bytes += k.frame.Size()
	oldest := k.at.Add(-r.opts.Window)
	drop := 0
	for len(r.log)-drop > r.opts.MaxMessages || r.bytes > r.opts.MaxBytes || r.log[drop].at.Before(oldest) {
		r.bytes -= r.log[drop].frame.Size()
		r.log[drop] = kept{}
		if drop++; drop == len(r.log) {
			break
		}
	}
	r.log = r.log[drop:]
}

// begin gives a new socket a private id, or those of the session that its client wants back. It returns the offset
// from which on the client misses events.
func (r *recovery) begin(ctx context.Context, s *Socket) (old *session, from uint64) {
	var want struct{ PID, Offset *string }
	if json.Unmarshal(s.auth, &want) == nil && want.PID != nil && want.Offset != nil {
		old, from = r.take(ctx, s, *want.PID, *want.Offset)
	}
	if old == nil {
		s.pid = newID()
		return nil, 0
	}
	s.id, s.pid, s.data, s.recovered = old.sid, old.pid, maps.Clone(old.data), true
	return old, from
}

// take gives a session to a socket that connects. A live one is ended first: its client is here.
func (r *recovery) take(ctx context.Context, s *Socket, pid, offset string) (*session, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if earlier := r.live[pid]; earlier != nil {
		ended := r.awaited[pid]
		if ended == nil {
			ended = make(chan struct{})
			r.awaited[pid] = ended
		}
		r.mu.Unlock()
		earlier.conn.session.Close(engineio.ForcedClose, errTakeover)
		limit := time.NewTimer(takeover)
		select {
		case <-ended:
		case <-limit.C:
		case <-ctx.Done():
		}
		limit.Stop()
		r.mu.Lock()
	}
	old := r.sessions[pid]
	if old == nil {
		r.counts["unknown"]++
		return nil, 0
	}
	from, known := r.parse(offset)
	switch { // the client starts anew; its session expires in time
	case !known:
		r.counts["no_offset"]++
		return nil, 0
	case from < r.oldestLocked():
		r.counts["too_many"]++
		return nil, 0
	}
	delete(r.sessions, pid)
	old.taken = true
	r.live[pid] = s
	return old, from
}

// giveBack keeps a taken session on, whose client did not get into the namespace: it may try again until the session
// expires.
func (r *recovery) giveBack(s *Socket, old *session) {
	if old == nil {
		return
	}
	r.mu.Lock()
	old.taken = false
	r.sessions[old.pid] = old
	r.endedLocked(s)
	expired := r.sweepLocked()
	r.mu.Unlock()
	r.report(expired)
}

// endedLocked notes that a socket has its session no more, and tells who waits for that.
func (r *recovery) endedLocked(s *Socket) {
	if r.live[s.pid] == s {
		delete(r.live, s.pid)
	}
	if ended := r.awaited[s.pid]; ended != nil {
		close(ended)
		delete(r.awaited, s.pid)
	}
}

// oldestLocked is the oldest offset after which nothing was dropped.
func (r *recovery) oldestLocked() uint64 { return r.last - uint64(len(r.log)) }

// enter makes a socket a member of the namespace, after its client got what it missed. The client's outbox bounds how
// fast; what is emitted meanwhile is missed too, until there is nothing left in the moment of the entry.
func (r *recovery) enter(ctx context.Context, s *Socket, old *session, from uint64) error {
	for {
		r.mu.Lock()
		var missed []kept
		if old != nil {
			if from < r.oldestLocked() { // dropped while the client was slow to take the rest
				r.counts["too_many"]++
				r.mu.Unlock()
				return errMissedMore
			}
			missed = r.missedLocked(old, from)
			from = r.last
		}
		if len(missed) == 0 {
			break
		}
		r.mu.Unlock()
		for _, k := range missed {
			if err := s.conn.session.SendWait(ctx, k.frame); err != nil {
				return err
			}
		}
	}
	defer r.mu.Unlock()
	if old != nil {
		for _, room := range old.rooms {
			_, _ = s.join(room) // it can only fail when the connection ended
		}
	}
	if !r.nsp.enter(s) {
		return ErrDisconnected
	}
	r.live[s.pid] = s
	if old != nil {
		r.counts["ok"]++
		r.expiring.Remove(old.place)
	}
	return nil
}

func (r *recovery) missedLocked(old *session, from uint64) (missed []kept) {
	mine := func(room string) bool { return room == old.sid || slices.Contains(old.rooms, room) }
	for _, k := range r.log[from-r.oldestLocked():] {
		if (len(k.rooms) == 0 || slices.ContainsFunc(k.rooms, mine)) && !slices.ContainsFunc(k.except, mine) {
			missed = append(missed, k)
		}
	}
	return missed
}

// leave keeps the session of a socket that left with the given rooms, if its client may come back.
func (r *recovery) leave(s *Socket, rooms []string, reason Reason) {
	r.mu.Lock()
	if recoverable(reason) {
		s.mu.Lock()
		data := maps.Clone(s.data)
		s.mu.Unlock()
		kept := &session{pid: s.pid, sid: s.id, rooms: rooms, data: data, expires: time.Now().Add(r.opts.Window)}
		kept.place = r.expiring.PushBack(kept)
		r.sessions[s.pid] = kept
	}
	r.endedLocked(s)
	expired := r.sweepLocked()
	r.mu.Unlock()
	r.report(expired)
}

func recoverable(reason Reason) bool {
	switch reason {
	case ParseError, ServerNamespaceDisconnect, ClientNamespaceDisconnect:
		return false
	}
	return true
}

// sweepLocked forgets what expired, and sets the timer to the next end.
func (r *recovery) sweepLocked() (expired []*session) {
	now := time.Now()
	r.stopLocked()
	var next *list.Element
	for e := r.expiring.Front(); e != nil; e = next {
		next = e.Next()
		oldest := e.Value.(*session)
		switch due := oldest.expires.Sub(now); {
		case oldest.taken:
			continue
		case due > 0 && len(r.sessions) <= r.opts.MaxSessions:
			r.timer = time.AfterFunc(due, r.sweep)
			return expired
		}
		r.expiring.Remove(e)
		delete(r.sessions, oldest.pid)
		expired = append(expired, oldest)
		r.counts["expired"]++
	}
	return expired
}

// sweep runs when a session is due, and drops events that are too old with it.
func (r *recovery) sweep() {
	r.mu.Lock()
	oldest := time.Now().Add(-r.opts.Window)
	i := 0
	for ; i < len(r.log) && r.log[i].at.Before(oldest); i++ {
		r.bytes -= r.log[i].frame.Size()
	}
	r.log = slices.Clone(r.log[i:])
	expired := r.sweepLocked()
	r.mu.Unlock()
	r.report(expired)
	r.nsp.tidy()
}

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
					r.nsp.server.options.Logger.Error("session handler panicked", "namespace", r.nsp.name, "error", err)
				}
			}
		}
	})
}

func (r *recovery) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopLocked()
}

func (r *recovery) stopLocked() {
	if r.timer != nil {
		r.timer.Stop()
	}
}

// empty reports whether no session waits for its client.
func (r *recovery) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions) == 0
}

// stats returns the attempts by result and the sessions that are kept.
func (r *recovery) stats() (counts map[string]uint64, sessions int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.counts), int64(len(r.sessions))
}
