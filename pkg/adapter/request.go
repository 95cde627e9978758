package adapter

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// Requester is an optional interface of a Link that carries requests to the other nodes, and their responses back.
type Requester interface {
	// Request sends m and calls response for what the other nodes answer, one call at a time, until all that must
	// answer have. It returns nil then, and at once when there are no other nodes; when ctx or the adapter's own
	// limit ends first, or a node is lost meanwhile, a *SilentNodesError after everyone else has answered.
	// No call of response comes after the return. What must come depends on the kind:
	//
	//   - Fetch: one response of each node, with Sockets
	//   - Count: one response of each node, with Count
	//   - ServerSideEmit: one response of each node, with Packet
	//   - Broadcast: one response of each node with Count, the sockets that were asked, and as many with Packet
	//
	// The kinds without answers are sent with Publish.
	Request(ctx context.Context, m *Message, response func(*Response)) error
	// Nodes returns the nodes that are alive and take part in the namespace, this one first. Servers that do not
	// tell their name, such as Node's, are at the end, with empty fields.
	Nodes(ctx context.Context) ([]Node, error)
}

// Response is what a node answers to a request, or a part of it.
type Response struct {
	Sockets []Socket // Fetch
	Count   int      // Count, Broadcast
	Packet  *Packet  // ServerSideEmit, Broadcast: the values of an acknowledgement
}

// Socket describes a socket of a node.
type Socket struct {
	ID        string          `json:"id"`
	Handshake json.RawMessage `json:"handshake"` // an object with the fields of Node's handshake
	Rooms     []string        `json:"rooms"`
	Data      json.RawMessage `json:"data"`
}

// Node describes a server of the cluster.
type Node struct {
	// ID tells nodes apart; it is new with each start. The adapter chooses it.
	ID string `json:"uid"`
	// Name is how operators call the node.
	Name string `json:"name,omitempty"`
	// Tag stands in front of the ids of the node's sessions.
	Tag string `json:"tag,omitempty"`
	// Address is where other nodes reach the node's internal listener, host and port; empty if they cannot.
	Address string `json:"address,omitempty"`
	// Draining tells that the node takes no new clients and is about to stop, see Drainer.
	Draining bool `json:"draining,omitempty"`
}

// String returns the name, or else the id.
func (n Node) String() string {
	if n.Name != "" {
		return n.Name
	}
	return n.ID
}

// Member is an optional interface of an Adapter that knows the other nodes by name.
type Member interface {
	// Members returns the other nodes that are alive, without asking anyone. Servers that do not tell their name are
	// not among them.
	Members() []Node
	// OnMembership adds a function that is called after each change of Members. It must return quickly and must not
	// call the adapter.
	OnMembership(f func(members []Node))
}

// Drainer is an optional interface of an Adapter that tells the other nodes when this one takes no new clients any more:
// a node that drains leaves its clients to those that do not.
type Drainer interface {
	// Drain makes Node.Draining of this node true for the others, for good. It does not wait for them to hear it, and may
	// be called again.
	Drain()
}

// SilentNodesError tells that nodes which must answer a request did not. What the others answered is valid.
type SilentNodesError struct {
	Nodes   []Node // those that are known by name
	Unnamed int    // others: subscribers that no known node accounts for
	Cause   error  // why nobody waits any longer
}

// Error names the silent nodes.
func (e *SilentNodesError) Error() string {
	names := make([]string, len(e.Nodes), len(e.Nodes)+1)
	for i, n := range e.Nodes {
		names[i] = n.String()
	}
	if e.Unnamed > 0 {
		names = append(names, fmt.Sprintf("%d unnamed", e.Unnamed))
	}
	return fmt.Sprintf("no answer of %d nodes (%s): %v", len(e.Nodes)+e.Unnamed, strings.Join(names, ", "), e.Cause)
}

// Unwrap returns the cause.
func (e *SilentNodesError) Unwrap() error { return e.Cause }
