package socketio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"example.com/chorus/internal/engineio"
	"example.com/chorus/internal/frame"
	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// Recovery keeps the sessions of clients that lost their connection, and the events that they miss meanwhile
// (protocol section "Connection state recovery"). A client that comes back in time has its id, rooms and data again
// and gets what it missed before its CONNECT is answered; Socket.Recovered tells.
//
// Sessions end for good when the client or the server disconnects on purpose. A session is given back once.
//
// On a node that is alone everything is kept in memory. With an adapter that is an adapter.Keeper a client may come back
// to any node: sessions and events are kept by the broker. Then the values of Socket.Set are written as JSON, binary
// values included, and those of a recovered socket are what encoding/json makes of them: a struct comes back as a
// map[string]any, a number as a float64. Every event goes out and comes back before it is delivered, also to the clients
// of this node, so that all nodes have the same order; while the broker is away clients of this node get it without
// that, after a moment of patience, and it cannot be recovered unless the broker takes it later.
type Recovery struct {
	// Window is how long sessions and events are kept. Default 2 minutes.
	Window time.Duration
	// RunMiddlewares runs the middlewares for recovered clients too. By default whoever presents the private session
	// id is let in without them, as in Node.
	RunMiddlewares bool
	// MaxMessages and MaxBytes bound the events of a namespace that are kept in memory. A client that missed more than
	// what is kept starts a fresh session; with a Keeper older events are read from the broker, which has its own
	// limit. Default 10 000 and 16 MiB.
	MaxMessages int
	MaxBytes    int
	// MaxSessions bounds the sessions of a namespace that are kept in memory; the oldest expire first. A Keeper has no
	// such limit. Default 100 000.
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
	errLate       = errors.New("this node is behind what the client has")
)

// recovery is what a namespace keeps. Every event of the namespace goes through its lock, so that the order of offsets
// is the order of delivery: a client that has one offset has everything before it.
type recovery struct {
	nsp    *Namespace
	opts   Recovery
	keeper adapter.Keeper // nil: everything is kept here

	mu       sync.Mutex
	history  history
	moved    chan struct{} // closed when there is a newer event; nil while nobody waits for one
	sessions keptSessions
	live     map[string]*Socket       // that have a session, or are about to
	awaited  map[string]chan struct{} // closed when the session of a live socket is kept
}

func newRecovery(n *Namespace, o Recovery) *recovery {
	r := &recovery{
		nsp: n, opts: o, sessions: keptSessions{max: o.MaxSessions, byPID: make(map[string]*session)}, live: make(map[string]*Socket),
		awaited: make(map[string]chan struct{}),
		history: history{window: o.Window, maxMessages: o.MaxMessages, maxBytes: o.MaxBytes},
	}
	r.keeper, _ = n.server.options.Adapter.(adapter.Keeper)
	if r.keeper == nil { // offsets of an earlier process are before this one
		r.history.begin(adapter.Offset{Major: uint64(time.Now().UnixMicro())})
	}
	return r
}

// broadcast delivers an event and keeps it, or sends it to where it is kept, which brings it back to Record.
func (r *recovery) broadcast(ctx context.Context, b Broadcast, event string, p *payload, now time.Time) error {
	if r.keeper != nil {
		m := b.message(bytes.Clone(p.json), p.attachments, now)
		if b.local {
			r.Record(adapter.Record{Message: m, Own: true})
			return nil
		}
		return r.nsp.link.Publish(ctx, m)
	}
	listening, err := r.keepBroadcast(b, p, now)
	r.nsp.tellOutgoing(ctx, listening, event, p.args())
	return err
}

func (r *recovery) keepBroadcast(b Broadcast, p *payload, now time.Time) ([]*Socket, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, at, err := r.nextLocked(p, b.volatile)
	if err != nil {
		return nil, err
	}
	d := b.delivery(f, now)
	if !b.volatile {
		except := b.except
		if b.from != nil {
			except = append(slices.Clip(except), b.from.id)
		}
		r.history.add(kept{offset: at, at: now, size: f.Size(), frame: d.frame, rooms: b.rooms, except: except})
	}
	return r.nsp.deliver(d), nil
}

