package socketio

import (
	"context"
	"errors"
	"fmt"
	"reflect"
)

// Handler handles a received event. It runs in the order of arrival, one at a time per socket. ctx ends when the
// socket disconnects. An error sends no acknowledgement; it goes to the OnError handlers of the namespace.
//
// Goroutines that ran one handler run others afterwards: what a handler changes of its goroutine, as
// [runtime.LockOSThread] and [runtime/pprof.SetGoroutineLabels] do, it must take back.
type Handler func(ctx context.Context, s *Socket, args Args) error

// Registrar is what handlers are registered with: a Server, a Namespace, or a single Socket.
type Registrar interface {
	On(event string, h Handler)
}

// Emitter is what events are sent with: a Server, a Namespace, a Broadcast, a Socket.
type Emitter interface {
	Emit(ctx context.Context, event string, args ...any) error
}

// Asker is what one client is asked with: a Socket, a SocketEmitter, a RemoteSocket.
type Asker interface {
	EmitWithAck(ctx context.Context, event string, args ...any) (Args, error)
}

// Audience is what many clients are asked with: a Server, a Namespace, a Broadcast.
type Audience interface {
	EmitWithAck(ctx context.Context, event string, args ...any) ([]Args, error)
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
	_ Asker     = (*Socket)(nil)
	_ Asker     = SocketEmitter{}
	_ Audience  = (*Server)(nil)
	_ Audience  = (*Namespace)(nil)
	_ Audience  = Broadcast{}
)

// Event is the name of an event with one argument, whose type the compiler checks on both sides. T is anything
// that encoding/json handles; []byte travels as binary. See Several for more arguments than one, and for none.
type Event[T any] string

// Several, embedded in a struct, makes an argument of its own of each of the exported fields, in their order. By
// itself, as in Event[Several], it is no argument.
//
//	type move struct {
//		socketio.Several
//		X, Y int
//	}
//	const moved socketio.Event[move] = "moved" // socket.emit("moved", 3, 4)
type Several struct{}

func (Several) several() {}

// severalFields returns the fields of what v points to that are arguments; ok is false if it is one argument itself.
func severalFields(v any) (fields []reflect.Value, ok bool) {
	if _, ok := v.(interface{ several() }); !ok { // most types: nothing is spent on them
		return nil, false
	}
	s := reflect.ValueOf(v).Elem()
	if s.Kind() != reflect.Struct {
		return nil, false
	}
	ok = s.Type() == reflect.TypeFor[Several]()
	for i := range s.NumField() {
		switch f := s.Type().Field(i); {
		case f.Type == reflect.TypeFor[Several]():
			ok = true
		case f.IsExported():
			fields = append(fields, s.Field(i))
		}
	}
	return fields, ok
}

// spread returns the arguments that the typed value v points to.
func spread[T any](v *T) []any {
	fields, ok := severalFields(v)
	if !ok {
		return []any{*v}
	}
	args := make([]any, len(fields))
	for i, f := range fields {
		args[i] = f.Interface()
	}
	return args
}

// gather decodes arguments into the typed value that v points to.
func gather[T any](args Args, v *T) error {
	fields, ok := severalFields(v)
	if !ok {
		return args.Decode(v)
	}
	dst := make([]any, len(fields))
	for i, f := range fields {
		dst[i] = f.Addr().Interface()
	}
	return args.Decode(dst...)
}

// Handle registers a handler. An event whose argument does not decode into T is an error that goes to OnError.
func (e Event[T]) Handle(r Registrar, h func(ctx context.Context, s *Socket, v T) error) {
	r.On(string(e), func(ctx context.Context, s *Socket, args Args) error {
		var v T
		if err := gather(args, &v); err != nil {
			return err
		}
		return h(ctx, s, v)
	})
}

// Emit sends the event.
func (e Event[T]) Emit(ctx context.Context, to Emitter, v T) error {
	return to.Emit(ctx, string(e), spread(&v)...)
}

// Call is the name of an event with an acknowledgement: one argument there, one back, or as many as Several says.
type Call[Req, Resp any] string

// Handle registers a handler whose result is the acknowledgement. When it returns an error, nothing is sent: the
// client's timeout tells it.
func (c Call[Req, Resp]) Handle(r Registrar, h func(ctx context.Context, s *Socket, req Req) (Resp, error)) {
	r.On(string(c), func(ctx context.Context, s *Socket, args Args) error {
		var req Req
		if err := gather(args, &req); err != nil {
			return err
		}
		resp, err := h(ctx, s, req)
		if err != nil || !args.WantsAck() {
			return err
		}
		return args.Ack(ctx, spread(&resp)...)
	})
}

// Call sends the event to one client and waits for its acknowledgement; see Socket.EmitWithAck.
func (c Call[Req, Resp]) Call(ctx context.Context, to Asker, req Req) (Resp, error) {
	args, err := to.EmitWithAck(ctx, string(c), spread(&req)...)
	if err != nil {
		var none Resp
		return none, err
	}
	return c.answer(args)
}

// CallAll sends the event to many clients and waits for their acknowledgements; see Broadcast.EmitWithAck. What came and
// could be decoded is returned, in the order of arrival, beside an error that says what is missing.
func (c Call[Req, Resp]) CallAll(ctx context.Context, to Audience, req Req) ([]Resp, error) {
	answers, err := to.EmitWithAck(ctx, string(c), spread(&req)...)
	resps := make([]Resp, 0, len(answers))
	var bad error // the first of its kind says enough
	for _, args := range answers {
		resp, err := c.answer(args)
		if err == nil {
			resps = append(resps, resp)
		} else if bad == nil {
			bad = err
		}
	}
	return resps, errors.Join(err, bad)
}

func (c Call[Req, Resp]) answer(args Args) (resp Resp, err error) {
	if err := gather(args, &resp); err != nil {
		return resp, fmt.Errorf("socketio: acknowledgement of %q: %w", string(c), err)
	}
	return resp, nil
}
