package socketio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/chorus/internal/frame"
	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// keepLimit bounds every wait for the keeper: for the place where a session is kept, and for this node to have heard
// what a client that comes from another node has heard.
const keepLimit = 5 * time.Second

// recorder is a namespace whose broadcasts are kept by its adapter.
type recorder struct {
	local
	*recovery
}

var _ adapter.Recorder = recorder{}

// Begin implements adapter.Recorder.
func (r *recovery) Begin(at adapter.Offset) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.begin(at)
	r.moveLocked()
}

// Record implements adapter.Recorder.
func (r *recovery) Record(rec adapter.Record) {
	m := rec.Message
	if listening := r.record(rec); len(listening) > 0 {
		name, elements := parser.Split(m.Packet.Data)
		r.nsp.tellOutgoing(context.Background(), listening, eventName(name), Args{elements: elements, attachments: m.Packet.Attachments})
	}
}

// record keeps and delivers in one step.
func (r *recovery) record(rec adapter.Record) (listening []*Socket) {
	m := rec.Message
	r.mu.Lock()
	defer r.mu.Unlock()
	at, known := rec.Offset, !rec.Offset.IsZero()
	if known {
		defer r.moveLocked()
	} else {
		at = r.history.last // what its receivers have is that, and this
	}
	var f *frame.Frame
	if !rec.Again && r.concerns(m) {
		f = r.frameOf(m, at)
	}
	switch {
	case known && m.Flags.Volatile:
		r.history.last = at // there is nothing to keep
	case known:
		size := len(m.Packet.Data)
		for _, b := range m.Packet.Attachments {
			size += len(b)
		}
		k := kept{offset: at, at: time.Now(), size: size, rooms: m.Rooms, except: m.Except, frame: f}
		if f == nil {
			k.message = m
		}
		r.history.add(k)
	}
	if f == nil {
		return nil
	}
	origin := OriginRemote
	if rec.Own {
		origin = OriginLocal
	}
	return r.nsp.deliver(delivery{
		frame: f, rooms: m.Rooms, except: m.Except, volatile: m.Flags.Volatile, origin: origin, sent: m.Sent,
	})
}

// concerns reports whether a message may have receivers on this node.
func (r *recovery) concerns(m *adapter.Message) bool {
	return len(m.Rooms) == 0 || slices.ContainsFunc(m.Rooms, local{r.nsp}.HasRoom)
}

// frameOf makes the frame of a message, with an offset. It is nil if the message cannot be written.
func (r *recovery) frameOf(m *adapter.Message, at adapter.Offset) *frame.Frame {
	p := payload{json: slices.Grow(bytes.Clone(bytes.TrimSpace(m.Packet.Data)), 48), attachments: m.Packet.Attachments}
	f, err := r.stamped(&p, at)
	if err != nil {
		r.nsp.server.options.Logger.Warn("recorded message cannot be written", "namespace", r.nsp.name, "error", err)
		return nil
	}
	if m.Flags.Uncompressed {
		f = f.Uncompressed()
	}
	return f
}

// moveLocked wakes those who wait for this node to have heard more.
func (r *recovery) moveLocked() {
	if r.moved != nil {
		close(r.moved)
		r.moved = nil
	}
}

