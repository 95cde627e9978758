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

// roomServerCmd is a Chorus server with the events of node/server.js: besides
// that of chorus serve, those for rooms.
type roomServerCmd struct {
	Addr         string        `default:"127.0.0.1:3000" help:"Where it listens (default: ${default})."`
	PingInterval time.Duration `default:"25s" help:"Time between two pings of a client (default: ${default})."`
}

// Run serves until ctx ends.
func (c *roomServerCmd) Run(ctx context.Context) error {
	l, err := net.Listen("tcp", c.Addr)
	if err != nil {
		return err
	}
	return serveRooms(ctx, l, c.PingInterval)
}

func serveRooms(ctx context.Context, l net.Listener, ping time.Duration) error {
	io, err := socketio.NewServer(&socketio.Options{PingInterval: ping, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	io.On(defaultEvent, func(ctx context.Context, _ *socketio.Socket, args socketio.Args) error {
		return io.Emit(ctx, defaultEvent, args)
	})
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
