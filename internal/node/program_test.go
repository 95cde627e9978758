package node

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// buffer is an output that may be read while it is written.
type buffer struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}

// running is the program at work in this process.
type running struct {
	t              *testing.T
	signals        chan os.Signal
	stdout, stderr buffer
	code           chan int
}

// start runs the program on ports of its choice. It is ended with the test, if the test does not do it.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	clearEnv(t)
	r := &running{t: t, signals: make(chan os.Signal, 2), code: make(chan int, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.code <- Main(args, r.signals, &r.stdout, &r.stderr)
	}()
	t.Cleanup(func() {
		r.signal(os.Interrupt)
		r.signal(os.Interrupt)
		<-done
		if t.Failed() {
			t.Logf("stderr:\n%s", r.stderr.String())
		}
	})
	return r
}

// signal sends a signal unless two wait already.
func (r *running) signal(s os.Signal) {
	select {
	case r.signals <- s:
	default:
	}
}

// exit waits for the end and returns the exit code.
func (r *running) exit(within time.Duration) int {
	r.t.Helper()
	select {
	case code := <-r.code:
		return code
	case <-time.After(within):
		r.t.Fatalf("the program did not end within %v", within)
		return -1
	}
}

// until waits until condition holds.
func (r *running) until(what string, condition func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		select {
		case code := <-r.code:
			r.code <- code
			r.t.Fatalf("the program ended with %d before: %s", code, what)
		default:
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("waited %v in vain until %s", patience, what)
		}
	}
}

// addrs waits for a served node and returns its addresses.
func (r *running) addrs() (public, internal string) {
	r.t.Helper()
	pattern := regexp.MustCompile(`"msg":"listening".*"addr":\["([^"]+)"\],"internal_addr":\["([^"]+)"\]`)
	var m []string
	r.until("it listens", func() bool {
		m = pattern.FindStringSubmatch(r.stderr.String())
		return m != nil
	})
	return m[1], m[2]
}

// get returns status and body of a page.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := newClient(t).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// readiness returns status and body of /readyz.
func readiness(t *testing.T, addr string) (int, health) {
	t.Helper()
	code, body := get(t, "http://"+addr+"/readyz")
	var h health
	if err := json.Unmarshal([]byte(body), &h); err != nil {
		t.Fatalf("/readyz answers %q: %v", body, err)
	}
	return code, h
}

// chatter is a raw client: a WebSocket that speaks Engine.IO and Socket.IO by hand.
type chatter struct {
	t    *testing.T
	conn *websocket.Conn
	sid  string // of the session
	pid  string // of its recovery, if there is one
}

// join connects to the main namespace.
func join(t *testing.T, addr string) *chatter {
	t.Helper()
	conn, response, err := websocket.DefaultDialer.Dial("ws://"+addr+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatalf("dial %s: %v", addr, err)
	}
	response.Body.Close()
	t.Cleanup(func() { conn.Close() })
	c := &chatter{t: t, conn: conn}
	var opened struct{ Sid string }
	if err := json.Unmarshal([]byte(c.read("0")), &opened); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	c.sid = opened.Sid
	c.write("40")
	var connected struct{ PID string }
	if err := json.Unmarshal([]byte(c.read("40")), &connected); err != nil {
		t.Fatalf("connect: %v", err)
	}
	c.pid = connected.PID
	return c
}

func (c *chatter) write(packet string) {
	c.t.Helper()
	if err := c.conn.WriteMessage(websocket.TextMessage, []byte(packet)); err != nil {
		c.t.Fatalf("write %s: %v", packet, err)
	}
}

// read returns the next packet without the prefix that it must have.
func (c *chatter) read(prefix string) string {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	_, data, err := c.conn.ReadMessage()
	if err != nil {
		c.t.Fatalf("read: %v, want %s...", err, prefix)
	}
	rest, ok := strings.CutPrefix(string(data), prefix)
	if !ok {
		c.t.Fatalf("read %s, want %s...", data, prefix)
	}
	return rest
}

// ended waits for the end of the connection; nothing but the close of the transport may come before.
func (c *chatter) ended() {
	c.t.Helper()
	defer c.conn.Close() // as a browser does
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	for {
		_, data, err := c.conn.ReadMessage()
		if websocket.IsCloseError(err, websocket.CloseNoStatusReceived, websocket.CloseNormalClosure, websocket.CloseGoingAway) {
			return
		}
		if err != nil {
			c.t.Errorf("the connection ended with %v, want a close frame", err)
			return
		}
		if strings.HasPrefix(string(data), "41") {
			c.t.Errorf("the client got a DISCONNECT packet and will not come back")
		}
	}
}

// occupy takes a port for the length of the test.
func occupy(t *testing.T) string {
	t.Helper()
	e, err := listen("test", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	return e.addrs()[0]
}

func status(t *testing.T, method, url string) int {
	t.Helper()
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := newClient(t).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}
