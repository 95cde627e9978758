package socketio_test

import (
	"context"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/chorus/pkg/socketio"
)

type chatMessage struct {
	Room string   `json:"room"`
	Text string   `json:"text"`
	User int      `json:"user"`
	Tags []string `json:"tags"`
}

const chatData = `["chat message",{"room":"general","text":"Hello, everybody! How are you today? <b>fine</b>","user":12345,"tags":["a","b"]}]`

// BenchmarkEncode is an Emit that nobody receives: all that a broadcast costs once.
func BenchmarkEncode(b *testing.B) {
	server, _ := start(b, nil)
	ctx := context.Background()
	b.Run("raw", func(b *testing.B) {
		args := socketio.EventArgs([]byte(chatData))
		b.ReportAllocs()
		for b.Loop() {
			if err := server.Emit(ctx, "chat message", args); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("struct", func(b *testing.B) {
		v := chatMessage{"general", "Hello, everybody! How are you today? <b>fine</b>", 12345, []string{"a", "b"}}
		b.ReportAllocs()
		for b.Loop() {
			if err := server.Emit(ctx, "chat message", v); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkEcho is an event and its acknowledgement over a loopback WebSocket, both ends included.
func BenchmarkEcho(b *testing.B) {
	server, p, _ := connected(b)
	server.On("echo", func(ctx context.Context, _ *socketio.Socket, args socketio.Args) error {
		return args.Ack(ctx, args)
	})
	b.ReportAllocs()
	for b.Loop() {
		p.send(`421["echo",{"a":[1,2,3]}]`)
		p.expect(`431[{"a":[1,2,3]}]`)
	}
}

// BenchmarkDispatch is the way of one event from the reader to its handler: decoding included, the inbox and its
// worker too, without the network.
func BenchmarkDispatch(b *testing.B) {
	server, _, s := connected(b)
	const typed socketio.Event[chatMessage] = "typed"
	handled := make(chan struct{}, 1)
	typed.Handle(server, func(context.Context, *socketio.Socket, chatMessage) error { handled <- struct{}{}; return nil })
	server.On("dynamic", func(context.Context, *socketio.Socket, socketio.Args) error { handled <- struct{}{}; return nil })
	for _, event := range []string{"dynamic", "typed"} {
		b.Run(event, func(b *testing.B) {
			packet := []byte(strings.Replace(`2`+chatData, "chat message", event, 1))
			b.ReportAllocs()
			for b.Loop() {
				socketio.Receive(s, packet)
				<-handled
			}
		})
	}
}

// BenchmarkAck is the server's half of a question to a client: the event is written and queued, the answer decoded and
// given to who waits. The client's half and the network are in BenchmarkEcho.
func BenchmarkAck(b *testing.B) {
	_, p, s := connected(b)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, p.ws.NetConn())
	}()
	answer := make([]byte, 0, 64)
	id := uint64(0)
	s.OnAnyOutgoing(func(context.Context, string, socketio.Args) { // when the question is queued
		answer = strconv.AppendUint(append(answer[:0], "3"...), id, 10)
		answer = append(answer, `["blue"]`...)
		socketio.Receive(s, answer)
		id++
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.EmitWithAck(ctx, "color?", 1); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	p.ws.Close()
	<-drained
}

// A relayed broadcast allocates its frame, the buffer in it and the message for the adapter, however large the
// payload: nothing per value, nothing per receiver.
func TestRelayAllocations(t *testing.T) {
	server, _ := start(t, nil)
	args := socketio.EventArgs([]byte(chatData))
	ctx := context.Background()
	n := testing.AllocsPerRun(200, func() {
		if err := server.Emit(ctx, "chat message", args); err != nil {
			t.Fatal(err)
		}
	})
	if limit := 6.0; n > limit {
		t.Errorf("Emit of received arguments allocates %v times, want at most %v", n, limit)
	}
}