// send is broadcast to one socket. One that is not in the namespace yet is no room.
func (r *recovery) send(ctx context.Context, s *Socket, event string, p *payload, e SocketEmitter) error {
	if r.keeper == nil || !s.Connected() {
		if err := r.keepSend(s, p, e); err != nil {
			return err
		}
		s.tellOutgoing(ctx, event, p.args())
		return nil
	}
	to := Broadcast{nsp: r.nsp, rooms: []string{s.id}, volatile: e.volatile, uncompressed: e.uncompressed}
	return r.broadcast(ctx, to, event, p, time.Now())
}

func (r *recovery) keepSend(s *Socket, p *payload, e SocketEmitter) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	volatile := e.volatile || r.keeper != nil
	f, at, err := r.nextLocked(p, volatile)
	if err != nil {
		return err
	}
	if e.uncompressed {
		f = f.Uncompressed()
	}
	if !volatile {
		r.history.add(kept{offset: at, at: time.Now(), size: f.Size(), frame: f, rooms: []string{s.id}})
	}
	return sendError(s.session.Send(f, e.volatile))
}

// nextLocked makes the frame of an event of this node. A volatile event has the offset of the event before it: clients
// take any last string for an offset, and its own string would make their next recovery fail.
func (r *recovery) nextLocked(p *payload, volatile bool) (*frame.Frame, adapter.Offset, error) {
	at := r.history.last
	if !volatile {
		at = at.Next()
	}
	f, err := r.stamped(p, at)
	return f, at, err
}

// stamped makes the frame of an event with its offset as last argument.
func (r *recovery) stamped(p *payload, at adapter.Offset) (*frame.Frame, error) {
	if !at.IsZero() { // before the first one is known there is nothing to go back to
		p.json = append(p.json[:len(p.json)-1], ',', '"')
		p.json = append(p.json, at.String()...)
		p.json = append(p.json, '"', ']')
	}
	f, _, err := p.packet(r.nsp, parser.Event, 0, false)
	return f, err
}

// begin gives a new socket a private id, or those of the session that its client wants back. It returns the offset
// from which on the client misses events.
func (r *recovery) begin(ctx context.Context, s *Socket) (old *session, from adapter.Offset) {
	var want struct{ PID, Offset *string }
	if json.Unmarshal(s.auth, &want) == nil && want.PID != nil && want.Offset != nil {
		old, from = r.take(ctx, s, *want.PID, *want.Offset)
	}
	if old == nil {
		s.pid = newID()
		return nil, adapter.Offset{}
	}
	s.id, s.pid, s.data, s.recovered = old.sid, old.pid, maps.Clone(old.data), true
	return old, from
}

