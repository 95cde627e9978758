package redisadapter

import (
	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/parser"
)

// ClusterMessage is clusterMessage with its fields.
type ClusterMessage struct {
	Type      int
	UID       string
	Namespace string
	Request   string
	Message   *adapter.Message
	Response  *adapter.Response
}

// AppendCluster is appendCluster within the default limits.
func AppendCluster(dst []byte, m *ClusterMessage) ([]byte, error) {
	c := m.internal()
	return appendCluster(dst, parser.Limits{}, &c)
}

// AppendClusterData is appendClusterData within the default limits.
func AppendClusterData(dst []byte, m *ClusterMessage) ([]byte, bool, error) {
	c := m.internal()
	return appendClusterData(dst, parser.Limits{}, &c)
}

func (m *ClusterMessage) internal() clusterMessage {
	c := clusterMessage{
		kind: clusterType(m.Type), uid: m.UID, namespace: m.Namespace, request: m.Request, message: m.Message, response: m.Response,
	}
	if m.Message != nil {
		c.sent = m.Message.Sent
	}
	return c
}

// DecodeCluster reads a payload within the default limits; a message that concerns none of the rooms is nil.
func DecodeCluster(payload []byte, hasRoom func(string) bool) (*ClusterMessage, error) {
	h, err := readCluster(payload)
	if err != nil {
		return nil, err
	}
	return decodeHead(&h, hasRoom)
}

// DecodeClusterData reads the data of a stream's entry within the default limits.
func DecodeClusterData(typ int, data []byte) (*ClusterMessage, error) {
	v, err := readClusterData(data)
	if err != nil {
		return nil, err
	}
	return decodeHead(&clusterHead{kind: clusterType(typ), data: v}, func(string) bool { return true })
}

func decodeHead(h *clusterHead, hasRoom func(string) bool) (*ClusterMessage, error) {
	c, err := h.decode(parser.Limits{}, hasRoom)
	if err != nil || c == nil {
		return nil, err
	}
	return &ClusterMessage{
		Type: int(c.kind), UID: c.uid, Namespace: c.namespace, Request: c.request, Message: c.message, Response: c.response,
	}, nil
}

// OwnCluster returns what tells the payloads that uid wrote, without reading them.
func OwnCluster(uid, namespace string) func(payload string) bool {
	tails := newOwnTails(uid, namespace)
	return tails.match
}

// IsOwnCluster reports whether a payload is told for one that uid wrote.
func IsOwnCluster(payload []byte, uid, namespace string) bool {
	return OwnCluster(uid, namespace)(string(payload))
}

// SlotOf is slotOf.
var SlotOf = slotOf
