// Package adapter is the contract between a Socket.IO server and the line to the other nodes of its cluster.
//
// The server owns rooms and local delivery. An adapter only carries messages to the other nodes and hands
// what they sent to the local namespace. NewMemory is the adapter of a server that is alone.
package adapter

import (
	"context"
	"time"
)

// Adapter is the line of one server to its cluster. All methods are safe for concurrent use.
type Adapter interface {
	// Join connects a namespace and returns its link. It does no I/O that can wait: an adapter whose broker is
	// away connects in the background. It fails only when no link can ever work, such as after Close.
	Join(ctx context.Context, namespace string, local Local) (Link, error)
	// Close ends all links, flushes what is queued within ctx, and ends every goroutine of the adapter.
	Close(ctx context.Context) error
}

// Link is the line of one namespace. All methods are safe for concurrent use.
type Link interface {
	// Publish sends a message to the other nodes. It returns when the message is queued, a later failure is
	// counted and reported through Trace; it waits while the queue is full, at most until ctx ends: not at
	// all when ctx has ended before. The message's packet may be shared with local sockets: the link must not change it and may keep it.
	// Messages of one goroutine arrive in their order.
	Publish(ctx context.Context, m *Message) error
	// Leave ends the link: no Local method is called after it returned.
	Leave(ctx context.Context) error
}

// Local is what a namespace offers to its link; the server implements it. Its methods never block and may be
// called from any goroutine, but a link must call Deliver for one namespace in the order of arrival.
type Local interface {
	// Deliver hands over a message of another node that wants no answer. The message and its bytes belong to the
	// callee.
	Deliver(m *Message)
	// Answer hands over a request of another node: a Broadcast, ServerSideEmit, Fetch or Count whose sender waits for
	// responses. The callee calls respond, from any goroutine and also after Answer returned, as Requester says
	// for the kind; it may be called until the link is left, and what is responded later is ignored. respond does not
	// wait, since it is called by those who read from clients: what the link cannot queue is lost, and counted. The
	// message belongs to the callee, the response to the link.
	Answer(m *Message, respond func(*Response))
	// HasRoom reports whether a socket of this node is in the room. A socket's own id is a room.
	HasRoom(room string) bool
}

// RoomFollower is an optional interface of a Link that listens to the channels of single rooms.
//
// The calls are hints that a room became non-empty or empty here. They are made without a lock, so the one of
// an older change may come after that of a newer one: a link must ask Local.HasRoom, whose answer is always
// the newest, before it stops to follow. HasRoom is true before FollowRoom is called.
type RoomFollower interface {
	// FollowRoom returns when the room's channel is confirmed, or at once while the broker is away; then the
	// channel is followed at reconnection.
	FollowRoom(ctx context.Context, room string) error
	// FollowRoomSoon is FollowRoom without the waiting.
	FollowRoomSoon(room string)
	// UnfollowRoom does not wait.
	UnfollowRoom(room string)
}

// Kind says what a message asks of the nodes that get it.
type Kind uint8

// The kinds. Join, Leave and Disconnect act on the sockets that Rooms and Except select, as a broadcast reaches them.
const (
	Broadcast      Kind = iota // Packet goes to the selected sockets
	Join                       // the selected sockets enter Targets
	Leave                      // the selected sockets leave Targets
	Disconnect                 // the selected sockets are disconnected, with Close the whole connection
	ServerSideEmit             // Packet goes to the application on each other node
	Fetch                      // only as a request: describe the selected sockets
	Count                      // only as a request: how many sockets are selected
)

// Message is one message on its way between nodes. The zero Kind is a broadcast.
type Message struct {
	Kind    Kind
	Packet  Packet   // Broadcast, ServerSideEmit
	Rooms   []string // receivers; none means the whole namespace
	Except  []string // rooms whose members are left out
	Targets []string // Join, Leave
	Close   bool     // Disconnect
	Flags   Flags
	Sent    time.Time     // when it was emitted, by the sender's clock; zero if the sender did not say
	Timeout time.Duration // of a request: how long the sender waits; zero if it did not say
}

// Packet is an event as it stands on the wire (Socket.IO protocol 5, packet types EVENT and BINARY_EVENT). In a
// Response it is the values of an acknowledgement.
type Packet struct {
	// Data is the JSON text of the array whose first element is the event's name.
	Data []byte
	// Attachments are the binary values; Data holds {"_placeholder":true,"num":i} in the place of number i. Where
	// there are none, such an object in Data is plain data.
	Attachments [][]byte
}

// Flags are the choices of the emitter that receivers must honour.
type Flags struct {
	Volatile     bool // may be dropped for a receiver that is not ready
	Uncompressed bool // is not compressed where a connection could
}

// Lone is an optional interface of an Adapter: whether there are no other nodes, so that what this server knows is all
// there is to know.
type Lone interface {
	Lone() bool
}

// Status is an optional interface of an Adapter: whether its broker can be reached.
type Status interface {
	// Ready returns nil when messages can be sent and received: the broker answers and the first subscriptions
	// are confirmed. Otherwise the error says what is missing.
	Ready() error
}

// Counted is an optional interface of an Adapter whose figures appear in the statistics of the server.
type Counted interface {
	Stats() Stats
}

// Traced is an optional interface of an Adapter that reports single happenings.
type Traced interface {
	// AddTrace adds t to those who are told. It may be called at any time.
	AddTrace(t *Trace)
}