// takeKept takes a session from the keeper, if what its client missed is kept there or here.
func (r *recovery) takeKept(ctx context.Context, s *Socket, pid string, from adapter.Offset, valid bool) (*session, adapter.Offset) {
	if !valid || pid == "" { // nothing of ours: the session, if there is one, waits for a client that knows more
		r.nsp.count.recovery("no_offset", 1)
		return nil, adapter.Offset{}
	}
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	kept, known, err := r.keeper.Take(ctx, r.nsp.name, pid, from)
	switch {
	case err != nil:
		r.nsp.count.recovery("unavailable", 1)
		r.nsp.server.options.Logger.Warn("session cannot be looked for", "namespace", r.nsp.name, "error", err)
		return nil, adapter.Offset{}
	case kept == nil:
		r.nsp.count.recovery("unknown", 1)
		return nil, adapter.Offset{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !known && (from.Compare(r.history.since) < 0 || from.Compare(r.history.last) > 0) {
		r.nsp.count.recovery("no_offset", 1)
		return nil, adapter.Offset{}
	}
	old := &session{pid: kept.PID, sid: kept.SID, rooms: slices.DeleteFunc(kept.Rooms, func(room string) bool { return room == kept.SID })}
	if len(kept.Data) > 0 {
		if err := (Raw{json: kept.Data, attachments: kept.Attachments}).Decode(&old.data); err != nil {
			r.nsp.count.recovery("unknown", 1)
			return nil, adapter.Offset{}
		}
	}
	r.live[pid] = s
	return old, from
}

// catchUpKept sends what is older than what this node remembers. It returns the offset after which this node knows
// everything that is missed, when this node has heard as much as the client, and how many events were sent.
func (r *recovery) catchUpKept(ctx context.Context, s *Socket, old *session, from adapter.Offset) (read adapter.Offset, replayed int, err error) {
	read = from // up to where everything was looked at; from is that of an event of this namespace
	for {
		r.mu.Lock()
		since, last := r.history.since, r.history.last
		r.mu.Unlock()
		if read.Compare(since) >= 0 {
			// An event of this namespace will be recorded here too, but one of another namespace may be the newest.
			if last.Compare(from) < 0 {
				return read, replayed, r.awaitRecord(ctx, from)
			}
			return read, replayed, nil
		}
		page, err := r.missedPage(ctx, read)
		if err != nil {
			return read, replayed, err
		}
		if page.Read == read { // what this node heard of is there no more
			r.nsp.count.recovery("too_many", 1)
			return read, replayed, errMissedMore
		}
		read = page.Read
		for _, rec := range page.Records {
			from = rec.Offset
			if !old.mine(rec.Message.Rooms, rec.Message.Except) {
				continue
			}
			f := r.frameOf(rec.Message, rec.Offset)
			if f == nil {
				continue
			}
			if err := s.session.SendWait(ctx, f); err != nil {
				return read, replayed, err
			}
			replayed++
		}
	}
}

func (r *recovery) missedPage(ctx context.Context, after adapter.Offset) (adapter.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	page, err := r.keeper.Missed(ctx, r.nsp.name, after)
	if err != nil {
		return page, fmt.Errorf("missed events: %w", err)
	}
	return page, nil
}

// awaitRecord waits until this node has recorded the event with an offset, which another node has already.
func (r *recovery) awaitRecord(ctx context.Context, at adapter.Offset) error {
	limit := time.NewTimer(keepLimit)
	defer limit.Stop()
	for {
		r.mu.Lock()
		if r.history.last.Compare(at) >= 0 {
			r.mu.Unlock()
			return nil
		}
		if r.moved == nil {
			r.moved = make(chan struct{})
		}
		moved := r.moved
		r.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-limit.C:
			r.nsp.count.recovery("late", 1)
			return errLate
		}
	}
}

// hopeless reports whether a client that did not get in would not get in the next time either.
func hopeless(err error) bool { return errors.Is(err, errMissedMore) || errors.Is(err, errLate) }

// save gives a session to the keeper.
func (r *recovery) save(s *session) {
	p := takePayload()
	defer p.release()
	data := any(s.data)
	if s.data == nil {
		data = struct{}{} // as in Node, an empty object
	}
	err := p.value(data)
	if err == nil && len(p.attachments) > 0 {
		err = parser.CheckPlaceholders(p.json, len(p.attachments))
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), keepLimit)
		defer cancel()
		err = r.keeper.Save(ctx, &adapter.Session{
			SID: s.sid, PID: s.pid, Rooms: append([]string{s.sid}, s.rooms...),
			Data: bytes.Clone(p.json), Attachments: cloneAll(p.attachments),
		}, r.opts.Window)
	}
	if err != nil {
		r.nsp.count.recovery("unsaved", 1)
		if !errors.Is(err, adapter.ErrClosed) {
			r.nsp.server.options.Logger.Warn("session cannot be kept", "namespace", r.nsp.name, "error", err)
		}
	}
}
