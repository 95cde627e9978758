package socketio

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/rooms"
	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// Broadcast says whom an event goes to. It is a value: every method returns a changed copy, so one may be kept and
// used again, also concurrently.
type Broadcast struct {
	nsp          *Namespace
	from         *Socket // left out
	rooms        []string
	except       []string
	local        bool
	volatile     bool
	uncompressed bool
}

// To adds rooms: members of any of them receive the event, once. Without rooms the whole namespace does. A
// socket's id is a room.
func (b Broadcast) To(rooms ...string) Broadcast {
	b.rooms = append(slices.Clip(b.rooms), rooms...)
	return b
}

// In is To.
func (b Broadcast) In(rooms ...string) Broadcast { return b.To(rooms...) }

// Except leaves out the members of rooms.
func (b Broadcast) Except(rooms ...string) Broadcast {
	b.except = append(slices.Clip(b.except), rooms...)
	return b
}

// Local keeps the event on this node.
func (b Broadcast) Local() Broadcast {
	b.local = true
	return b
}

// Volatile drops the event for clients that are not ready for it.
func (b Broadcast) Volatile() Broadcast {
	b.volatile = true
	return b
}

// Compress says whether the event is compressed where a connection can. The default is that it is.
func (b Broadcast) Compress(on bool) Broadcast {
	b.uncompressed = !on
	return b
}

// Send emits the event "message".
func (b Broadcast) Send(ctx context.Context, args ...any) error {
	return b.Emit(ctx, "message", args...)
}

// Emit sends the event to every selected client on every node. Clients of this node always get it, at once and in the
// order in which the room's broadcasts were emitted here. For the other nodes it is queued: Emit waits while that queue
// is full, at most until ctx ends, and returns the error. Arguments are written as Socket.Emit says.
func (b Broadcast) Emit(ctx context.Context, event string, args ...any) error {
	if err := b.emit(ctx, event, args); err != nil {
		return fmt.Errorf("socketio: broadcast %q: %w", event, err)
	}
	return nil
}

func (b Broadcast) emit(ctx context.Context, event string, args []any) error {
	if parser.Reserved(event) {
		return ErrReservedEvent
	}
	p := takePayload()
	defer p.release()
	if err := p.array(&event, args); err != nil {
		return err
	}
	now := time.Now()
	if r := b.nsp.recovery; r != nil {
		return r.broadcast(ctx, b, event, p, now)
	}
	f, data, err := p.packet(b.nsp, parser.Event, 0, false)
	if err != nil {
		return err
	}
	var m *adapter.Message
	if !b.local { // before the local delivery, which may occupy the processor for long
		m = b.message(data, p.attachments, now)
		err = b.nsp.link.Publish(atOnce, m)
	}
	b.nsp.tellOutgoing(ctx, b.nsp.deliver(b.delivery(f, now)), event, p.args())
	if errors.Is(err, errMustWait) || errors.Is(err, context.Canceled) { // which the clients of this node need not
		err = b.nsp.link.Publish(ctx, m)
	}
	return err
}

func (b Broadcast) delivery(f *frame.Frame, now time.Time) delivery {
	if b.uncompressed {
		f = f.Uncompressed()
	}
	return delivery{
		frame: f, rooms: b.rooms, except: b.except, from: b.from,
		volatile: b.volatile, origin: OriginLocal, sent: now,
	}
}

// atOnce is a context that has ended: Publish does not wait with it.
var (
	atOnce      = endedContext()
	errMustWait = errors.New("publish queue is full")
)

func endedContext() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errMustWait)
	return ctx
}

func (b Broadcast) message(data []byte, attachments [][]byte, now time.Time) *adapter.Message {
	m := &adapter.Message{
		Packet: adapter.Packet{Data: data, Attachments: cloneAll(attachments)},
		Rooms:  b.rooms,
		Except: b.except,
		Flags:  adapter.Flags{Volatile: b.volatile, Uncompressed: b.uncompressed},
		Sent:   now,
	}
	if b.from != nil {
		m.Except = append(slices.Clip(m.Except), b.from.id)
	}
	return m
}

