//go:build linux

package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"example.com/chorus/pkg/socketio"
)

// roomServerCmd is a Chorus server whose clients may join rooms: what
// node/server.js is for Node.js.
type roomServerCmd struct {
	Addr string `default:"127.0.0.1:3000" help:"Where it listens (default: ${default})."`
}

// Run serves until ctx ends.
func (c *roomServerCmd) Run(ctx context.Context) error {
	l, err := net.Listen("tcp", c.Addr)
	if err != nil {
		return err
	}
	return serveRooms(ctx, l)
}

func serveRooms(ctx context.Context, l net.Listener) error {
	io, err := socketio.NewServer(&socketio.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	io.On(joinEvent, func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		var rooms []string
		if err := args.Decode(&rooms); err != nil {
			return err
		}
		if err := s.Join(ctx, rooms...); err != nil {
			return err
		}
		return args.Ack(ctx)
	})
	io.On(roomEvent, func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		var room string
		if err := args.Raw(1).Decode(&room); err != nil {
			return err
		}
		return io.To(room).Emit(ctx, roomEvent, args)
	})
	server := &http.Server{Handler: io, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	err = errors.Join(err, io.Shutdown(patience), server.Shutdown(patience))
	if ctx.Err() != nil {
		<-ended
	}
	return err
}
