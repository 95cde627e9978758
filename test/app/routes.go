package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio"
)

// target says to whom an event is sent.
type target struct {
	To           []string
	Except       []string
	Local        bool
	Volatile     bool
	Uncompressed bool
	Sender       bool // the sender is left out
	Timeout      int  // ms, of acknowledgements; default 2000
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
	if t.Uncompressed {
		b = b.Compress(false)
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

// namespace is one, or the parent of many.
type namespace interface {
	socketio.Registrar
	Use(m func(ctx context.Context, s *socketio.Socket) error)
	OnConnect(h func(ctx context.Context, s *socketio.Socket) error)
	OnDisconnecting(h func(ctx context.Context, s *socketio.Socket, reason socketio.Reason))
	OnDisconnect(h func(ctx context.Context, s *socketio.Socket, reason socketio.Reason))
}

// state is what the server knows about a socket.
type state struct {
	ID        string   `json:"id"`
	Rooms     []string `json:"rooms"`
	Value     any      `json:"value"` // what "keep" kept
	Recovered bool     `json:"recovered"`
	Transport string   `json:"transport"`
	EIO       string   `json:"EIO"`
	Q         string   `json:"q"`
}

func routes(nsp namespace) {
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
	// message(...arguments): the same back by Send.
	nsp.On("message", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		return s.Send(ctx, args)
	})
	// poll(target, ...arguments, ack): the server asks all of them; the acknowledgement carries the first value of each
	// answer, whether answers are missing, and why.
	nsp.On("poll", poll)
	// keep(value, ack) keeps a value with the socket.
	nsp.On("keep", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		s.Set("value", json.RawMessage(args.Clone().Raw(0).JSON()))
		return args.Ack(ctx)
	})
	nsp.On("state", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
		value, _ := s.Get("value")
		query := s.Handshake().Query
		return args.Ack(ctx, state{s.ID(), s.Rooms(), value, s.Recovered(), s.Transport(), query["EIO"], query["q"]})
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
		_ = s.Namespace().Emit(ctx, "leaving", s.ID(), reason, s.Rooms()) // at shutdown there is nobody to tell
	})
	nsp.OnDisconnect(func(ctx context.Context, s *socketio.Socket, reason socketio.Reason) {
		_ = s.Namespace().Emit(ctx, "left", s.ID(), reason, len(s.Rooms()))
	})
}

func poll(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
	to := target{Timeout: 2000}
	if err := args.Decode(&to); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(to.Timeout)*time.Millisecond)
	defer cancel()
	answers, err := to.broadcast(s).EmitWithAck(ctx, "question", rest(args, 1)...)
	var (
		missing *socketio.MissingAcksError
		silent  *adapter.SilentNodesError
		why     any
	)
	if err != nil {
		if !errors.As(err, &missing) && !errors.As(err, &silent) {
			return err
		}
		why = err.Error()
	}
	first := make([]any, len(answers))
	for i, answer := range answers {
		if answer.Len() == 0 {
			continue
		}
		if err := answer.Decode(&first[i]); err != nil {
			return err
		}
	}
	return args.Ack(ctx, first, err != nil, why)
}

// auth is what clients present to namespaces that are not open to all.
type auth struct{ Word, Name string }

// guard admits who knows the word.
func guard(h socketio.Handshake) error {
	var auth auth
	if h.Auth != nil {
		if err := h.DecodeAuth(&auth); err != nil {
			return err
		}
	}
	if auth.Word != "sesame" {
		return &socketio.ConnectError{Message: "not allowed", Data: map[string]any{"code": 401, "word": auth.Word}}
	}
	return nil
}

func guarded(nsp *socketio.Namespace) {
	nsp.Use(func(_ context.Context, s *socketio.Socket) error { return guard(s.Handshake()) })
	nsp.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
		var auth auth
		if err := s.Handshake().DecodeAuth(&auth); err != nil {
			return err
		}
		return s.Emit(ctx, "welcome", auth.Name, s.Handshake().Query["q"])
	})
	routes(nsp)
}
