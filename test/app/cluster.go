package main

import (
	"context"
	"encoding/json"
	"errors"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio"
)

// described is what the server tells of a socket of any node.
type described struct {
	ID    string          `json:"id"`
	Rooms []string        `json:"rooms"`
	Value json.RawMessage `json:"value"` // what "keep" kept
	Q     string          `json:"q"`
}

// clusterRoutes are the events that act on the whole cluster. Their acknowledgements begin with the error, or null.
func clusterRoutes(nsp namespace) {
	// sockets(target, ack)
	nsp.On("sockets", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		list, err := sockets(ctx, s, args)
		return answer(ctx, args, list, err)
	})
	// count(target, ack)
	nsp.On("count", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		var to target
		if err := args.Decode(&to); err != nil {
			return err
		}
		n, err := to.broadcast(s).Count(ctx)
		return answer(ctx, args, n, err)
	})
	// all join(target, rooms), all leave(target, rooms)
	for event, act := range map[string]func(socketio.Broadcast, context.Context, ...string) error{
		"all join": socketio.Broadcast.Join, "all leave": socketio.Broadcast.Leave,
	} {
		nsp.On(event, func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
			var (
				to    target
				rooms []string
			)
			if err := args.Decode(&to, &rooms); err != nil {
				return err
			}
			return act(to.broadcast(s), ctx, rooms...)
		})
	}
	// all disconnect(target, whole connection?)
	nsp.On("all disconnect", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		var (
			to    target
			whole bool
		)
		if err := args.Decode(&to, &whole); err != nil {
			return err
		}
		return to.broadcast(s).Disconnect(ctx, whole)
	})
	// nodes(ack): the names of the nodes; an empty one for each that has none.
	nsp.On("nodes", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		nodes, err := s.Namespace().Nodes(ctx)
		names := make([]string, len(nodes))
		for i, n := range nodes {
			names[i] = n.Name
		}
		return answer(ctx, args, names, err)
	})
	// tell servers(...arguments), ask servers(...arguments, ack): the other servers are told, or asked.
	nsp.On("tell servers", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		return s.Namespace().ServerSideEmit(ctx, "told", args)
	})
	nsp.On("ask servers", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		answers, err := s.Namespace().ServerSideEmitWithAck(ctx, "asked", args)
		first := make([]any, len(answers))
		for i, each := range answers {
			if err := each.Decode(&first[i]); err != nil {
				return err
			}
		}
		return answer(ctx, args, first, err)
	})
}

// serverRoutes are what other servers say.
func serverRoutes(nsp *socketio.Namespace, tag string) {
	nsp.OnServerSide("told", func(ctx context.Context, args socketio.Args) error {
		return nsp.Local().Emit(ctx, "told", tag, args)
	})
	nsp.OnServerSide("asked", func(ctx context.Context, args socketio.Args) error {
		return args.Ack(ctx, map[string]any{"server": tag, "args": rest(args, 0)})
	})
}

func sockets(ctx context.Context, s *socketio.Socket, args socketio.Args) ([]described, error) {
	var to target
	if err := args.Decode(&to); err != nil {
		return nil, err
	}
	list := []described{}
	for socket, err := range to.broadcast(s).Sockets(ctx) {
		if err != nil {
			return list, err
		}
		var data struct{ Value json.RawMessage }
		if err := socket.DecodeData(&data); err != nil {
			return list, err
		}
		list = append(list, described{socket.ID(), socket.Rooms(), data.Value, socket.Handshake().Query["q"]})
	}
	return list, nil
}

// answer acknowledges with an error, or null, and a value.
func answer(ctx context.Context, args socketio.Args, value any, err error) error {
	var (
		text   any
		silent *adapter.SilentNodesError
	)
	switch {
	case errors.As(err, &silent):
		text = silent.Error()
	case err != nil:
		text = err.Error()
	}
	return args.Ack(ctx, text, value)
}
