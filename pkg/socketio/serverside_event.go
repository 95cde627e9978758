package socketio

import "context"

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

// CallServerSide sends the event to the other servers and returns what they answer, as CallAll does; see
// Namespace.ServerSideEmitWithAck.
func (c Call[Req, Resp]) CallServerSide(ctx context.Context, to ServerSideEmitter, req Req) ([]Resp, error) {
	return c.CallAll(ctx, otherServers{to}, req)
}

// otherServers answer as an audience of clients does.
type otherServers struct{ ServerSideEmitter }

func (o otherServers) EmitWithAck(ctx context.Context, event string, args ...any) ([]Args, error) {
	return o.ServerSideEmitWithAck(ctx, event, args...)
}