// take gives a session to a socket that connects, if what its client missed is kept. A live one is ended first: its
// client is here.
func (r *recovery) take(ctx context.Context, s *Socket, pid, offset string) (*session, adapter.Offset) {
	r.endLive(ctx, pid)
	from, valid := adapter.ParseOffset(offset)
	if r.keeper != nil {
		return r.takeKept(ctx, s, pid, from, valid)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.sessions.byPID[pid]
	switch { // the client starts anew; its session expires in time
	case old == nil:
		r.nsp.count.recovery("unknown", 1)
	case !valid || from.Major != r.history.last.Major || from.Compare(r.history.last) > 0:
		r.nsp.count.recovery("no_offset", 1)
	case from.Compare(r.history.since) < 0:
		r.nsp.count.recovery("too_many", 1)
	default:
		r.sessions.take(old)
		r.live[pid] = s
		return old, from
	}
	return nil, adapter.Offset{}
}

// endLive ends the connection of a client that is here on another one, and waits until its session is kept.
func (r *recovery) endLive(ctx context.Context, pid string) {
	r.mu.Lock()
	earlier := r.live[pid]
	ended := r.awaited[pid]
	if earlier != nil && ended == nil {
		ended = make(chan struct{})
		r.awaited[pid] = ended
	}
	r.mu.Unlock()
	if earlier == nil {
		return
	}
	earlier.conn.session.Close(engineio.ForcedClose, errTakeover)
	limit := time.NewTimer(takeover)
	defer limit.Stop()
	select {
	case <-ended:
	case <-limit.C:
	case <-ctx.Done():
	}
}

// giveBack keeps a taken session on, whose client did not get into the namespace: it may try again until the session
// expires.
func (r *recovery) giveBack(s *Socket, old *session) {
	if old == nil {
		return
	}
	if r.keeper != nil {
		r.save(old)
	}
	r.mu.Lock()
	if r.keeper == nil {
		r.sessions.giveBack(old)
	}
	r.endedLocked(s)
	expired := r.sweepLocked()
	r.mu.Unlock()
	r.report(expired)
}

// turnAway gives a session back whose client did not get in because of err, unless it would be the same the next time.
func (r *recovery) turnAway(s *Socket, old *session, err error) {
	if old == nil || r.keeper == nil || !hopeless(err) {
		r.giveBack(s, old)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endedLocked(s)
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

// enter makes a socket a member of the namespace, after its client got what it missed. The client's outbox bounds how
// fast; what is emitted meanwhile is missed too, until there is nothing left in the moment of the entry.
func (r *recovery) enter(ctx context.Context, s *Socket, old *session, from adapter.Offset) error {
	if old == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.enterLocked(s, nil)
	}
	return r.catchUp(ctx, s, old, from)
}

// catchUp sends what is missed and enters the socket.
func (r *recovery) catchUp(ctx context.Context, s *Socket, old *session, from adapter.Offset) error {
	replayed := 0
	if r.keeper != nil {
		var err error
		if from, replayed, err = r.catchUpKept(ctx, s, old, from); err != nil {
			return err
		}
	}
	for {
		r.mu.Lock()
		if from.Compare(r.history.since) < 0 { // dropped while the client was slow to take the rest
			r.nsp.count.recovery("too_many", 1)
			r.mu.Unlock()
			return errMissedMore
		}
		missed := r.missedLocked(old, from)
		from = r.history.last
		if len(missed) == 0 {
			break
		}
		r.mu.Unlock()
		for _, f := range missed {
			if err := s.session.SendWait(ctx, f); err != nil {
				return err
			}
		}
		replayed += len(missed)
	}
	defer r.mu.Unlock()
	err := r.enterLocked(s, old)
	if err == nil {
		r.nsp.server.traceRecovered(replayed)
	}
	return err
}

func (r *recovery) enterLocked(s *Socket, old *session) error {
	if old != nil {
		for _, room := range old.rooms {
			_, _ = s.join(room) // it fails when the connection ended, or above MaxRoomsPerSocket of this node
		}
	}
	if !r.nsp.enter(s) {
		return ErrDisconnected
	}
	r.live[s.pid] = s
	if old != nil {
		r.nsp.count.recovery("ok", 1)
		r.sessions.done(old)
	}
	return nil
}

// missedLocked returns the frames of what a session missed.
func (r *recovery) missedLocked(old *session, from adapter.Offset) (missed []*frame.Frame) {
	events := r.history.after(from)
	for i := range events {
		k := &events[i]
		if !old.mine(k.rooms, k.except) {
			continue
		}
		if k.frame == nil && k.message != nil {
			k.frame = r.frameOf(k.message, k.offset)
			k.message = nil
		}
		if k.frame != nil {
			missed = append(missed, k.frame)
		}
	}
	return missed
}

// leave keeps the session of a socket that left with the given rooms, if its client may come back.
func (r *recovery) leave(s *Socket, rooms []string, reason Reason) {
	var left *session
	if recoverable(reason) {
		s.mu.Lock()
		data := maps.Clone(s.data)
		s.mu.Unlock()
		left = &session{pid: s.pid, sid: s.id, rooms: rooms, data: data, expires: time.Now().Add(r.opts.Window)}
		if r.keeper != nil {
			r.save(left)
		}
	}
	r.mu.Lock()
	if left != nil && r.keeper == nil {
		r.sessions.add(left)
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

func (r *recovery) sweepLocked() []*session {
	expired := r.sessions.sweep(r.sweep)
	if len(expired) > 0 {
		r.nsp.count.recovery("expired", len(expired))
	}
	return expired
}

// sweep runs when a session is due, and drops events that are too old with it.
func (r *recovery) sweep() {
	r.mu.Lock()
	r.history.expire(time.Now())
	expired := r.sweepLocked()
	r.mu.Unlock()
	r.report(expired)
	r.nsp.tidy()
}

func (r *recovery) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions.stop()
}

// empty reports whether no session waits here for its client.
func (r *recovery) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions.byPID) == 0
}

// kept returns how many sessions wait here for their clients.
func (r *recovery) kept() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int64(len(r.sessions.byPID))
}
