package socketio

import (
	"context"
	"fmt"
)

// Handler handles a received event. It runs in the order of arrival, one at a time per socket. ctx ends when the
// socket disconnects. An error sends no acknowledgement; it goes to the OnError handlers of the namespace.
type Handler func(ctx context.Context, s *Socket, args Args) error

// Registrar is what handlers are registered with: a Server, a Namespace, or a single Socket.
type Registrar interface {
	On(event string, h Handler)
}

// Emitter is what events are sent with: a Server, a Namespace, a Broadcast, a Socket.
type Emitter interface {
	Emit(ctx context.Context, event string, args ...any) error
}

var (
	_ Registrar = (*Server)(nil)
	_ Registrar = (*Namespace)(nil)
	_ Registrar = (*Socket)(nil)
	_ Emitter   = (*Server)(nil)
	_ Emitter   = (*Namespace)(nil)
	_ Emitter   = Broadcast{}
	_ Emitter   = (*Socket)(nil)
	_ Emitter   = SocketEmitter{}
)

// Event is the name of an event with one argument, whose type the compiler checks on both sides. T is anything
// that encoding/json handles; []byte travels as binary. Events with several arguments use the dynamic form, On
// and Emit.
type Event[T any] string

// Handle registers a handler. An event whose argument does not decode into T is an error that goes to OnError.
func (e Event[T]) Handle(r Registrar, h func(ctx context.Context, s *Socket, v T) error) {
	r.On(string(e), func(ctx context.Context, s *Socket, args Args) error {
		var v T
		if err := args.Decode(&v); err != nil {
			return err
		}
		return h(ctx, s, v)
	})
}

// Emit sends the event.
func (e Event[T]) Emit(ctx context.Context, to Emitter, v T) error {
	return to.Emit(ctx, string(e), v)
}

// Call is the name of an event with an acknowledgement: one argument there, one back.
type Call[Req, Resp any] string

// Handle registers a handler whose result is the acknowledgement. When it returns an error, nothing is sent: the
// client's timeout tells it.
func (c Call[Req, Resp]) Handle(r Registrar, h func(ctx context.Context, s *Socket, req Req) (Resp, error)) {
	r.On(string(c), func(ctx context.Context, s *Socket, args Args) error {
		var req Req
		if err := args.Decode(&req); err != nil {
			return err
		}
		resp, err := h(ctx, s, req)
		if err != nil || !args.WantsAck() {
			return err
		}
		return args.Ack(ctx, resp)
	})
}

// Call sends the event to one client and waits for its acknowledgement; see Socket.EmitWithAck.
func (c Call[Req, Resp]) Call(ctx context.Context, s *Socket, req Req) (Resp, error) {
	var resp Resp
	args, err := s.EmitWithAck(ctx, string(c), req)
	if err != nil {
		return resp, err
	}
	if err := args.Decode(&resp); err != nil {
		return resp, fmt.Errorf("socketio: acknowledgement of %q: %w", string(c), err)
	}
	return resp, nil
}
