package redisadapter

import (
	"fmt"
	"log/slog"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// Options are the choices of an adapter. Nil and the zero value work.
type Options struct {
	// Prefix of all channels, called key in Node's adapter. Default "socket.io".
	Prefix string
	// PublishQueue and PublishQueueBytes bound the messages that wait to be published. An empty queue takes one
	// message of any size. Defaults 8192 messages and 16 MiB.
	PublishQueue      int
	PublishQueueBytes int
	// PublishBatch is the number of messages that go to Redis together at most. Default 256.
	PublishBatch int
	// ReceiveQueue bounds the messages of each namespace that were received and not yet delivered; when it is
	// full the adapter stops to read. They may hold 16 MiB together. Default 4096 messages.
	ReceiveQueue int
	// MaxAttachments is the number of binary values in one message, in both directions: the receivers of every node
	// must be able to take it. Default 10; it goes with the server's option of the same name.
	MaxAttachments int
	// Watchdog is how long Redis may be silent, although it is asked each second, before a connection is
	// closed and made anew. It is also the limit of one dial and of one publication. A process that itself stood still
	// first reads what came meanwhile. Default 3 s, at least 2 s.
	Watchdog time.Duration
	// Subscription is how the channels of rooms are heard. Default SubscribeRooms.
	Subscription Subscription
	// PublishOnSpecificResponseChannel sends answers on a channel that only the asking node listens to, as the option of
	// the same name of Node's adapter does. Nodes older than redis-adapter 8 may listen only on the general one. Chorus
	// nodes answer each other on the specific channel always. Default false.
	PublishOnSpecificResponseChannel bool
	// Node is what the other nodes are told about this one: Name, Tag and Address. The adapter fills in ID.
	Node adapter.Node
	// RequestTimeout is how long a request waits for the answers of other nodes at most. Default 5 s.
	RequestTimeout time.Duration
	// HeartbeatInterval is the time between two signs of life, and HeartbeatLapse that after which a silent node is taken
	// for lost; it must be at least three intervals, and should be the same on all nodes. Defaults 1 s and 3 s.
	HeartbeatInterval time.Duration
	HeartbeatLapse    time.Duration
	// Logger hears about lost and regained connections and about messages that were given up. Default
	// slog.Default().
	Logger *slog.Logger
}

// Subscription says how the channels of rooms are heard.
type Subscription int

const (
	// SubscribeRooms subscribes to the channels of the rooms that have members here: a node reads only what it needs.
	SubscribeRooms Subscription = iota
	// SubscribePattern subscribes to all rooms of a namespace with one pattern, as Node does: rooms that come and go cost
	// nothing, but the node reads what is sent to the rooms of all nodes.
	SubscribePattern
)

const (
	pingInterval      = time.Second
	receiveQueueBytes = 16 << 20
	batchBytes        = 1 << 20 // a batch ends when it holds more
)

// withDefaults returns a copy of o without zero values.
func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Prefix == "" {
		c.Prefix = "socket.io"
	}
	for _, n := range []struct {
		name     string
		value    *int
		standard int
	}{
		{"PublishQueue", &c.PublishQueue, 8192},
		{"PublishQueueBytes", &c.PublishQueueBytes, 16 << 20},
		{"PublishBatch", &c.PublishBatch, 256},
		{"ReceiveQueue", &c.ReceiveQueue, 4096},
		{"MaxAttachments", &c.MaxAttachments, parser.MaxAttachments},
	} {
		if *n.value == 0 {
			*n.value = n.standard
		}
		if *n.value < 0 {
			return c, fmt.Errorf("redisadapter: option %s is %d, must be positive", n.name, *n.value)
		}
	}
	if c.Watchdog == 0 {
		c.Watchdog = 3 * time.Second
	}
	if c.Watchdog < 2*pingInterval {
		return c, fmt.Errorf("redisadapter: option Watchdog is %v, must be at least %v", c.Watchdog, 2*pingInterval)
	}
	if c.Subscription != SubscribeRooms && c.Subscription != SubscribePattern {
		return c, fmt.Errorf("redisadapter: option Subscription is %d, must be SubscribeRooms or SubscribePattern", c.Subscription)
	}
	for _, d := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"RequestTimeout", &c.RequestTimeout, 5 * time.Second},
		{"HeartbeatInterval", &c.HeartbeatInterval, time.Second},
		{"HeartbeatLapse", &c.HeartbeatLapse, 3 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.standard
		}
		if *d.value < 0 {
			return c, fmt.Errorf("redisadapter: option %s is %v, must be positive", d.name, *d.value)
		}
	}
	if c.HeartbeatLapse < 3*c.HeartbeatInterval {
		return c, fmt.Errorf("redisadapter: option HeartbeatLapse is %v, must be at least three times the HeartbeatInterval of %v",
			c.HeartbeatLapse, c.HeartbeatInterval)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, nil
}

// limits bound the packets of messages.
func (o *Options) limits() parser.Limits { return parser.Limits{MaxAttachments: o.MaxAttachments} }
