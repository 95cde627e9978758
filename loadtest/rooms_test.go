//go:build linux

package main

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// startRoomServer runs the Chorus server under test in this process.
func startRoomServer(t *testing.T) target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serveRooms(ctx, l, 0) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serveRooms = %v", err)
		}
	})
	return target{l.Addr().String(), "/socket.io/"}
}

func testRooms(idle int) roomsPlan {
	return roomsPlan{sending: testPlan().sending, members: 3, idleRooms: idle, rate: 200}
}

// Members hear all of their room and nothing of others, whatever idle rooms there are beside.
func TestRooms(t *testing.T) {
	set := testSetting(t)
	set.targets, set.clients = []target{startRoomServer(t)}, 12
	for _, idle := range []int{0, 30_000} {
		got, err := runRooms(t.Context(), set, testRooms(idle))
		if err != nil {
			t.Fatal(err)
		}
		if got.faults() || got.Sent != 60 || got.Delivered != 180 || got.Senders != 4 {
			t.Errorf("result = %+v, want 60 messages of 4 senders, each to 3 members", got)
		}
		if got.EmitMicros <= 0 || *got.IdleRooms != idle || got.Own == nil {
			t.Errorf("CPU of a message, idle rooms, latency = %v, %d, %v, want figures and %d", got.EmitMicros, *got.IdleRooms, got.Own, idle)
		}
	}
}

func TestRoomsNeedAServerWithRooms(t *testing.T) {
	set := testSetting(t, startRelay(t, &relay{}))
	set.timeout = 500 * time.Millisecond
	_, err := runRooms(t.Context(), set, testRooms(0))
	if err == nil || !strings.Contains(err.Error(), `"join"`) {
		t.Errorf("runRooms = %v, want an error that names the event", err)
	}
}

// A message that leaks out of its room is a fault, and so is one of a sender that does not exist.
func TestStray(t *testing.T) {
	codec, err := newCodec(roomEvent, 1, 100, true)
	if err != nil {
		t.Fatal(err)
	}
	c := loneClient(codec)
	c.swarm.crowd = crowd{clients: 4, senders: 2, members: 2}
	c.first = 1
	c.swarm.clients = slices.Repeat([]*client{c}, 4)
	for sender := range 3 {
		c.event(codec.appendPacket(nil, message{sender: sender}), 1)
	}
	if n := c.swarm.total(); n.strayed != 1 || n.delivered != 1 || n.damaged != 1 {
		t.Errorf("strayed, delivered, damaged = %d, %d, %d, want 1 each", n.strayed, n.delivered, n.damaged)
	}
	if r := (&trafficResult{Strayed: 1}); !r.faults() {
		t.Error("a stray is no fault")
	}
}