// cloneAll copies what the caller may change again after Emit returned.
func cloneAll(attachments [][]byte) [][]byte {
	if len(attachments) == 0 {
		return nil
	}
	out := make([][]byte, len(attachments))
	for i, a := range attachments {
		out[i] = slices.Clone(a)
	}
	return out
}

// delivery is a broadcast on its way to the sockets of this node.
type delivery struct {
	frame    *frame.Frame
	rooms    []string
	except   []string
	from     *Socket
	volatile bool
	origin   string
	sent     time.Time
	acks     ackers // nil: none are asked for
}

// selection finds the receivers. An own id is a room without being one in the index.
func (n *Namespace) selection(d delivery) rooms.Selection[Socket] {
	sel := rooms.Selection[Socket]{Rooms: d.rooms, Except: d.except}
	for _, name := range d.rooms {
		if s := n.sockets.get(name); s != nil {
			sel.Extra = append(sel.Extra, s)
		}
	}
	var left []*Socket
	for _, name := range d.except {
		if s := n.sockets.get(name); s != nil {
			left = append(left, s)
		}
	}
	if d.from != nil {
		left = append(left, d.from)
	}
	switch len(left) {
	case 0:
	case 1:
		one := left[0]
		sel.Skip = func(s *Socket) bool { return s == one }
	default:
		sel.Skip = func(s *Socket) bool { return slices.Contains(left, s) }
	}
	return sel
}

// deliver puts a broadcast into the outboxes of its receivers. It returns those that have handlers of OnAnyOutgoing.
func (n *Namespace) deliver(d delivery) (listening []*Socket) {
	start := time.Now()
	gathered := n.gatherListening()
	sampled := n.sampled(d)
	recipients := n.rooms.Broadcast(n.selection(d), func(s *Socket, i int) bool {
		if !s.receives() {
			return false
		}
		f := d.frame
		if i == sampled {
			f = n.timed(d)
		}
		if d.acks != nil {
			d.acks.expect(s)
		}
		if err := s.session.Send(f, d.volatile); err != nil {
			if d.acks != nil {
				d.acks.unexpect(s, sendError(err))
			}
			return false
		}
		gathered.add(s)
		return true
	})
	n.count.broadcast(d, recipients)
	n.server.traceBroadcast(d.origin, recipients, time.Since(start))
	return gathered.list()
}

// gathered are the receivers of a broadcast that have handlers of OnAnyOutgoing, which must not be called inside it.
// nil gathers nothing.
type gathered struct {
	mu      sync.Mutex // large rooms are walked by several goroutines
	sockets []*Socket
}

// gatherListening returns nil when no socket has such handlers.
func (n *Namespace) gatherListening() *gathered {
	if n.outgoing.Load() == 0 {
		return nil
	}
	return new(gathered)
}

func (g *gathered) add(s *Socket) {
	if g == nil || s.outgoing.Load() == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sockets = append(g.sockets, s)
}

func (g *gathered) list() []*Socket {
	if g == nil {
		return nil
	}
	return g.sockets
}

func (n *Namespace) tellOutgoing(ctx context.Context, listening []*Socket, event string, args Args) {
	for _, s := range listening {
		s.tellOutgoing(ctx, event, args)
	}
}

// sampled chooses the receiver whose delivery is timed, a different one in each broadcast; -1 is none.
func (n *Namespace) sampled(d delivery) int {
	if !n.server.tracesWrites() {
		return -1
	}
	members := 1
	switch len(d.rooms) {
	case 0:
		members = n.rooms.Len("")
	case 1:
		members = n.rooms.Len(d.rooms[0])
	}
	return int(n.sample.Add(1) % uint64(max(members, 1)))
}

// timed returns the frame of a broadcast that tells when it was written.
func (n *Namespace) timed(d delivery) *frame.Frame {
	queued := time.Now()
	return d.frame.WithWritten(func() {
		now := time.Now()
		n.server.traceQueued(now.Sub(queued))
		if !d.sent.IsZero() { // the other node said when
			n.server.traceDelivered(d.origin, now.Sub(d.sent))
		}
	})
}
