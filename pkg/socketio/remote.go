package socketio

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"example.com/chorus/pkg/adapter"
)

// RemoteSocket is a socket of any node, as Broadcast.Sockets found it: its rooms and data are those of that moment. What
// is sent to it goes to the socket wherever it is, and to nobody once it has disconnected. All methods are safe for
// concurrent use.
type RemoteSocket struct {
	nsp       *Namespace
	local     *Socket // nil: of another node
	described adapter.Socket
}

// newRemoteSocket describes a socket of this node.
func newRemoteSocket(n *Namespace, s *Socket) *RemoteSocket {
	return &RemoteSocket{nsp: n, local: s, described: adapter.Socket{ID: s.id, Rooms: s.Rooms(), Data: s.encodeData()}}
}

var (
	_ Emitter = (*RemoteSocket)(nil)
	_ Asker   = (*RemoteSocket)(nil)
)

// ID returns the public id of the socket, which is also the name of a room that it is in.
func (r *RemoteSocket) ID() string { return r.described.ID }

// Local returns the socket itself if it is one of this node.
func (r *RemoteSocket) Local() (s *Socket, ok bool) { return r.local, r.local != nil }

// Rooms returns the rooms that the socket was in, its own id among them.
func (r *RemoteSocket) Rooms() []string { return slices.Clone(r.described.Rooms) }

// Handshake returns how the client came. RemoteAddr is the address alone, without a port, and the header has Host. Fields
// that a node did not send, or not as Node does, are empty.
func (r *RemoteSocket) Handshake() Handshake {
	raw := r.described.Handshake
	if r.local != nil {
		raw = encodeHandshake(r.local)
	}
	return decodeHandshake(raw)
}

// Data returns what Socket.Set kept, or on a Node server socket.data, as a JSON object. Values that cannot be written
// as JSON are not in it; the node of the socket logs their keys.
func (r *RemoteSocket) Data() json.RawMessage { return slices.Clone(r.described.Data) }

// DecodeData decodes Data as encoding/json does.
func (r *RemoteSocket) DecodeData(dst any) error {
	if len(r.described.Data) == 0 {
		return nil
	}
	if err := json.Unmarshal(r.described.Data, dst); err != nil {
		return fmt.Errorf("socketio: data of socket %s: %w", r.described.ID, err)
	}
	return nil
}

func (r *RemoteSocket) broadcast() Broadcast { return Broadcast{nsp: r.nsp}.To(r.described.ID) }

// Emit sends an event to the client as Broadcast.Emit does: that it is gone is no error.
func (r *RemoteSocket) Emit(ctx context.Context, event string, args ...any) error {
	return r.broadcast().Emit(ctx, event, args...)
}

// Send emits the event "message".
func (r *RemoteSocket) Send(ctx context.Context, args ...any) error {
	return r.Emit(ctx, "message", args...)
}

// EmitWithAck sends an event to the client and waits for its acknowledgement, whose arguments it returns. The wait ends
// with ctx, or after Options.AckTimeout if ctx has no deadline. A socket that no node knows any more is ErrDisconnected; one
// that did not answer a *MissingAcksError; a *adapter.SilentNodesError tells that its node may be one of those.
func (r *RemoteSocket) EmitWithAck(ctx context.Context, event string, args ...any) (Args, error) {
	ctx, cancel := r.nsp.ackDeadline(ctx)
	defer cancel()
	answers, err := r.broadcast().emitWithAck(ctx, event, args, true)
	if err == nil && len(answers) == 0 {
		err = ErrDisconnected
	}
	if err != nil {
		return Args{}, fmt.Errorf("socketio: emit %q with ack: %w", event, err)
	}
	return answers[0], nil
}

// Join lets the socket enter rooms; see Broadcast.Join.
func (r *RemoteSocket) Join(ctx context.Context, rooms ...string) error {
	return r.broadcast().Join(ctx, rooms...)
}

// Leave lets the socket leave rooms; see Broadcast.Leave.
func (r *RemoteSocket) Leave(ctx context.Context, rooms ...string) error {
	return r.broadcast().Leave(ctx, rooms...)
}

// Disconnect takes the client out of the namespace, or with closeTransport off its connection; see Socket.Disconnect.
func (r *RemoteSocket) Disconnect(ctx context.Context, closeTransport bool) error {
	return r.broadcast().Disconnect(ctx, closeTransport)
}
