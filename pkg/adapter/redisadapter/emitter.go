package redisadapter

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/internal/binaryjson"
	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// EmitterOptions are the choices of an Emitter. Nil and the zero value work.
type EmitterOptions struct {
	// Prefix of the channels, as Options.Prefix of the nodes. Default "socket.io".
	Prefix string
	// Streams emits to the nodes of NewStreams and of Node's streams adapter, with the names and limits that they have. Of
	// it StreamName, StreamCount, MaxLen and OnlyPlaintext are used. Default nil: to the nodes of NewPubSub and of Node's
	// redis-adapter.
	Streams *StreamsOptions
	// MaxAttachments is the number of binary values in one event, which clients must accept. Default 10.
	MaxAttachments int
}

// Emitter publishes to the clients of a cluster from a process that is no server, as @socket.io/redis-emitter does. It
// keeps no connection and no queue of its own: each call is one command on the client that it was made with, and returns
// when Redis has taken it. An Emitter is a value for the namespace "/" and may be used concurrently.
//
// Nobody answers an emitter: there are no acknowledgements and no questions. The sharded adapter has no emitter.
type Emitter struct{ Emission }

// Emission says whom an event goes to. It is a value: every method returns a changed copy, so one may be kept and used
// again, also concurrently. It is a socketio.Emitter, so typed events can be sent with it.
type Emission struct {
	wire      emitterWire
	rdb       redis.UniversalClient
	limits    parser.Limits
	namespace string
	message   adapter.Message // Rooms, Except and Flags
}

// emitterWire is the format of the cluster.
type emitterWire interface {
	// command returns the command that publishes m.
	command(ctx context.Context, limits parser.Limits, namespace string, m *adapter.Message) (redis.Cmder, error)
}

// NewEmitter returns an emitter that uses rdb, which stays with the caller: its timeouts and retries are those of the
// emitter. A client that retries may publish twice when an answer gets lost; set MaxRetries to -1 where that matters.
func NewEmitter(rdb redis.UniversalClient, o *EmitterOptions) (*Emitter, error) {
	var c EmitterOptions
	if o != nil {
		c = *o
	}
	if c.Prefix == "" {
		c.Prefix = "socket.io"
	}
	if c.MaxAttachments == 0 {
		c.MaxAttachments = parser.MaxAttachments
	}
	if c.MaxAttachments < 0 {
		return nil, fmt.Errorf("redisadapter: option MaxAttachments is %d, must be positive", c.MaxAttachments)
	}
	e := Emission{rdb: rdb, limits: parser.Limits{MaxAttachments: c.MaxAttachments}, namespace: "/", wire: classicEmitter{c.Prefix}}
	if c.Streams != nil {
		s, err := c.Streams.withDefaults()
		if err != nil {
			return nil, err
		}
		e.wire = streamsEmitter{names: streamNames{s.StreamName, s.StreamCount}, maxLen: s.MaxLen, plain: s.OnlyPlaintext}
	}
	return &Emitter{e}, nil
}

// Of returns an emission to a namespace. A missing slash in front is added.
func (e Emission) Of(namespace string) Emission {
	e.namespace = "/" + strings.TrimPrefix(namespace, "/")
	return e
}

// To adds rooms: members of any of them receive the event, once. Without rooms the whole namespace does. A socket's id
// is a room.
func (e Emission) To(rooms ...string) Emission {
	e.message.Rooms = with(e.message.Rooms, rooms)
	return e
}

// In is To.
func (e Emission) In(rooms ...string) Emission { return e.To(rooms...) }

// Except leaves out the members of rooms.
func (e Emission) Except(rooms ...string) Emission {
	e.message.Except = with(e.message.Except, rooms)
	return e
}

// with adds rooms that are not there yet, since Node's emitter has a set of them.
func with(list, rooms []string) []string {
	list = slices.Clone(list)
	for _, r := range rooms {
		if !slices.Contains(list, r) {
			list = append(list, r)
		}
	}
	return list
}

