package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/chorus/pkg/adapter/redisadapter"
)

// emitCommand publishes one event to the clients of a cluster.
type emitCommand struct {
	Event     string   `arg:"" help:"Name of the event."`
	Arguments []string `arg:"" optional:"" help:"Its arguments, each of them JSON: 42, '\"text\"', '{\"a\":1}'."`

	Namespace string   `default:"/" help:"Namespace whose clients get it."`
	Room      []string `sep:"none" placeholder:"ROOM" help:"Only clients in this room, or in one of these if it is given again; a socket's id is a room."`
	Except    []string `sep:"none" placeholder:"ROOM" help:"But not clients in this room; may be given again."`
	Volatile  bool     `help:"Not to clients that are not ready for it."`
	Text      bool     `help:"The arguments are plain text and not JSON."`

	Adapter string        `default:"redis" enum:"redis,redis-streams" group:"Cluster" placeholder:"redis|redis-streams" help:"Adapter of the nodes."`
	Redis   redisConfig   `embed:"" prefix:"redis." group:"Cluster"`
	Timeout time.Duration `default:"5s" help:"How long it may take."`

	values []any `kong:"-"`
}

func (c *emitCommand) validate() error {
	if c.Event == "" || slices.Contains(reservedEvents, c.Event) {
		return fmt.Errorf("%q is not an event that a server can send", c.Event)
	}
	for i, text := range c.Arguments {
		switch {
		case c.Text:
			c.values = append(c.values, text)
		case json.Valid([]byte(text)):
			c.values = append(c.values, json.RawMessage(text))
		default:
			return fmt.Errorf("argument %d of the event: %q is no JSON: text is written '\"text\"', or give --text", i+1, text)
		}
	}
	if !c.Redis.given() {
		return invalidf("redis.url", "is needed to reach the nodes, or --redis.addrs")
	}
	if c.Timeout <= 0 {
		return invalidf("timeout", "must be positive, got %s", c.Timeout)
	}
	if strings.Contains(c.Namespace, "#") {
		return invalidf("namespace", "%q must not contain #", c.Namespace)
	}
	return c.Redis.validate()
}

// Run emits.
func (c *emitCommand) Run(p *process) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-p.signals:
			cancel()
		case <-done:
		}
	}()
	if err := c.emit(ctx); err != nil {
		settings := config{Redis: c.Redis}
		return errors.New(settings.hideSecrets(err.Error()))
	}
	return nil
}

func (c *emitCommand) emit(ctx context.Context) (err error) {
	settings := config{Redis: c.Redis}
	rdb, err := settings.redisClient()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rdb.Close()) }()
	o := &redisadapter.EmitterOptions{Prefix: c.Redis.Prefix}
	if c.Adapter == adapterStreams {
		o.Streams = c.Redis.streams()
	}
	emitter, err := redisadapter.NewEmitter(rdb, o)
	if err != nil {
		return err
	}
	to := emitter.Of(c.Namespace).To(c.Room...).Except(c.Except...)
	if c.Volatile {
		to = to.Volatile()
	}
	return to.Emit(ctx, c.Event, c.values...)
}
