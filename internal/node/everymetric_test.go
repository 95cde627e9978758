package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/promsio"
)

// realRedis is a redis-server on a port of its own.
type realRedis struct {
	port string
	cmd  *exec.Cmd
}

func startRealRedis(t *testing.T) *realRedis {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	r := &realRedis{port: port}
	r.start(t)
	t.Cleanup(r.kill)
	return r
}

func (r *realRedis) start(t *testing.T) {
	t.Helper()
	r.cmd = exec.Command("redis-server", "--bind", "127.0.0.1", "--port", r.port, "--save", "", "--dir", t.TempDir())
	if err := r.cmd.Start(); err != nil {
		t.Fatalf("%v; on Debian: apt-get install redis-server", err)
	}
}

func (r *realRedis) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait() // killed
}

// town is some nodes and the highest value that each of their metrics ever had.
type town struct {
	*testing.T
	most map[string]float64
}

// settle starts a node in the test's process, so that it can have handlers.
func (w *town) settle(id string, args ...string) *node {
	w.Helper()
	cli, err := parse(w.T, append([]string{"serve", "--node.id=" + id, "--cluster.secret=0123456789abcdef"}, args...), nil)
	if err != nil {
		w.Fatal(err)
	}
	c := &cli.Serve
	forwarding, err := c.Cluster.forwarding(true)
	if err != nil {
		w.Fatal(err)
	}
	n, err := startNode(&c.config, identity{id: id, tag: tagOf(id)}, addresses{
		public: []string{"127.0.0.1:0"}, internal: "127.0.0.1:0", forwarding: forwarding,
	}, make(failures, 1), slog.New(slog.DiscardHandler))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = n.shutdown(ctx) // some are, by then
	})
	return n
}

func (n *node) at() string { return n.public.addrs()[0] }

// look remembers what a node exports now.
func (w *town) look(nodes ...*node) {
	w.Helper()
	for _, n := range nodes {
		for name, family := range scraped(w.T, n.internal.addrs()[0]) {
			for _, m := range family.Metric {
				v := m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue() + float64(m.GetHistogram().GetSampleCount())
				w.most[name] = max(w.most[name], v)
				for _, pair := range m.Label {
					key := name + " " + pair.GetValue()
					w.most[key] = max(w.most[key], v)
				}
			}
		}
	}
}

// until looks until a metric, or one with a label's value behind a space, is above zero.
func (w *town) until(name string, nodes ...*node) {
	w.Helper()
	for deadline := time.Now().Add(patience); w.most[name] == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Errorf("%s stays 0", name)
			return
		}
		w.look(nodes...)
	}
}