// Volatile drops the event for clients that are not ready for it.
func (e Emission) Volatile() Emission {
	e.message.Flags.Volatile = true
	return e
}

// Compress says whether the event is compressed where a connection can. The default is that it is.
func (e Emission) Compress(on bool) Emission {
	e.message.Flags.Uncompressed = !on
	return e
}

// Emit sends the event to the selected clients. []byte at any depth of an argument travels as binary, everything else as
// encoding/json writes it.
func (e Emission) Emit(ctx context.Context, event string, args ...any) error {
	if parser.Reserved(event) {
		return fmt.Errorf("redisadapter: emit %q: the name is reserved", event)
	}
	m := e.message
	m.Kind, m.Sent = adapter.Broadcast, time.Now()
	return e.packet(ctx, m, "emit", event, args)
}

// ServerSideEmit sends an event to the application on every server of the namespace. Nobody acknowledges it.
func (e Emission) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	switch event {
	case "connect", "connection", "new_namespace":
		return fmt.Errorf("redisadapter: server-side emit %q: the name is reserved", event)
	}
	return e.packet(ctx, adapter.Message{Kind: adapter.ServerSideEmit}, "server-side emit", event, args)
}

func (e Emission) packet(ctx context.Context, m adapter.Message, what, event string, args []any) (err error) {
	m.Packet, err = packetOf(event, args)
	if err == nil {
		err = e.publish(ctx, &m)
	}
	if err != nil {
		return fmt.Errorf("redisadapter: %s %q: %w", what, event, err)
	}
	return nil
}

// packetOf writes an event.
func packetOf(event string, args []any) (p adapter.Packet, err error) {
	p.Data = parser.AppendString([]byte{'['}, event)
	for i, arg := range args {
		p.Data = append(p.Data, ',')
		if b, ok := arg.([]byte); ok {
			p.Data, p.Attachments = binaryjson.AppendBytes(p.Data, p.Attachments, b)
		} else if p.Data, p.Attachments, err = binaryjson.Append(p.Data, p.Attachments, arg); err != nil {
			return p, fmt.Errorf("argument %d: %w", i, err)
		}
	}
	p.Data = append(p.Data, ']')
	if len(p.Attachments) > 0 { // plain data that looks like a placeholder would end the connections of all receivers
		err = parser.CheckPlaceholders(p.Data, len(p.Attachments))
	}
	return p, err
}

// Join makes the selected sockets enter rooms.
func (e Emission) Join(ctx context.Context, rooms ...string) error {
	return e.change(ctx, "join", adapter.Message{Kind: adapter.Join, Targets: rooms})
}

// Leave makes the selected sockets leave rooms.
func (e Emission) Leave(ctx context.Context, rooms ...string) error {
	return e.change(ctx, "leave", adapter.Message{Kind: adapter.Leave, Targets: rooms})
}

// Disconnect takes the selected sockets out of the namespace, and with closeTransport closes their connections.
func (e Emission) Disconnect(ctx context.Context, closeTransport bool) error {
	return e.change(ctx, "disconnect", adapter.Message{Kind: adapter.Disconnect, Close: closeTransport})
}

func (e Emission) change(ctx context.Context, what string, m adapter.Message) error {
	m.Rooms, m.Except = e.message.Rooms, e.message.Except
	if err := e.publish(ctx, &m); err != nil {
		return fmt.Errorf("redisadapter: %s: %w", what, err)
	}
	return nil
}

func (e Emission) publish(ctx context.Context, m *adapter.Message) error {
	if err := (channels{namespace: e.namespace}).check(); err != nil {
		return err
	}
	if len(m.Packet.Attachments) > e.limits.MaxAttachments {
		return fmt.Errorf("%w: the limit is %d, these are %d", ErrTooManyAttachments, e.limits.MaxAttachments, len(m.Packet.Attachments))
	}
	cmd, err := e.wire.command(ctx, e.limits, e.namespace, m)
	if err != nil {
		return err
	}
	return e.rdb.Process(ctx, cmd)
}
