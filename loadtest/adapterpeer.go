//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/redisadapter"
)

// adapterPeerCmd is one end of an adapter, without clients: what node/adapter.mjs is for Node.js.
type adapterPeerCmd struct {
	Mode     string  `arg:"" enum:"classic,sharded,streams"`
	Role     string  `arg:"" enum:"publish,receive"`
	Redis    string  `arg:""`
	Messages int     `arg:""`
	Rate     float64 `arg:""`
	Size     int     `arg:""`
}

// report is what a peer says, a line of JSON each.
type report struct {
	Ready    bool  `json:"ready"`
	Messages int   `json:"messages"`
	CPU      int64 `json:"cpu_us"`
}

// Events of the peers.
var (
	warmEvent    = []byte(`["warm"]`)
	messageEvent = []byte(`["message",`)
)

func (c *adapterPeerCmd) Run(ctx context.Context) error {
	options, err := redis.ParseURL(c.Redis)
	if err != nil {
		return err
	}
	rdb := redis.NewClient(options)
	common := redisadapter.Options{Logger: slog.New(slog.DiscardHandler)}
	var a adapter.Adapter
	switch c.Mode {
	case "classic":
		a = redisadapter.NewPubSub(rdb, &common)
	case "sharded":
		a = redisadapter.NewSharded(rdb, &redisadapter.ShardedOptions{Options: common})
	case "streams":
		a = redisadapter.NewStreams(rdb, &redisadapter.StreamsOptions{Options: common, MaxLen: 100_000})
	}
	local := &counter{want: c.Messages, ready: make(chan struct{}), done: make(chan struct{})}
	link, err := a.Join(ctx, "/", local)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	began := make(chan int64, 1)
	go func() { // ends with the process
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		began <- ownCPU()
	}()
	if c.Role == "receive" {
		<-local.ready
		if err := out.Encode(report{Ready: true}); err != nil {
			return err
		}
		start := <-began
		<-local.done
		err = out.Encode(report{Messages: c.Messages, CPU: ownCPU() - start})
	} else {
		var start int64
		if start, err = c.warmUp(ctx, link, began); err == nil {
			err = c.publish(ctx, link)
		}
		if err == nil {
			err = out.Encode(report{Messages: c.Messages, CPU: ownCPU() - start})
		}
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until nobody needs this end any more
	return err
}

// warmUp publishes until it is told to begin, and returns the CPU time by then.
func (c *adapterPeerCmd) warmUp(ctx context.Context, link adapter.Link, began <-chan int64) (int64, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case start := <-began:
			return start, nil
		case <-tick.C:
			// While the adapter connects there may be no room.
			_ = link.Publish(ctx, &adapter.Message{Packet: adapter.Packet{Data: warmEvent}})
		}
	}
}

func (c *adapterPeerCmd) publish(ctx context.Context, link adapter.Link) error {
	data := []byte(string(messageEvent) + `"` + strings.Repeat("x", c.Size) + `"]`)
	start := time.Now()
	for sent := 0; sent < c.Messages; time.Sleep(10 * time.Millisecond) {
		for due := min(c.Messages, int(time.Since(start).Seconds()*c.Rate)); sent < due; sent++ {
			if err := link.Publish(ctx, &adapter.Message{Packet: adapter.Packet{Data: data}}); err != nil {
				return fmt.Errorf("message %d: %w", sent, err)
			}
		}
	}
	return nil
}

// counter is a namespace that counts what it gets.
type counter struct {
	want  int
	first sync.Once
	ready chan struct{} // closed at the first message
	done  chan struct{} // closed at the last
	got   int
}

func (c *counter) Deliver(m *adapter.Message) {
	c.first.Do(func() { close(c.ready) })
	if strings.HasPrefix(string(m.Packet.Data), string(messageEvent)) {
		if c.got++; c.got == c.want {
			close(c.done)
		}
	}
}

func (c *counter) Answer(*adapter.Message, func(*adapter.Response)) {}
func (c *counter) HasRoom(string) bool                              { return false }

// ownCPU returns the CPU time of this process, in microseconds.
func ownCPU() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for the process itself
	return (u.Utime.Nano() + u.Stime.Nano()) / 1000
}