// ask makes a request and returns its status.
func (w *town) ask(method, url, body string, header ...string) int {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, "http://"+url, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := newClient(w.T).Do(r)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// elsewhere are metrics that need what is told here, and the tests that see them move.
var elsewhere = map[string]string{
	"chorus_clock_skew_total":               "promsio.TestValues: clocks that differ",
	"chorus_adapter_messages_ignored_total": "socketio.TestHostileNodes: a broken node",
	"chorus_redis_stream_gaps_total":        "redisadapter.TestStreamsTrimmed: a stream that is cut while it is read",
	"chorus_stream_trimmed_total":           "redisadapter.TestStreamsTrimmed",
	"chorus_stream_lag_messages":            "redisadapter.TestStreamLag: thousands of entries, held up",
}

// Whatever a node can count it does count: no metric stays zero by mistake.
func TestEveryMetricMoves(t *testing.T) {
	t.Parallel()
	w := &town{t, make(map[string]float64)}
	broker := startRealRedis(t)
	url := "--redis.url=redis://127.0.0.1:" + broker.port
	common := []string{url, "--ping-interval=300ms", "--queue.messages=64", "--queue.bytes=64KiB", "--max-payload=20kB",
		"--compression.websocket", "--redis.publish-queue=1", "--redis.watchdog=2s", "--metrics.event-names=boom"}
	a, b := w.settle("a", common...), w.settle("b", common...)
	stranger := w.settle("c", url, "--adapter=redis-streams")
	w.until("chorus_forward_nodes", a)
	w.until("chorus_redis_strangers_total", a, b)

	w.requests(a, b)
	w.clients(a, b)
	w.slow(a)
	w.interrupted()
	w.look(a, b, stranger)
	w.outage(broker, a, b)
	w.leaving(a)

	w.look(b, stranger)
	for _, m := range promsio.Metrics() {
		if _, known := elsewhere[m.Name]; !known && w.most[m.Name] == 0 {
			t.Errorf("%s stays 0: %s", m.Name, m.Help)
		}
	}
	for name, v := range w.most {
		if name == "chorus_build_info" && v != 1 {
			t.Errorf("%s is %v", name, v)
		}
	}
}

// requests makes all that are refused, and those that are for the other node.
func (w *town) requests(a, b *node) {
	at := a.at()
	sid := shakeHands(w.T, at)
	session := at + handshake + "&sid=" + sid
	w.ask("POST", at+handshake, "")
	w.ask("GET", at+"/socket.io/?EIO=4&transport=pigeon", "")
	w.ask("GET", at+handshake+"&sid=never", "")
	w.ask("GET", at+handshake+"&sid=gone_never", "")
	w.ask("PUT", session, "")
	w.ask("GET", at+"/socket.io/?EIO=3&transport=polling&sid="+sid, "")
	w.ask("POST", session, strings.Repeat("x", 30_000))
	w.ask("GET", at+handshake, "", "Chorus-Forward", "nonsense")
	w.ask("GET", a.internal.addrs()[0]+handshake+"&sid="+sid, "")
	if _, response, err := websocket.DefaultDialer.Dial("ws://"+at+"/socket.io/?EIO=4&transport=websocket", http.Header{"Origin": {"http://evil.example"}}); err == nil {
		w.Error("a foreign origin may connect")
	} else {
		response.Body.Close()
	}
	w.ask("POST", b.at()+handshake+"&sid="+sid, "40") // passed on
	for _, name := range []string{
		"chorus_handshakes_total bad_request", "chorus_handshakes_total unknown_transport", "chorus_handshakes_total cors",
		"chorus_engine_requests_rejected_total unknown_sid", "chorus_engine_requests_rejected_total wrong_node",
		"chorus_engine_requests_rejected_total bad_method", "chorus_engine_requests_rejected_total too_large",
		"chorus_engine_requests_rejected_total mismatch", "chorus_messages_dropped_total too_large",
		"chorus_requests_forwarded_total", "chorus_forwards_refused_total",
	} {
		w.until(name, a, b)
	}
	if err := a.server.Volatile().Emit(w.Context(), "nobody reads"); err != nil { // no GET waits
		w.Error(err)
	}
	w.until("chorus_messages_dropped_total volatile", a)
}

// clients has events, acknowledgements, rooms, panics, requests between nodes and compressed answers.
func (w *town) clients(a, b *node) {
	ctx := w.Context()
	sockets := make(chan *socketio.Socket, 8)
	a.server.OnConnect(func(ctx context.Context, s *socketio.Socket) error { sockets <- s; return s.Join(ctx, "room") })
	a.server.On("boom", func(context.Context, *socketio.Socket, socketio.Args) error { panic("boom") })
	a.server.On("answer", func(ctx context.Context, _ *socketio.Socket, args socketio.Args) error { return args.Ack(ctx, 1) })
	b.server.OnServerSide("hello", func(context.Context, socketio.Args) error { return nil })

	one, two := join(w.T, a.at()), join(w.T, b.at())
	s := <-sockets
	one.write(`42["chat message","` + strings.Repeat("text ", 500) + `"]`) // to both nodes
	one.read("42")
	two.read("42")
	one.write(`421["answer"]`)
	one.read("43")
	go func() { _, _ = s.EmitWithAck(ctx, "question") }()
	question := one.read("42")
	one.write("43" + strings.TrimSuffix(question, `["question"]`) + "[1]")
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := s.EmitWithAck(short, "question"); err == nil {
		w.Error("a question without an answer succeeds")
	}
	one.read("42")
	one.read("2") // a ping
	one.write("3")
	for _, err := range a.server.Sockets(ctx) {
		if err != nil {
			w.Error(err)
		}
	}
	if err := a.server.ServerSideEmit(ctx, "hello"); err != nil {
		w.Error(err)
	}

	compressing := *websocket.DefaultDialer
	compressing.EnableCompression = true
	c, response, err := compressing.Dial("ws://"+a.at()+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		w.Fatal(err)
	}
	response.Body.Close()
	three := &chatter{t: w.T, conn: c}
	three.read("0")
	three.write("40/nowhere,")
	three.read("44/nowhere,")
	three.write("40")
	three.read("40")
	three.write(`42["chat message","` + strings.Repeat("text ", 500) + `"]`)
	three.read("42")
	three.write(`42["boom"]`)
	three.read("41") // ended by the panic
	three.write("9")
	_ = c.Close()

	w.upgrade(a, b)
	for range 8 { // one of the receivers is timed, in turn; one of them does not poll
		if err := a.server.Local().Emit(ctx, "more"); err != nil {
			w.Error(err)
		}
	}
	for _, name := range []string{
		"chorus_acks_total ok", "chorus_acks_total timeout", "chorus_handler_panics_total boom", "chorus_events_received_total boom",
		"chorus_broadcasts_total remote", "chorus_broadcast_delivery_seconds remote", "chorus_broadcast_delivery_seconds local",
		"chorus_compression_ratio websocket", "chorus_ping_rtt_seconds", "chorus_socket_connects_total unknown_namespace",
		"chorus_server_side_events_total", "chorus_adapter_requests_total fetch", "chorus_redis_requests_total",
	} {
		w.until(name, a, b)
	}
	asking := make(chan error, 1)
	go func() { _, err := s.EmitWithAck(ctx, "question"); asking <- err }()
	w.untilTrue("the question is on its way", func() bool {
		_, data, err := one.conn.ReadMessage()
		return err != nil || strings.Contains(string(data), "question")
	})
	_ = one.conn.Close()
	<-asking
	w.until("chorus_acks_total disconnected", a)
	two.write("4garbage")
	w.until("chorus_protocol_violations_total", b)
}

func (w *town) untilTrue(what string, done func() bool) {
	w.Helper()
	for deadline := time.Now().Add(patience); !done(); {
		if time.Now().After(deadline) {
			w.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// upgrade leaves polling, over the other node: the WebSocket is relayed. Another try fails.
func (w *town) upgrade(a, b *node) {
	sid := shakeHands(w.T, a.at())
	session := "/socket.io/?EIO=4&sid=" + sid + "&transport="
	dial := func(at string) *chatter {
		c, response, err := websocket.DefaultDialer.Dial("ws://"+at+session+"websocket", nil)
		if err != nil {
			w.Fatal(err)
		}
		response.Body.Close()
		w.Cleanup(func() { _ = c.Close() })
		return &chatter{t: w.T, conn: c}
	}
	dial(a.at()).write("4 is no probe")
	w.until("chorus_transport_upgrades_total probe_failed", a)
	w.ask("GET", a.at()+session+"polling", "", "Accept-Encoding", "gzip") // a ping at least
	c := dial(b.at())
	c.write("2probe")
	c.read("3probe")
	c.write("5")
	w.until("chorus_transport_upgrades_total ok", a)
	w.until("chorus_relayed_connections", b)
}

// slow has a client that reads nothing.
func (w *town) slow(a *node) {
	c := join(w.T, a.at())
	if err := c.conn.NetConn().(*net.TCPConn).SetReadBuffer(4096); err != nil {
		w.Fatal(err)
	}
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		text := strings.Repeat("x", 8000)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				_ = a.server.Local().Emit(context.Background(), "much", text)
			}
		}
	}()
	w.until("chorus_write_queue_messages", a)
	w.until("chorus_write_queue_bytes", a)
	w.until("chorus_slow_consumer_closes_total", a)
	close(stop)
	<-done
}

// interrupted has a client that comes back to its session, on a node that is alone, and nodes that take no more.
func (w *town) interrupted() {
	n := w.settle("d", "--recovery.enabled", "--limits.handshakes-per-second=2", "--connect-timeout=300ms")
	_ = shakeHands(w.T, n.at()) // joins nothing
	w.until("chorus_socket_connects_total timeout", n)
	c := join(w.T, n.at())
	c.write(`42["chat message","x"]`)
	event := c.read("42")
	offset := strings.Split(event, `"`)[5]
	_ = c.conn.Close()
	w.until("chorus_recovery_sessions", n)
	if err := n.server.Emit(w.Context(), "chat message", "missed"); err != nil {
		w.Error(err)
	}
	back, response, err := websocket.DefaultDialer.Dial("ws://"+n.at()+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		w.Fatal(err)
	}
	response.Body.Close()
	again := &chatter{t: w.T, conn: back}
	again.read("0")
	again.write(fmt.Sprintf(`40{"pid":%q,"offset":%q}`, c.pid, offset))
	w.until("chorus_recoveries_total ok", n)
	for range 8 { // more than may come in a second
		go func() { _ = w.ask("GET", n.at()+handshake, "") }()
	}
	w.until("chorus_handshakes_total limit", n)
	_ = back.Close()

	full := w.settle("e", "--limits.connections=1")
	_ = shakeHands(w.T, full.at())
	w.ask("GET", full.at()+handshake, "")
	w.until("chorus_limits_exceeded_total", full)
}

// outage takes Redis away for longer than messages wait.
func (w *town) outage(broker *realRedis, a, b *node) {
	broker.kill()
	for deadline := time.Now().Add(patience); w.most["chorus_redis_publish_errors_total"] == 0 || w.most["chorus_redis_messages_dropped_total"] == 0 ||
		w.most["chorus_redis_publish_queue"] == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Errorf("losses are not counted: %v errors, %v dropped", w.most["chorus_redis_publish_errors_total"], w.most["chorus_redis_messages_dropped_total"])
			break
		}
		ctx, cancel := context.WithTimeout(w.Context(), time.Millisecond)
		_ = a.server.Emit(ctx, "lost", bytes.Repeat([]byte("x"), 10))
		cancel()
		w.look(a)
	}
	broker.start(w.T)
	w.until("chorus_redis_reconnects_total subscribe", a, b)
	w.until("chorus_redis_reconnects_total publish", a, b)
	w.until("chorus_redis_gap_seconds", a, b)
}

// leaving drains a node.
func (w *town) leaving(a *node) {
	_ = join(w.T, a.at())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	drained := make(chan error, 1)
	go func() {
		drained <- a.server.Drain(ctx, &socketio.DrainOptions{LameDuck: time.Second, Spread: 100 * time.Millisecond})
	}()
	w.until("chorus_draining", a)
	w.ask("GET", a.at()+handshake, "")
	w.until("chorus_handshakes_total draining", a)
	if err := <-drained; err != nil {
		w.Error(err)
	}
	w.until("chorus_drained_connections_total", a)
}
