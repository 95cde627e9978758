package redisadapter_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/redisadapter"
	"example.com/chorus/pkg/socketio/parser"
)

// TestMaxAttachments: nodes that allow 12 binary values exchange them; more are refused where they are emitted.
func TestMaxAttachments(t *testing.T) {
	server := startRedis(t)
	nodes := cluster(t, server.addr, 2, redisadapter.Options{MaxAttachments: 12})
	with := func(n int) *adapter.Message {
		m := &adapter.Message{Packet: adapter.Packet{Data: []byte(`["b"`)}}
		for i := range n {
			m.Packet.Data = parser.AppendPlaceholder(append(m.Packet.Data, ','), i)
			m.Packet.Attachments = append(m.Packet.Attachments, fmt.Append(nil, "value ", i))
		}
		m.Packet.Data = append(m.Packet.Data, ']')
		return m
	}
	awaitHeard(t, nodes[0], nodes[1], "ready")
	if err := nodes[0].Link.Publish(t.Context(), with(13)); !errors.Is(err, redisadapter.ErrTooManyAttachments) {
		t.Errorf("Publish of 13 binary values = %v, want %v", err, redisadapter.ErrTooManyAttachments)
	}
	want := with(12)
	nodes[0].Publish(t, want)
	var got adapter.Packet
	eventually(t, "receiving 12 binary values", func() bool {
		for _, m := range nodes[1].Messages() {
			if len(m.Packet.Attachments) > 0 {
				got = m.Packet
				return true
			}
		}
		return false
	})
	if !reflect.DeepEqual(got, want.Packet) {
		t.Errorf("received %s with %q, want %s with %q", got.Data, got.Attachments, want.Packet.Data, want.Packet.Attachments)
	}
}
