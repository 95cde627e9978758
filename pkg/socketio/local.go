package socketio

import (
	"context"
	"log/slog"
	"sync"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// local is what a namespace shows to its link.
type local struct{ nsp *Namespace }

var _ adapter.Local = local{}

// Deliver implements adapter.Local.
func (l local) Deliver(m *adapter.Message) {
	n := l.nsp
	switch m.Kind {
	case adapter.Broadcast:
		n.deliverRemote(m)
	case adapter.Join:
		for _, room := range n.join(n.selected(selection{rooms: m.Rooms, except: m.Except}), m.Targets) {
			n.followSoon(room)
		}
	case adapter.Leave:
		for _, s := range n.selected(selection{rooms: m.Rooms, except: m.Except}) {
			s.Leave(m.Targets...)
		}
	case adapter.Disconnect:
		for _, s := range n.selected(selection{rooms: m.Rooms, except: m.Except}) {
			s.Disconnect(m.Close)
		}
	case adapter.ServerSideEmit:
		n.receiveServerSide(m, nil)
	default:
		n.ignore(ignoredKind, m, nil)
	}
}

// Answer implements adapter.Local.
func (l local) Answer(m *adapter.Message, respond func(*adapter.Response)) {
	n := l.nsp
	switch m.Kind {
	case adapter.Broadcast:
		n.askRemote(m, respond)
	case adapter.ServerSideEmit:
		n.receiveServerSide(m, respond)
	case adapter.Count:
		respond(&adapter.Response{Count: n.counted(selection{rooms: m.Rooms, except: m.Except})})
	case adapter.Fetch: // of many sockets takes long
		ok := n.fetches.push(&n.server.workers, messageSize(m), func(context.Context) {
			respond(&adapter.Response{Sockets: n.describeAll(selection{rooms: m.Rooms, except: m.Except})})
		})
		if !ok {
			n.ignore(ignoredOverflow, m, nil)
		}
	default:
		n.ignore(ignoredKind, m, nil)
	}
}

// HasRoom implements adapter.Local.
func (l local) HasRoom(room string) bool {
	return l.nsp.sockets.get(room) != nil || l.nsp.rooms.Has(room)
}

// deliverRemote puts a broadcast of another node into the outboxes of this one.
func (n *Namespace) deliverRemote(m *adapter.Message) {
	n.deliverWithAcks(m, 0, nil)
}

// deliverWithAcks asks for acknowledgements with the given id, unless acks is nil.
func (n *Namespace) deliverWithAcks(m *adapter.Message, id uint64, acks ackers) {
	p := payload{json: m.Packet.Data, attachments: m.Packet.Attachments}
	f, _, err := p.packet(n, parser.Event, id, acks != nil)
	if err != nil {
		n.ignore(ignoredMalformed, m, err)
		return
	}
	if m.Flags.Uncompressed {
		f = f.Uncompressed()
	}
	listening := n.deliver(delivery{
		frame: f, rooms: m.Rooms, except: m.Except,
		volatile: m.Flags.Volatile, origin: OriginRemote, sent: m.Sent, acks: acks,
	})
	if len(listening) > 0 {
		name, _ := parser.Split(m.Packet.Data)
		n.tellOutgoing(context.Background(), listening, eventName(name), p.args())
	}
}

// ignore counts a message of another node that is not served, and tells the log.
func (n *Namespace) ignore(reason int, m *adapter.Message, err error) {
	n.server.cluster.ignored[reason].Add(1)
	n.complain("message of another node is ignored", "reason", ignoredNames[reason], "kind", int(m.Kind), "error", err)
}

// complain tells the log of what others can cause any number of times, so that only some of it is told.
func (n *Namespace) complain(message string, attrs ...any) {
	n.server.complaints.log(n.server.options.Logger, func(log *slog.Logger) {
		log.With("namespace", n.name).Warn(message, attrs...)
	})
}

// selection says which sockets of a namespace are meant.
type selection struct {
	rooms  []string
	except []string
	from   *Socket // left out
}

// selected returns the sockets of this node that broadcasts to the selection reach.
func (n *Namespace) selected(sel selection) (sockets []*Socket) {
	var mu sync.Mutex // large rooms are walked by several goroutines
	n.rooms.Broadcast(n.selection(delivery{rooms: sel.rooms, except: sel.except, from: sel.from}), func(s *Socket, _ int) bool {
		if s.receives() {
			mu.Lock()
			sockets = append(sockets, s)
			mu.Unlock()
		}
		return true
	})
	return sockets
}

// counted returns how many sockets of this node are selected. That of one room, or of all, is known without a walk.
func (n *Namespace) counted(sel selection) int {
	if len(sel.except) == 0 && sel.from == nil {
		switch len(sel.rooms) {
		case 0:
			return n.Len()
		case 1:
			if n.sockets.get(sel.rooms[0]) == nil {
				return n.rooms.Len(sel.rooms[0])
			}
		}
	}
	return len(n.selected(sel))
}

// join lets sockets enter rooms and returns the rooms that any of them entered. Those that disconnected meanwhile enter
// none.
func (n *Namespace) join(sockets []*Socket, rooms []string) (entered []string) {
	for _, room := range rooms {
		any := false
		for _, s := range sockets {
			joined, _ := s.join(room) // one that has left, or is in as many as it may be, stays out
			any = any || joined
		}
		if any {
			entered = append(entered, room)
		}
	}
	return entered
}

func (n *Namespace) followSoon(room string) {
	if f, ok := n.link.(adapter.RoomFollower); ok {
		f.FollowRoomSoon(room)
	}
}
