// Command app is the server behind the tests with official clients: every part of the library that a client can
// see, under an event name each.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter/redisadapter"
	"example.com/chorus/pkg/socketio"
)

func main() {
	tag := flag.String("tag", "", "route tag")
	redisURL := flag.String("redis", "redis://127.0.0.1:6379", "URL of Redis")
	flag.Parse()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, log, *tag, *redisURL); err != nil {
		log.Error("failed", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, log *slog.Logger, tag, redisURL string) (err error) {
	options, err := redis.ParseURL(redisURL)
	if err != nil {
		return err
	}
	options.MaxRetries = -1
	rdb := redis.NewClient(options)
	defer func() { err = errors.Join(err, rdb.Close()) }()

	server, err := socketio.NewServer(&socketio.Options{
		RouteTag: tag,
		Adapter:  redisadapter.NewPubSub(rdb, &redisadapter.Options{Logger: log}),
		Logger:   log,
	})
	if err != nil {
		return err
	}
	routes(server.Of("/"))
	routes(server.Of("/other"))
	guarded(server.Of("/guarded"))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, shutdown(server))
	}
	web := &http.Server{Handler: server, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	log.Info("listening", "addr", listener.Addr().String())
	for server.Ready() != nil && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	log.Info("ready")
	select {
	case <-ctx.Done():
	case err = <-served:
	}
	return errors.Join(err, shutdown(server), web.Close())
}

func shutdown(server *socketio.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}

// target says to whom an event is sent.
type target struct {
	To       []string
	Except   []string
	Local    bool
	Volatile bool
	Sender   bool // the sender is left out
}

func (t target) broadcast(s *socketio.Socket) socketio.Broadcast {
	b := s.Namespace().To(t.To...)
	if t.Sender {
		b = s.To(t.To...)
	}
	b = b.Except(t.Except...)
	if t.Local {
		b = b.Local()
	}
	if t.Volatile {
		b = b.Volatile()
	}
	return b
}

// rest returns the arguments from the given one on, to be passed on unchanged.
func rest(args socketio.Args, from int) []any {
	var values []any
	for i := from; i < args.Len(); i++ {
		values = append(values, args.Raw(i))
	}
	return values
}

const (
	join  socketio.Call[[]string, []string] = "join"
	leave socketio.Call[[]string, []string] = "leave"
	rooms socketio.Call[any, []string]      = "rooms"
)

func routes(nsp *socketio.Namespace) {
	join.Handle(nsp, func(ctx context.Context, s *socketio.Socket, names []string) ([]string, error) {
		err := s.Join(ctx, names...)
		return s.Rooms(), err
	})
	leave.Handle(nsp, func(_ context.Context, s *socketio.Socket, names []string) ([]string, error) {
		s.Leave(names...)
		return s.Rooms(), nil
	})
	rooms.Handle(nsp, func(_ context.Context, s *socketio.Socket, _ any) ([]string, error) {
		return s.Rooms(), nil
	})
	// emit(target, event, ...arguments): a broadcast.
	nsp.On("emit", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		var (
			to    target
			event string
		)
		if err := args.Decode(&to, &event); err != nil {
			return err
		}
		return to.broadcast(s).Emit(ctx, event, rest(args, 2)...)
	})
	// echo(...arguments, ack): the acknowledgement carries the arguments.
	nsp.On("echo", func(ctx context.Context, _ *socketio.Socket, args socketio.Args) error {
		return args.Ack(ctx, args)
	})
	// again(event, ...arguments): the same to the sender alone.
	nsp.On("again", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		var event string
		if err := args.Decode(&event); err != nil {
			return err
		}
		return s.Emit(ctx, event, rest(args, 1)...)
	})
	// ask(...arguments, ack): the server asks the client "question" with them and acknowledges with its answer.
	nsp.On("ask", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		answer, err := s.EmitWithAck(ctx, "question", args)
		if errors.Is(err, context.DeadlineExceeded) {
			return args.Ack(ctx, "no answer")
		}
		if err != nil {
			return err
		}
		return args.Ack(ctx, answer)
	})
	nsp.On("panic", func(context.Context, *socketio.Socket, socketio.Args) error {
		panic("asked for")
	})
	nsp.On("fail", func(context.Context, *socketio.Socket, socketio.Args) error {
		return errors.New("asked for")
	})
	// disconnect(whole connection?)
	nsp.On("kick", func(_ context.Context, s *socketio.Socket, args socketio.Args) error {
		var whole bool
		if err := args.Decode(&whole); err != nil {
			return err
		}
		s.Disconnect(whole)
		return nil
	})
	nsp.OnDisconnecting(func(ctx context.Context, s *socketio.Socket, reason socketio.Reason) {
		_ = nsp.Emit(ctx, "leaving", s.ID(), reason, s.Rooms()) // at shutdown there is nobody to tell
	})
	nsp.OnDisconnect(func(ctx context.Context, s *socketio.Socket, reason socketio.Reason) {
		_ = nsp.Emit(ctx, "left", s.ID(), reason, len(s.Rooms()))
	})
}

// guarded admits who knows the word.
func guarded(nsp *socketio.Namespace) {
	nsp.Use(func(_ context.Context, s *socketio.Socket) error {
		var auth struct{ Word, Name string }
		if raw := s.Handshake().Auth; raw != nil {
			if err := json.Unmarshal(raw, &auth); err != nil {
				return err
			}
		}
		if auth.Word != "sesame" {
			return &socketio.ConnectError{Message: "not allowed", Data: map[string]any{"code": 401, "word": auth.Word}}
		}
		s.Set("name", auth.Name)
		return nil
	})
	nsp.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		name, _ := s.Get("name")
		return s.Emit(ctx, "welcome", name, s.Handshake().Query["q"])
	})
	routes(nsp)
}
