package node

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestDemo(t *testing.T) {
	r := start(t, "demo", "--addr=127.0.0.1:0", "--internal-addr=127.0.0.1:0")
	r.until("it prints its addresses", func() bool { return strings.Contains(r.stdout.String(), "Ctrl-C") })
	chat := regexp.MustCompile(`chat +http://(\S+)`).FindStringSubmatch(r.stdout.String())
	nodes := regexp.MustCompile(`node\d +http://(\S+) +metrics (http://\S+)`).FindAllStringSubmatch(r.stdout.String(), -1)
	if chat == nil || len(nodes) != demoNodes || !strings.Contains(r.stdout.String(), "(embedded)") {
		t.Fatalf("stdout is %q, want front, %d nodes and redis", r.stdout.String(), demoNodes)
	}
	front := chat[1]

	var clients []*chatter
	tags := make(map[string]bool)
	for range demoNodes {
		if code, body := get(t, "http://"+front+"/"); code != http.StatusOK || !strings.Contains(body, `id="messages"`) {
			t.Fatalf("/ = %d, want the chat page", code)
		}
		c := join(t, front)
		tags[strings.TrimSuffix(c.sid[:len(c.sid)-sidLength], "_")] = true
		clients = append(clients, c)
	}
	for _, tag := range []string{"n1", "n2", "n3"} {
		if !tags[tag] {
			t.Errorf("no client landed on %s: %v", tag, tags)
		}
	}
	for i, c := range clients {
		sent := `["chat message","from ` + c.sid[:2] + `",{"name":"x"}]`
		c.write("42" + sent)
		for j, other := range clients {
			if got := other.read("42"); got != sent {
				t.Errorf("client %d heard %s of client %d, want %s", j, got, i, sent)
			}
		}
	}
	for _, n := range nodes {
		if code, body := get(t, n[2]); code != http.StatusOK || !strings.Contains(body, `chorus_connections{transport="websocket"} 1`) {
			t.Errorf("%s = %d, want one connection counted", n[2], code)
		}
		if code, _ := get(t, "http://"+n[1]+"/"); code != http.StatusOK {
			t.Errorf("node %s does not serve the page itself: %d", n[1], code)
		}
	}
	pollThrough(t, front, clients)

	r.signal(os.Interrupt)
	for _, c := range clients {
		c.ended()
	}
	if code := r.exit(2 * time.Second); code != exitOK {
		t.Errorf("exit code %d after SIGINT, want 0", code)
	}
}

// A client that does not answer the close, as one whose network is gone, must not hold up a developer's Ctrl-C.
func TestDemoEndsInSpiteOfDeafClients(t *testing.T) {
	r := start(t, "demo", "--addr=127.0.0.1:0", "--internal-addr=127.0.0.1:0")
	r.until("it prints its addresses", func() bool { return strings.Contains(r.stdout.String(), "Ctrl-C") })
	front := regexp.MustCompile(`chat +http://(\S+)`).FindStringSubmatch(r.stdout.String())[1]
	for range demoNodes {
		join(t, front)
	}
	r.signal(os.Interrupt)
	if code := r.exit(2 * time.Second); code != exitOK {
		t.Errorf("exit code %d after SIGINT, want 0", code)
	}
}

// pollThrough lets a client that only polls say something to the others: each of its requests must reach the
// node that holds its session.
func pollThrough(t *testing.T, front string, hearers []*chatter) {
	t.Helper()
	client := newClient(t)
	_, opened := get(t, "http://"+front+handshake)
	sid := regexp.MustCompile(`"sid":"([^"]+)"`).FindStringSubmatch(opened)
	if sid == nil {
		t.Fatalf("handshake answers %q, want a sid", opened)
	}
	url := "http://" + front + handshake + "&sid=" + sid[1]
	post := func(body string) {
		t.Helper()
		response, err := client.Post(url, "text/plain;charset=UTF-8", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatalf("POST %s got %d", body, response.StatusCode)
		}
	}
	post("40")
	if _, body := get(t, url); !strings.HasPrefix(body, "40{") {
		t.Fatalf("poll answers %q, want the CONNECT reply", body)
	}
	post(`42["chat message","by polling"]`)
	for _, c := range hearers {
		c.read(`42["chat message","by polling"]`)
	}
	post("1")
}

func TestDemoWithoutRedisTellsIt(t *testing.T) {
	gone, err := listen("test", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := gone.addrs()[0]
	gone.close()
	r := start(t, "demo", "--addr=127.0.0.1:0", "--internal-addr=127.0.0.1:0", "--redis.url=redis://"+closed)
	r.until("it prints its addresses", func() bool { return strings.Contains(r.stdout.String(), "Ctrl-C") })
	if !strings.Contains(r.stderr.String(), "redis cannot be reached yet") {
		t.Errorf("stderr does not tell that Redis is away: %s", r.stderr.String())
	}
	if strings.Contains(r.stdout.String(), "embedded") {
		t.Errorf("stdout speaks of an embedded Redis: %s", r.stdout.String())
	}
	r.signal(os.Interrupt)
	if code := r.exit(2 * time.Second); code != exitOK {
		t.Errorf("exit code %d after SIGINT, want 0", code)
	}
}

func TestPortsOfTheDemo(t *testing.T) {
	for _, tt := range []struct{ addr, first, third string }{
		{":3000", ":3001", ":3003"},
		{"127.0.0.1:3000", "127.0.0.1:3001", "127.0.0.1:3003"},
		{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"},
		{"[::1]:80", "[::1]:81", "[::1]:83"},
	} {
		first := nth(tt.addr, 1)
		if first != tt.first || nth(first, 2) != tt.third {
			t.Errorf("nodes of front %s begin at %s and end at %s, want %s and %s", tt.addr, first, nth(first, 2), tt.first, tt.third)
		}
	}
}

func TestLink(t *testing.T) {
	for addr, want := range map[string]string{
		"[::]:3000": "http://localhost:3000", "0.0.0.0:80": "http://localhost:80", "127.0.0.1:9464": "http://127.0.0.1:9464", "[::1]:1": "http://[::1]:1",
	} {
		if got := link(addr); got != want {
			t.Errorf("link(%s) = %s, want %s", addr, got, want)
		}
	}
}

func TestDemoEndsWhileItWaitsForRedis(t *testing.T) {
	silent := occupy(t) // accepts and never answers
	r := start(t, "demo", "--addr=127.0.0.1:0", "--internal-addr=127.0.0.1:0", "--redis.url=redis://"+silent)
	r.until("it has started its nodes", func() bool { return strings.Count(r.stderr.String(), "msg=listening") == demoNodes })
	r.signal(os.Interrupt)
	if code := r.exit(2 * time.Second); code != exitOK {
		t.Errorf("exit code %d after SIGINT, want 0", code)
	}
}
