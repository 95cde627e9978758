package socketio

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/chorus/internal/engineio"
	"example.com/chorus/internal/frame"
	"example.com/chorus/pkg/socketio/parser"
)

// SocketEmitter emits to one client with choices that differ from Socket.Emit's. It is a value: every method returns a
// changed copy.
type SocketEmitter struct {
	socket       *Socket
	volatile     bool
	uncompressed bool
}

// Volatile returns an emitter that drops what this client is not ready for (ErrDropped): on polling when no
// request waits, on WebSocket when the connection is congested.
func (s *Socket) Volatile() SocketEmitter { return SocketEmitter{socket: s, volatile: true} }

// Compress returns an emitter that compresses, or does not, where the connection can. The default is to do so.
func (s *Socket) Compress(on bool) SocketEmitter { return SocketEmitter{socket: s, uncompressed: !on} }

// Volatile is Socket.Volatile on top of what was chosen.
func (e SocketEmitter) Volatile() SocketEmitter {
	e.volatile = true
	return e
}

// Compress is Socket.Compress on top of what was chosen.
func (e SocketEmitter) Compress(on bool) SocketEmitter {
	e.uncompressed = !on
	return e
}

// Emit sends an event to this client. It waits while the client's outbox is full, at most until ctx ends.
// []byte at any depth of an argument travels as binary, everything else as encoding/json writes it; Args and Raw
// are passed on unchanged.
//
// With Options.Recovery the event is kept like a broadcast, and Emit does not wait: a client whose outbox is full is
// closed as SlowConsumer and gets the event when it comes back. With a Keeper it is published like a broadcast to the
// socket's id, so Emit waits while the publish queue is full, and nobody hears that a volatile event was dropped.
func (s *Socket) Emit(ctx context.Context, event string, args ...any) error {
	return SocketEmitter{socket: s}.Emit(ctx, event, args...)
}

// Send emits the event "message".
func (s *Socket) Send(ctx context.Context, args ...any) error { return s.Emit(ctx, "message", args...) }

// Send emits the event "message".
func (e SocketEmitter) Send(ctx context.Context, args ...any) error {
	return e.Emit(ctx, "message", args...)
}

// Emit sends an event as Socket.Emit does. A volatile one never waits.
func (e SocketEmitter) Emit(ctx context.Context, event string, args ...any) error {
	if err := e.emit(ctx, event, args); err != nil {
		return fmt.Errorf("socketio: emit %q: %w", event, err)
	}
	return nil
}

func (e SocketEmitter) emit(ctx context.Context, event string, args []any) error {
	s := e.socket
	if parser.Reserved(event) {
		return ErrReservedEvent
	}
	p := takePayload()
	defer p.release()
	if err := p.array(&event, args); err != nil {
		return err
	}
	if s.state.Load() == stateDisconnected {
		return ErrDisconnected
	}
	if r := s.nsp.recovery; r != nil {
		if err := r.send(ctx, s, event, p, e); err != nil {
			return err
		}
		s.nsp.count.emits.Add(1)
		return nil
	}
	if err := e.send(ctx, p); err != nil {
		return err
	}
	s.nsp.count.emits.Add(1)
	s.tellOutgoing(ctx, event, p.args())
	return nil
}

func (e SocketEmitter) send(ctx context.Context, p *payload) error {
	f, err := e.frame(p, 0, false)
	if err != nil {
		return err
	}
	return e.queue(ctx, f)
}

// sampledEmits is how many events to single sockets there are for each whose wait in the outbox is traced.
const sampledEmits = 16

func (e SocketEmitter) queue(ctx context.Context, f *frame.Frame) error {
	if n := e.socket.nsp; n.count.emits.Load()%sampledEmits == 0 && n.server.tracesWrites() {
		queued := time.Now()
		f = f.WithWritten(func() { n.server.traceQueued(time.Since(queued)) })
	}
	if e.volatile {
		return sendError(e.socket.conn.session.Send(f, true))
	}
	return e.socket.sendWait(ctx, f)
}

func (e SocketEmitter) frame(p *payload, id uint64, hasID bool) (*frame.Frame, error) {
	f, _, err := p.packet(e.socket.nsp, parser.Event, id, hasID)
	if err == nil && e.uncompressed {
		f = f.Uncompressed()
	}
	return f, err
}

// EmitWithAck sends an event to this client and waits for its acknowledgement, whose arguments it returns. The wait
// ends with ctx, after Options.AckTimeout if ctx has no deadline, or with ErrDisconnected. At most 1 024 may be
// outstanding for a socket: ErrTooManyAcks.
func (s *Socket) EmitWithAck(ctx context.Context, event string, args ...any) (Args, error) {
	return SocketEmitter{socket: s}.EmitWithAck(ctx, event, args...)
}

// EmitWithAck is Socket.EmitWithAck with what was chosen. A volatile event that is dropped fails at once (ErrDropped).
func (e SocketEmitter) EmitWithAck(ctx context.Context, event string, args ...any) (Args, error) {
	ctx, cancel := e.socket.nsp.ackDeadline(ctx)
	defer cancel()
	answer, err := e.emitWithAck(ctx, event, args)
	if err != nil {
		return Args{}, fmt.Errorf("socketio: emit %q with ack: %w", event, err)
	}
	return answer, nil
}

func (e SocketEmitter) emitWithAck(ctx context.Context, event string, args []any) (Args, error) {
	s := e.socket
	if parser.Reserved(event) {
		return Args{}, ErrReservedEvent
	}
	p := takePayload()
	defer p.release()
	if err := p.array(&event, args); err != nil {
		return Args{}, err
	}
	id := s.nsp.ackID.Add(1) - 1
	f, err := e.frame(p, id, true)
	if err != nil {
		return Args{}, err
	}
	answer := make(chan ackResult, 1)
	if err := s.acks.expect(id, func(r ackResult) { answer <- r }); err != nil {
		return Args{}, err
	}
	defer s.acks.forget(id)
	if err := e.queue(ctx, f); err != nil {
		return Args{}, err
	}
	s.nsp.count.emits.Add(1)
	s.tellOutgoing(ctx, event, p.args())
	select {
	case r := <-answer:
		return r.args, r.err
	case <-ctx.Done():
		if s.acks.forget(id) {
			s.nsp.count.asked[ackTimeout].Add(1)
		}
		return Args{}, context.Cause(ctx)
	}
}

// ackDeadline gives ctx a deadline if it has none.
func (n *Namespace) ackDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, limited := ctx.Deadline(); limited {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, n.server.options.AckTimeout)
}

// sendWait queues a frame for this client.
func (s *Socket) sendWait(ctx context.Context, f *frame.Frame) error {
	if s.state.Load() == stateDisconnected {
		return ErrDisconnected
	}
	return sendError(s.session.SendWait(ctx, f))
}

// sendError turns the engine's errors into ours.
func sendError(err error) error {
	switch {
	case errors.Is(err, engineio.ErrClosed):
		return ErrDisconnected
	case errors.Is(err, engineio.ErrDropped):
		return ErrDropped
	case errors.Is(err, engineio.ErrSlow):
		return ErrSlowConsumer
	}
	return err
}
