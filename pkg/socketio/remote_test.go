package socketio_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/siotest"
)

func TestRemoteSocket(t *testing.T) {
	inCluster(t, func(t *testing.T, bus *adaptertest.Bus, one, two, three *clusterNode) {
		ctx := t.Context()
		for _, node := range []*clusterNode{one, two} { // a socket of this node, and one of another
			var s *socketio.RemoteSocket
			for each, err := range one.To(node.client.ID()).Sockets(ctx) {
				must(err)
				s = each
			}
			name := map[*clusterNode]string{one: "one", two: "two"}[node]
			if _, local := s.Local(); local != (node == one) {
				t.Errorf("%s: Local = %t", name, local)
			}
			rooms := s.Rooms()
			slices.Sort(rooms)
			want := []string{s.ID(), name, "all"}
			slices.Sort(want)
			if s.ID() != node.client.ID() || !slices.Equal(rooms, want) {
				t.Errorf("%s: %s in %q, want %q", name, s.ID(), rooms, want)
			}
			var data struct{ Node string }
			if err := s.DecodeData(&data); err != nil || data.Node != name || string(s.Data()) != `{"node":"`+name+`"}` {
				t.Errorf("%s: Data = %s, %v", name, s.Data(), err)
			}
			h := s.Handshake()
			if h.Query["EIO"] != "4" || h.Header.Get("Host") != "example.com" || h.RemoteAddr != "192.0.2.1" || h.Secure ||
				string(h.Auth) != `{"token":"`+name+`"}` || !strings.HasPrefix(h.URL, "/socket.io/?") || !h.Time.Equal(time.Now().Truncate(time.Millisecond)) {
				t.Errorf("%s: Handshake = %+v", name, h)
			}
			must(s.Emit(ctx, "hello", 1))
			must(node.client.Expect(ctx, "hello"))
			must(s.Send(ctx, "text"))
			must(node.client.Expect(ctx, "message"))
			must(s.Join(ctx, "remote"))
			must(s.Leave(ctx, "all"))
			synctest.Wait()
			if n, err := three.To("remote").Except("all").Count(ctx); n != 1 || err != nil {
				t.Errorf("%s: after Join and Leave %d sockets are selected, %v", name, n, err)
			}
			must(s.Leave(ctx, "remote"))
			must(s.Join(ctx, "all"))
			replies(t, node, "yes")
			three.bus.Silence(true) // who has the answer does not wait for others
			start := time.Now()
			answer, err := s.EmitWithAck(ctx, "q")
			if err != nil || string(answer.Raw(0).JSON()) != `"yes"` || time.Since(start) != 0 {
				t.Errorf("%s: EmitWithAck = %s, %v after %v", name, answer.Raw(0).JSON(), err, time.Since(start))
			}
			three.bus.Silence(false)
			must(s.Disconnect(ctx, true))
			synctest.Wait()
			if _, err := s.EmitWithAck(ctx, "q"); !errors.Is(err, socketio.ErrDisconnected) {
				t.Errorf("%s: EmitWithAck to one that is gone = %v", name, err)
			}
			if err := s.Emit(ctx, "q"); err != nil {
				t.Errorf("%s: Emit to one that is gone = %v", name, err)
			}
		}
	})
}

// unfit cannot be written as JSON.
type unfit struct{}

func (unfit) MarshalJSON() ([]byte, error) { panic("not me") }

// A value that cannot be written harms nobody, and the log has its key.
func TestRemoteSocketData(t *testing.T) {
	inCluster(t, func(t *testing.T, bus *adaptertest.Bus, one, two, three *clusterNode) {
		for s, err := range two.Local().Sockets(t.Context()) {
			must(err)
			socket, _ := s.Local()
			socket.Set("channel", make(chan int))
			socket.Set("unfit", unfit{})
			socket.Set("<a>", "<b>&")
			socket.Set("bytes", []byte{1})
		}
		for s, err := range one.To("two").Sockets(t.Context()) {
			if err != nil || string(s.Data()) != `{"<a>":"<b>&","bytes":"AQ==","node":"two"}` {
				t.Errorf("Data = %s, %v", s.Data(), err)
			}
			var wrong []int
			if err := s.DecodeData(&wrong); err == nil || !strings.Contains(err.Error(), s.ID()) {
				t.Errorf("DecodeData into what does not fit = %v", err)
			}
		}
		synctest.Wait()
		for _, key := range []string{"channel", "unfit"} {
			if !strings.Contains(two.log.String(), `data \\\"`+key) && !strings.Contains(two.log.String(), `data \"`+key) {
				t.Errorf("the log does not name %q: %s", key, two.log)
			}
		}
	})
}

// The fields of Node's handshake, exactly.
func TestHandshakeJSON(t *testing.T) {
	bus := adaptertest.NewBus(nil)
	node := &rawNode{Adapter: bus.Add("one")}
	server, err := socketio.NewServer(&socketio.Options{Adapter: node, Logger: slog.New(slog.DiscardHandler)})
	must(err)
	c, err := siotest.Connect(t.Context(), server, &siotest.Options{Header: http.Header{
		"Origin": {"http://example.com"}, "X-Two": {"a", "b"}, "Cookie": {"a=1", "b=2"},
	}})
	must(err)
	defer stop(server, c)
	answer := make(chan *adapter.Response, 1)
	node.local.Answer(&adapter.Message{Kind: adapter.Fetch}, func(r *adapter.Response) { answer <- r })
	sockets := receive(t, answer).Sockets
	if len(sockets) != 1 {
		t.Fatalf("%d sockets, want 1", len(sockets))
	}
	var h map[string]any
	must(json.Unmarshal(sockets[0].Handshake, &h))
	issued := time.UnixMilli(int64(h["issued"].(float64)))
	if d := time.Since(issued); d < 0 || d > wait {
		t.Errorf("issued %v ago", d)
	}
	if want := issued.UTC().Format("Mon Jan 02 2006 15:04:05") + " GMT+0000 (Coordinated Universal Time)"; h["time"] != want {
		t.Errorf("time = %v, want %s", h["time"], want)
	}
	delete(h, "issued")
	delete(h, "time")
	headers := h["headers"].(map[string]any)
	for _, name := range []string{"sec-websocket-key", "user-agent"} {
		delete(headers, name)
	}
	got, _ := json.Marshal(h)
	want := `{"address":"192.0.2.1","auth":{},"headers":{"connection":"Upgrade","cookie":"a=1; b=2","host":"example.com","origin":"http://example.com",` +
		`"sec-websocket-version":"13","upgrade":"websocket","x-two":"a, b"},"query":{"EIO":"4","transport":"websocket"},"secure":false,` +
		`"url":"/socket.io/?EIO=4\u0026transport=websocket","xdomain":true}`
	if string(got) != want {
		t.Errorf("handshake = %s\nwant %s", got, want)
	}
}
