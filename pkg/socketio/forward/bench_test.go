package forward_test

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/forward"
)

// A round of polling, POST and GET, at the node that has the session and at another one.
func BenchmarkPollRound(b *testing.B) {
	for _, bb := range []struct {
		name string
		ask  int
	}{{"local", 0}, {"forwarded", 1}} {
		b.Run(bb.name, func(b *testing.B) {
			nodes := newCluster(b, setup{}, "a", "b")
			c := join(b, nodes[0], nodes[bb.ask])
			b.ReportAllocs()
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				if status, _ := c.post(`42["echo",1]`); status != http.StatusOK {
					b.Fatalf("POST: %d", status)
				}
				if status, body := c.get(); status != http.StatusOK || body != `42["echo",1]` {
					b.Fatalf("GET: %d %s", status, body)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		})
	}
}

// A message and its echo on a WebSocket.
func BenchmarkWebSocketRound(b *testing.B) {
	for _, bb := range []struct {
		name string
		ask  int
	}{{"local", 0}, {"relayed", 1}} {
		b.Run(bb.name, func(b *testing.B) {
			nodes := newCluster(b, setup{}, "a", "b")
			w := join(b, nodes[0], nodes[bb.ask]).upgrade()
			b.ReportAllocs()
			for b.Loop() {
				w.write(`42["echo",1]`)
				w.read(`42["echo",1]`)
			}
		})
	}
}

// What a node does for each request that it need not pass on.
func BenchmarkOwnSession(b *testing.B) {
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	f, err := forward.New(next, &forward.Options{Members: &members{}, Tag: "a", Secret: secret})
	if err != nil {
		b.Fatal(err)
	}
	r, w := httptest.NewRequest(http.MethodGet, target, nil), httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		f.ServeHTTP(w, r)
	}
}

// What the signature of a forward costs the node that gets it.
func BenchmarkVerify(b *testing.B) {
	internal, _, _ := sheltered(b, &forward.Options{Secret: secret})
	r := forwarded([]byte("another secret of enough bytes"), time.Now())
	b.ReportAllocs()
	for b.Loop() {
		internal.ServeHTTP(&discard{h: http.Header{}}, r)
	}
}

type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// relayingNode says to the test program that it is to be a node which relays, to the owner at this address.
const relayingNode = "FORWARD_RELAYING_NODE"

// serveRelays is that node. It tells its address, and its resident memory in bytes for each line that it reads.
func serveRelays(owner string) error {
	quiet := slog.New(slog.DiscardHandler)
	server, err := socketio.NewServer(&socketio.Options{RouteTag: "b", Logger: quiet})
	if err != nil {
		return err
	}
	m := &members{}
	m.add(adapter.Node{ID: "owner", Tag: "a", Address: owner})
	f, err := forward.New(server, &forward.Options{Members: m, Secret: secret, Logger: quiet})
	if err != nil {
		return err
	}
	s := httptest.NewServer(f)
	fmt.Println(strings.TrimPrefix(s.URL, "http://"))
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		fmt.Println(f.Stats().Relayed, resident(), stats.HeapAlloc, stats.StackInuse, runtime.NumGoroutine())
	}
	return nil
}

func resident() int {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, _ := strconv.Atoi(string(bytes.Fields(b)[1]))
	return pages * os.Getpagesize()
}

// BenchmarkIdleRelays measures the resident memory of a node for each idle WebSocket that it relays.
func BenchmarkIdleRelays(b *testing.B) {
	if runtime.GOOS != "linux" {
		b.Skip("reads /proc")
	}
	const relays = 2000
	owner := newNode(b, "a", setup{})
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), relayingNode+"="+owner.internal.Listener.Addr().String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	lines := bufio.NewScanner(out)
	ask := func() (relayed, rss, heap, stack, goroutines int) {
		fmt.Fprintln(in)
		lines.Scan()
		if _, err := fmt.Sscan(lines.Text(), &relayed, &rss, &heap, &stack, &goroutines); err != nil {
			b.Fatalf("%q: %v", lines.Text(), err)
		}
		return relayed, rss, heap, stack, goroutines
	}
	lines.Scan()
	front := &node{public: &httptest.Server{URL: "http://" + lines.Text()}}
	dialed := func(n int) {
		for range n {
			c := open(b, owner, front)
			c.http.CloseIdleConnections()
			c.upgrade()
		}
	}
	dialed(50) // what a node needs once
	_, before, _, _, _ := ask()
	for b.Loop() {
		dialed(relays)
	}
	n, rss, heap, stack, goroutines := ask()
	if n != relays*b.N+50 {
		b.Fatalf("%d relays, want %d", n, relays*b.N+50)
	}
	b.ReportMetric(float64(rss-before)/float64(relays*b.N), "RSS-B/relay")
	b.ReportMetric(float64(heap)/float64(n), "heap-B/relay")
	b.ReportMetric(float64(stack)/float64(n), "stack-B/relay")
	b.ReportMetric(float64(goroutines)/float64(n), "goroutines/relay")
}
