package socketio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// ServerSideHandler handles an event that another server of the cluster emitted with ServerSideEmit. The handlers of a
// namespace run one at a time, in the order of arrival. ctx ends when the server shuts down. args.Ack answers a
// ServerSideEmitWithAck; args are valid until the handler returns. An error, or a panic, goes to the log.
type ServerSideHandler func(ctx context.Context, args Args) error

// reservedServerSide are the events that no server may emit to others, as in Node.
func reservedServerSide(event string) bool {
	switch event {
	case "connect", "connection", "new_namespace":
		return true
	}
	return false
}

// OnServerSide registers the handler of an event of other servers; see Namespace.ServerSideEmit. It panics when the event
// has one, or when the name is reserved: connect, connection, new_namespace.
func (r *router) OnServerSide(event string, h ServerSideHandler) {
	if reservedServerSide(event) {
		panic(fmt.Sprintf("socketio: OnServerSide(%q): %v", event, ErrReservedEvent))
	}
	r.update(func(t *routes) {
		if _, dup := t.serverSide[event]; dup {
			panic(fmt.Sprintf("socketio: OnServerSide(%q): there is a handler for it", event))
		}
		handlers := maps.Clone(t.serverSide)
		if handlers == nil {
			handlers = make(map[string]ServerSideHandler)
		}
		handlers[event] = h
		t.serverSide = handlers
	})
}

// ServerSideEmit sends an event to the other servers of the cluster, where the handlers of OnServerSide get it; not to
// this one, and to no client. It returns when the event is queued, as Emit does. Of a child of a ParentNamespace, only
// nodes that have the child hear. Arguments are written as Socket.Emit says; Node's servers get binary values only
// through adapters that carry them.
func (n *Namespace) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	m, err := n.serverSideMessage(event, args)
	if err == nil {
		err = n.publish(ctx, requestServerSideEmit, m)
	}
	if err != nil {
		return fmt.Errorf("socketio: server-side emit %q: %w", event, err)
	}
	return nil
}

// ServerSideEmitWithAck sends an event to the other servers of the cluster and waits until each has acknowledged it. It
// returns one Args for each that did, in the order of their arrival, and a *adapter.SilentNodesError with them if they are
// not all: a server without a handler for the event, or whose handler does not call args.Ack, is silent. The wait ends
// with ctx or with the adapter's own limit. Of an acknowledgement with several values, adapters may carry the first
// only, as Node's do.
func (n *Namespace) ServerSideEmitWithAck(ctx context.Context, event string, args ...any) ([]Args, error) {
	answers, err := n.serverSideAsk(ctx, event, args)
	if err != nil {
		return answers, fmt.Errorf("socketio: server-side emit %q with ack: %w", event, err)
	}
	return answers, nil
}

func (n *Namespace) serverSideAsk(ctx context.Context, event string, args []any) (answers []Args, err error) {
	m, err := n.serverSideMessage(event, args)
	if err != nil {
		return nil, err
	}
	requester, err := n.requester()
	if err != nil || requester == nil {
		return nil, err
	}
	err = n.request(ctx, requester, requestServerSideEmit, m, func(r *adapter.Response) {
		if r.Packet != nil {
			answers = append(answers, argsOf(*r.Packet))
		}
	})
	return answers, err
}

func (n *Namespace) serverSideMessage(event string, args []any) (*adapter.Message, error) {
	if reservedServerSide(event) {
		return nil, ErrReservedEvent
	}
	p := takePayload()
	defer p.release()
	if err := p.array(&event, args); err != nil {
		return nil, err
	}
	packet, err := n.serverSidePacket(p)
	if err != nil {
		return nil, err
	}
	return &adapter.Message{Kind: adapter.ServerSideEmit, Packet: packet, Sent: time.Now()}, nil
}

// serverSidePacket copies what was written.
func (n *Namespace) serverSidePacket(p *payload) (adapter.Packet, error) {
	if limit := n.server.options.MaxAttachments; len(p.attachments) > limit {
		return adapter.Packet{}, fmt.Errorf("%w: the limit is %d, these are %d", ErrTooManyAttachments, limit, len(p.attachments))
	}
	return adapter.Packet{Data: append([]byte(nil), p.json...), Attachments: cloneAll(p.attachments)}, nil
}

// receiveServerSide queues an event of another server. respond is nil if it waits for no answer.
func (n *Namespace) receiveServerSide(m *adapter.Message, respond func(*adapter.Response)) {
	ok := n.serverSide.push(&n.server.workers, messageSize(m), func(ctx context.Context) {
		n.handleServerSide(ctx, m, respond)
	})
	if !ok {
		n.server.cluster.serverSide[serverSideOverflow].Add(1)
		n.complain("server-side event is dropped: its handlers are too slow", "limit", jobsQueued)
	}
}

// handleServerSide runs the handler of a server-side event.
func (n *Namespace) handleServerSide(ctx context.Context, m *adapter.Message, respond func(*adapter.Response)) {
	if !json.Valid(m.Packet.Data) || m.Packet.Data[0] != '[' { // whatever the other nodes are
		n.ignore(ignoredMalformed, m, parser.ErrInvalidPayload)
		return
	}
	name, elements := parser.Split(m.Packet.Data)
	event := eventName(name)
	h := n.routes().serverSide[event]
	if h == nil {
		n.server.cluster.serverSide[serverSideUnknown].Add(1)
		return
	}
	args := Args{elements: elements, attachments: m.Packet.Attachments}
	if respond != nil {
		args.reply = &reply{server: func(p *payload) error {
			packet, err := n.serverSidePacket(p)
			if err != nil {
				return err
			}
			respond(&adapter.Response{Packet: &packet})
			return nil
		}}
	}
	start := time.Now()
	err := guard(func() error { return h(ctx, args) })
	n.server.traceHandler(name, time.Since(start), err)
	if err == nil {
		n.server.cluster.serverSide[serverSideHandled].Add(1)
		return
	}
	n.server.cluster.serverSide[serverSideFailed].Add(1)
	attrs := []any{"event", event, "error", err}
	if p, ok := errors.AsType[*PanicError](err); ok {
		n.server.count.panics.Add(1)
		attrs = append(attrs, "stack", string(p.Stack))
	}
	n.complain("handler of a server-side event failed", attrs...)
}

// endJobs takes no more work of other nodes.
func (n *Namespace) endJobs() {
	n.serverSide.end()
	n.fetches.end()
}
