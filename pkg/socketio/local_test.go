package socketio_test

import (
	"context"
	"fmt"
	"testing"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/socketio"
)

// rawNode lets a test speak in the place of other nodes.
type rawNode struct {
	adapter.Adapter
	local adapter.Local
}

func (n *rawNode) Join(ctx context.Context, nsp string, local adapter.Local) (adapter.Link, error) {
	if nsp == "/" {
		n.local = local
	}
	return n.Adapter.Join(ctx, nsp, local)
}

// What hostile nodes say is counted and harms nobody.
func TestHostileNodes(t *testing.T) {
	bus := adaptertest.NewBus(nil)
	node := &rawNode{Adapter: bus.Add("one")}
	server, front := start(t, &socketio.Options{Adapter: node})
	p := dial(t, front, "/")
	server.OnServerSide("e", func(context.Context, socketio.Args) error { return nil })
	respond := func(*adapter.Response) {}
	many := make([]string, 100_000)
	for i := range many {
		many[i] = fmt.Sprint("room ", i)
	}
	for _, m := range []*adapter.Message{
		{Kind: 200},
		{Kind: adapter.ServerSideEmit},
		{Kind: adapter.ServerSideEmit, Packet: adapter.Packet{Data: []byte(`{`)}},
		{Kind: adapter.ServerSideEmit, Packet: adapter.Packet{Data: []byte(`{}`)}},
		{Kind: adapter.ServerSideEmit, Packet: adapter.Packet{Data: []byte(`[]`)}},
		{Kind: adapter.ServerSideEmit, Packet: adapter.Packet{Data: []byte(`[7,["e"]]`)}},
		{Kind: adapter.ServerSideEmit, Packet: adapter.Packet{Data: []byte(`["e",{"_placeholder":true,"num":5}]`), Attachments: [][]byte{{}}}},
		{Kind: adapter.Broadcast, Packet: adapter.Packet{Data: []byte(`["e"]`), Attachments: make([][]byte, 1000)}},
		{Kind: adapter.Broadcast, Rooms: many, Except: many, Timeout: -1, Packet: adapter.Packet{Data: []byte(`["e"]`)}},
		{Kind: adapter.Join, Targets: []string{"", ""}},
		{Kind: adapter.Leave, Targets: many, Rooms: many},
		{Kind: adapter.Disconnect, Rooms: many},
		{Kind: adapter.Fetch, Rooms: many},
		{Kind: adapter.Count, Rooms: many, Except: many},
	} {
		node.local.Deliver(m)
		node.local.Answer(m, respond)
	}
	must(server.To(p.sids["/"]).Emit(t.Context(), "alive"))
	p.expect(`42["alive"]`)
	eventually(t, "everything is counted", func() bool {
		st := server.Stats()
		return st.Ignored["unknown_kind"] == 7 && st.Ignored["malformed"] == 8 && st.ServerSide["no_handler"] == 4 && st.ServerSide["handled"] == 2
	})
}
