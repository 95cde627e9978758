package socketio

import (
	"context"
	"fmt"
)

// ServerSideRegistrar is what handlers of server-side events are registered with: a Server, a Namespace, a
// ParentNamespace.
type ServerSideRegistrar interface {
	OnServerSide(event string, h ServerSideHandler)
}

// ServerSideEmitter is what server-side events are sent with: a Server, a Namespace.
type ServerSideEmitter interface {
	ServerSideEmit(ctx context.Context, event string, args ...any) error
	ServerSideEmitWithAck(ctx context.Context, event string, args ...any) ([]Args, error)
}

var (
	_ ServerSideRegistrar = (*Server)(nil)
	_ ServerSideRegistrar = (*ParentNamespace)(nil)
	_ ServerSideEmitter   = (*Server)(nil)
)

// HandleServerSide registers a handler for events of other servers.
func (e Event[T]) HandleServerSide(r ServerSideRegistrar, h func(ctx context.Context, v T) error) {
	r.OnServerSide(string(e), func(ctx context.Context, args Args) error {
		var v T
		if err := gather(args, &v); err != nil {
			return err
		}
		return h(ctx, v)
	})
}

// EmitServerSide sends the event to the other servers; see Namespace.ServerSideEmit.
func (e Event[T]) EmitServerSide(ctx context.Context, to ServerSideEmitter, v T) error {
	return to.ServerSideEmit(ctx, string(e), spread(&v)...)
}

// HandleServerSide registers a handler for events of other servers, whose result is the acknowledgement. When it returns
// an error, nothing is sent: the other server finds this one silent.
func (c Call[Req, Resp]) HandleServerSide(r ServerSideRegistrar, h func(ctx context.Context, req Req) (Resp, error)) {
	r.OnServerSide(string(c), func(ctx context.Context, args Args) error {
		var req Req
		if err := gather(args, &req); err != nil {
			return err
		}
		resp, err := h(ctx, req)
		if err != nil || !args.WantsAck() {
			return err
		}
		return args.Ack(ctx, spread(&resp)...)
	})
}

// CallServerSide sends the event to the other servers and returns what they answer; see
// Namespace.ServerSideEmitWithAck. With an error it returns what came and could be decoded.
func (c Call[Req, Resp]) CallServerSide(ctx context.Context, to ServerSideEmitter, req Req) ([]Resp, error) {
	answers, err := to.ServerSideEmitWithAck(ctx, string(c), spread(&req)...)
	out := make([]Resp, 0, len(answers))
	for _, args := range answers {
		var resp Resp
		if wrong := gather(args, &resp); wrong != nil {
			if err == nil {
				err = fmt.Errorf("socketio: acknowledgement of %q: %w", string(c), wrong)
			}
			continue
		}
		out = append(out, resp)
	}
	return out, err
}
