package redisadapter

import (
	"errors"
	"fmt"
	"time"

	"example.com/chorus/pkg/adapter"
)

// The messages of Node's ClusterAdapter (socket.io-adapter 2.5), which the sharded and the streams adapter exchange. A
// message is the object
//
//	{type: 3, data: {...}, uid: 16 hexadecimal digits, nsp: namespace}
//
// as JSON text, or as MessagePack when there is binary data in it. Chorus adds what Node does not look at: t behind
// nsp, the microseconds since 1970 when it was emitted, and count in a request that asks only for the number of
// sockets and in its answer. A Node server answers such a request like any fetch, with the sockets themselves.

// clusterType is the type of a message.
type clusterType uint8

const (
	clusterInitialHeartbeat clusterType = iota + 1
	clusterHeartbeat
	clusterBroadcast // with a request id every node answers with one ClientCount, then an Ack for each client
	clusterJoin
	clusterLeave
	clusterDisconnect
	clusterFetch
	clusterFetchResponse
	clusterServerSideEmit // with a request id every node answers
	clusterServerSideEmitResponse
	clusterClientCount
	clusterAck
	clusterClose
)

// isResponse reports whether a message of this type answers a request.
func (t clusterType) isResponse() bool {
	switch t {
	case clusterFetchResponse, clusterServerSideEmitResponse, clusterClientCount, clusterAck:
		return true
	}
	return false
}

// emitterUID is the uid of programs that only publish and are no servers.
const emitterUID = "emitter"

// maxClusterID bounds the uids and request ids that are read; ours and Node's have 16 characters.
const maxClusterID = 64

// clusterMessage is a message between nodes. Those of the types 1, 2 and 13 say no more than who lives.
type clusterMessage struct {
	kind      clusterType
	uid       string // of the sender
	namespace string
	// request is the id of a request whose sender waits for answers, or of the request that is answered.
	request  string
	message  *adapter.Message  // of the types 3 to 7 and 9
	response *adapter.Response // of the types 8 and 10 to 12
	sent     time.Time         // zero if the sender did not say
}

// clusterTypes are the types of messages by their kind.
var clusterTypes = map[adapter.Kind]clusterType{
	adapter.Broadcast:      clusterBroadcast,
	adapter.Join:           clusterJoin,
	adapter.Leave:          clusterLeave,
	adapter.Disconnect:     clusterDisconnect,
	adapter.ServerSideEmit: clusterServerSideEmit,
	adapter.Fetch:          clusterFetch,
	adapter.Count:          clusterFetch,
}

// newClusterMessage wraps what a node says to the others; request is empty if it wants no answers.
func newClusterMessage(m *adapter.Message, uid, namespace, request string) clusterMessage {
	return clusterMessage{kind: clusterTypes[m.Kind], uid: uid, namespace: namespace, request: request, message: m, sent: m.Sent}
}

// newClusterResponse wraps the answer to a message.
func newClusterResponse(to *clusterMessage, r *adapter.Response, uid string) clusterMessage {
	c := clusterMessage{uid: uid, namespace: to.namespace, request: to.request, response: r}
	switch {
	case to.kind == clusterFetch:
		c.kind = clusterFetchResponse
	case to.kind == clusterServerSideEmit:
		c.kind = clusterServerSideEmitResponse
	case r.Packet == nil:
		c.kind = clusterClientCount
	default:
		c.kind = clusterAck
	}
	return c
}

// packet returns the packet that the message carries, if it does.
func (c *clusterMessage) packet() *adapter.Packet {
	switch c.kind {
	case clusterBroadcast, clusterServerSideEmit:
		return &c.message.Packet
	case clusterAck, clusterServerSideEmitResponse:
		return c.response.Packet
	}
	return nil
}

// isBinary reports whether the message has binary data, so that JSON cannot hold it.
func (c *clusterMessage) isBinary() bool {
	p := c.packet()
	return p != nil && len(p.Attachments) > 0
}

var errMissing = errors.New("is missing")

func clusterMalformed(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", errMalformed, what, err)
}
