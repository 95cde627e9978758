//go:build linux

// Command loadtest drives Socket.IO servers with many WebSocket clients and
// reports what arrived, when, and what it cost the servers.
//
//	loadtest fanout   one message to every client, at a fixed rate
//	loadtest flood    messages to every client, as fast as the server relays them
//	loadtest rooms    one message to the members of a room, at a fixed rate
//	loadtest idle     connections that only answer heartbeats
//	loadtest connect  connections made at a rate
//	loadtest storm    connections that are cut at once and come back, beside others
//	loadtest drain    one of several nodes hands its clients over to the others
//	loadtest compare  Chorus beside Node's socket.io, interleaved runs
//	loadtest adapters the adapters of both alone: what a message between nodes costs
//
// It works against any server that relays the event "chat message" to all of
// its clients; rooms needs one that lets clients join, as loadtest room-server
// does, which is Chorus, and node/server.js. It needs Linux: clients are driven by epoll, and the cost of
// local servers is read from /proc.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type cli struct {
	Fanout  fanoutCmd  `cmd:"" help:"Send messages at a fixed rate, each to every client; report latency, loss and cost per delivery."`
	Flood   floodCmd   `cmd:"" help:"Keep messages under way, each to every client; report deliveries per second of server CPU."`
	Rooms   roomsCmd   `cmd:"" help:"Send messages at a fixed rate, each to the members of one room; report the cost beside idle rooms."`
	Idle    idleCmd    `cmd:"" help:"Hold connections that only answer heartbeats; report memory per connection and cost per ping."`
	Connect connectCmd `cmd:"" help:"Connect clients at a rate, or as fast as it goes; report the time that it takes and its cost."`
	Storm   stormCmd   `cmd:"" help:"Cut many connections at once, whose clients come back; report how, and what it did to the others."`
	Drain   drainCmd   `cmd:"" help:"Drain one of several nodes; report how its clients come back, and what it did to the others."`
	Compare compareCmd `cmd:"" help:"Run Chorus and Node's socket.io in turn; print medians, spread and ratios."`

	RoomServer  roomServerCmd  `cmd:"" hidden:"" help:"The server under test for rooms."`
	Adapters    adaptersCmd    `cmd:"" help:"Send messages between two nodes without clients, Chorus and Node's adapters in turn; print what a message costs."`
	AdapterPeer adapterPeerCmd `cmd:"" hidden:""`
}

// errFaults reports that the run ended but the servers made mistakes, which
// are in the printed result.
var errFaults = errors.New("messages or connections were lost, damaged, duplicated or reordered")

func main() { os.Exit(run(os.Args[1:])) }

// run returns the exit code: 0 good, 1 a failed run or a run with faults,
// 2 wrong usage.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c cli
	parser, err := kong.New(&c, kong.Name("loadtest"),
		kong.Description("Load test for Socket.IO servers over WebSocket."),
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		return 2
	}
	command, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		return 2
	}
	if err := command.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		return 1
	}
	return 0
}
