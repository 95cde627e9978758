package node

import (
	"context"
	"errors"
	"log/slog"

	"example.com/chorus/pkg/socketio"
)

// registerChat makes the namespace a chat: what one client sends as one of the events reaches everyone in the
// namespace on every node, the sender included, with all its arguments unchanged.
func registerChat(nsp *socketio.Namespace, events []string, log *slog.Logger) {
	nsp.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		log.InfoContext(ctx, "user connected", "socket", s.ID(), "transport", s.Transport())
		return nil
	})
	nsp.OnDisconnect(func(ctx context.Context, s *socketio.Socket, reason socketio.Reason) {
		log.InfoContext(ctx, "user disconnected", "socket", s.ID(), "reason", string(reason))
	})
	for _, event := range events {
		nsp.On(event, func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
			logEvent(ctx, log, event, s, args)
			err := nsp.Emit(ctx, event, args)
			// Whatever became of the line to the other nodes, this node's clients have it: one with the option "retries",
			// which sends again until it hears this, must not make them hear it again.
			if args.WantsAck() {
				err = errors.Join(err, args.Ack(ctx))
			}
			return err
		})
	}
}

// logEvent logs who sent how much; the text only at debug, because it is nobody's business.
func logEvent(ctx context.Context, log *slog.Logger, event string, s *socketio.Socket, args socketio.Args) {
	if log.Enabled(ctx, slog.LevelDebug) && args.Len() > 0 {
		log.DebugContext(ctx, event, "socket", s.ID(), "text", string(args.Raw(0).JSON()))
	}
	if log.Enabled(ctx, slog.LevelInfo) {
		log.InfoContext(ctx, event, "socket", s.ID(), "arguments", args.Len(), "bytes", args.Size())
	}
}
