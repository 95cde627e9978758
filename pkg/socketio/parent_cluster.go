package socketio

import (
	"context"
	"fmt"
	"iter"
)

// parentError refuses what a parent, which has no sockets of its own, cannot do.
func parentError(what string) error { return fmt.Errorf("socketio: %s: %w", what, ErrParentNamespace) }

// Sockets yields ErrParentNamespace, as in Node: ask the Children.
func (b ParentBroadcast) Sockets(context.Context) iter.Seq2[*RemoteSocket, error] {
	return func(yield func(*RemoteSocket, error) bool) { yield(nil, parentError("sockets")) }
}

// Count returns ErrParentNamespace: ask the Children.
func (b ParentBroadcast) Count(context.Context) (int, error) { return 0, parentError("count") }

// Join does nothing, as in Node, and says so with ErrParentNamespace.
func (b ParentBroadcast) Join(context.Context, ...string) error { return parentError("join") }

// Leave does nothing, as in Node, and says so with ErrParentNamespace.
func (b ParentBroadcast) Leave(context.Context, ...string) error { return parentError("leave") }

// Disconnect does nothing, as in Node, and says so with ErrParentNamespace.
func (b ParentBroadcast) Disconnect(context.Context, bool) error { return parentError("disconnect") }

// EmitWithAck asks nobody, as in Node, and says so with ErrParentNamespace.
func (b ParentBroadcast) EmitWithAck(_ context.Context, event string, _ ...any) ([]Args, error) {
	return nil, parentError(fmt.Sprintf("broadcast %q with ack", event))
}

// Sockets yields ErrParentNamespace, as in Node: ask the Children.
func (p *ParentNamespace) Sockets(ctx context.Context) iter.Seq2[*RemoteSocket, error] {
	return p.To().Sockets(ctx)
}

// Count returns ErrParentNamespace: ask the Children.
func (p *ParentNamespace) Count(ctx context.Context) (int, error) { return p.To().Count(ctx) }

// Join does nothing, as in Node, and says so with ErrParentNamespace.
func (p *ParentNamespace) Join(ctx context.Context, rooms ...string) error {
	return p.To().Join(ctx, rooms...)
}

// Leave does nothing, as in Node, and says so with ErrParentNamespace.
func (p *ParentNamespace) Leave(ctx context.Context, rooms ...string) error {
	return p.To().Leave(ctx, rooms...)
}

// Disconnect does nothing, as in Node, and says so with ErrParentNamespace.
func (p *ParentNamespace) Disconnect(ctx context.Context, closeTransport bool) error {
	return p.To().Disconnect(ctx, closeTransport)
}

// EmitWithAck asks nobody, as in Node, and says so with ErrParentNamespace.
func (p *ParentNamespace) EmitWithAck(ctx context.Context, event string, args ...any) ([]Args, error) {
	return p.To().EmitWithAck(ctx, event, args...)
}
