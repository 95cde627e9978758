package engineio

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/chorus/internal/frame"
)

// openPolling opens a session and returns the address of its requests.
func openPolling(t *testing.T, e *engine, url string) (string, *client) {
	t.Helper()
	_, body, _ := do(t, "GET", url+"/engine.io/?EIO=4&transport=polling", "")
	sid := parseOpen(t, body).SID
	for c := range e.clients {
		if c.session.ID() == sid {
			return url + "/engine.io/?EIO=4&transport=polling&sid=" + sid, c
		}
	}
	return "", nil
}

type answer struct {
	status int
	body   string
	err    error
}

// get polls in the background.
func get(ctx context.Context, url string) chan answer {
	c := make(chan answer, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
		if err != nil {
			c <- answer{err: err}
			return
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			c <- answer{err: err}
			return
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		c <- answer{res.StatusCode, string(b), err}
	}()
	return c
}

func (c *client) polled(t *testing.T) {
	t.Helper()
	waitUntil(t, func() bool {
		c.session.mu.Lock()
		defer c.session.mu.Unlock()
		return c.session.poll != nil
	})
}

func TestPosts(t *testing.T) {
	e := newEngine(t, func(o *Options) { o.MaxPayload = 1000 })
	base := e.server(t).URL
	for name, tc := range map[string]struct {
		body   string
		status int
		got    []string
		reason Reason // empty: the session lives
	}{
		"one":                  {"4hello", 200, []string{"hello"}, ""},
		"several":              {"4a\x1ebAQIDBA==\x1e3\x1e4b", 200, []string{"a", "\x01\x02\x03\x04", "b"}, ""},
		"ignored":              {"0\x1e5\x1e6\x1e4a", 200, []string{"a"}, ""},
		"empty":                {"", 200, nil, ParseError},
		"bad packet":           {"4a\x1e9\x1e4b", 200, []string{"a"}, ParseError},
		"empty packet":         {"4a\x1e\x1e4b", 200, []string{"a"}, ParseError},
		"not UTF-8":            {"4a\x1e4\xff\x1e4b", 200, []string{"a"}, ParseError},
		"bad base64":           {"b*", 200, nil, ParseError},
		"ping":                 {"2", 200, nil, TransportError},
		"close":                {"4a\x1e1\x1e4b", 200, []string{"a"}, TransportClose},
		"largest":              {"4" + strings.Repeat("x", 999), 200, []string{strings.Repeat("x", 999)}, ""},
		"too large":            {"4" + strings.Repeat("x", 1000), 413, nil, ""},
		"too large, no length": {"4" + strings.Repeat("x", 5000), 413, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			url, c := openPolling(t, e, base)
			var body io.Reader = strings.NewReader(tc.body)
			if strings.Contains(name, "no length") {
				body = io.MultiReader(body) // sent in chunks
			}
			res, err := http.Post(url, "text/plain;charset=UTF-8", body)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if want := map[int]string{200: "ok"}[tc.status]; res.StatusCode != tc.status || string(b) != want {
				t.Errorf("%d %q, want %d %q", res.StatusCode, b, tc.status, want)
			}
			if got := c.messages(); !slices.Equal(got, tc.got) {
				t.Errorf("messages = %q, want %q", got, tc.got)
			}
			if tc.reason != "" {
				if got := <-c.closed; got.reason != tc.reason {
					t.Errorf("reason = %q (%v), want %q", got.reason, got.detail, tc.reason)
				}
				if status, body, _ := do(t, "GET", url, ""); status != 400 || body != `{"code":1,"message":"Session ID unknown"}` {
					t.Errorf("GET afterwards: %d %q", status, body)
				}
			} else if !c.session.isOpen() {
				t.Error("the session was closed")
			}
		})
	}
	if st := e.Stats(); st.Rejected["too_large"] != 2 {
		t.Errorf("Rejected = %v", st.Rejected)
	}
}

func TestPollTakesWhatWaits(t *testing.T) {
	e := newEngine(t, func(o *Options) { o.MaxPayload = 100 })
	url, c := openPolling(t, e, e.server(t).URL)
	var left atomic.Int32
	f := frame.Text(append(frame.Begin(0), "451-x"...), []byte{1, 2, 3, 4}).WithWritten(func() { left.Add(1) })
	_ = c.session.Send(text("a"), false)
	_ = c.session.Send(f, false)
	if err := c.session.Send(text("v"), true); err != ErrDropped {
		t.Errorf("volatile without a GET: %v, want ErrDropped", err)
	}
	if _, body, _ := do(t, "GET", url, ""); body != "4a\x1e451-x\x1ebAQIDBA==" {
		t.Errorf("poll = %q", body)
	}
	waitUntil(t, func() bool { return left.Load() == 1 })
	waiting := get(t.Context(), url)
	c.polled(t)
	if err := c.session.Send(text("v"), true); err != nil {
		t.Errorf("volatile with a GET: %v", err)
	}
	if got := <-waiting; got.body != "4v" {
		t.Errorf("poll = %+v", got)
	}
	for range 3 { // one answer has at most MaxPayload bytes
		_ = c.session.Send(text(strings.Repeat("x", 60)), false)
	}
	for range 3 {
		if _, body, _ := do(t, "GET", url, ""); len(body) != 61 {
			t.Errorf("poll = %q", body)
		}
	}
	waitUntil(t, func() bool { return e.Stats().Flushes[polling] == 6 })
	st := e.Stats()
	if st.Deliveries[polling] != 7 || st.Dropped["volatile"] != 1 {
		t.Errorf("Stats = %+v", st)
	}
}

func TestOverlappingPolls(t *testing.T) {
	e := newEngine(t, nil)
	url, c := openPolling(t, e, e.server(t).URL)
	first := get(t.Context(), url)
	c.polled(t)
	if status, body, _ := do(t, "GET", url, ""); status != 400 || body != "" {
		t.Errorf("second: %d %q, want 400", status, body)
	}
	if got := <-first; got.status != 200 || got.body != "1" {
		t.Errorf("first: %+v, want 1", got)
	}
	if got := <-c.closed; got.reason != TransportError || got.detail != errPollOverlap {
		t.Errorf("closed as %+v", got)
	}
	waitUntil(t, func() bool { return len(e.Sessions()) == 0 }) // when the handler of the first has returned
	if status, body, _ := do(t, "GET", url, ""); status != 400 || !strings.Contains(body, "Session ID unknown") {
		t.Errorf("third: %d %q", status, body)
	}
	if got := e.Stats().Rejected["overlap"]; got != 1 {
		t.Errorf("overlap counted %d times", got)
	}
}

func TestOverlappingPosts(t *testing.T) {
	e := newEngine(t, nil)
	url, c := openPolling(t, e, e.server(t).URL)
	r, w := io.Pipe()
	first := make(chan error, 1)
	go func() {
		res, err := http.Post(url, "text/plain", r)
		if err == nil {
			_ = res.Body.Close()
		}
		first <- err
	}()
	_, _ = w.Write([]byte("4half"))
	waitUntil(t, func() bool {
		c.session.mu.Lock()
		defer c.session.mu.Unlock()
		return c.session.post != nil
	})
	if status, _, _ := do(t, "POST", url, "4second"); status != 400 {
		t.Errorf("second: %d, want 400", status)
	}
	waitUntil(t, func() bool { // the client's transport looks at its connection when its writing ends
		_, err := w.Write([]byte("x"))
		return err != nil
	})
	if err := <-first; err == nil {
		t.Error("the first was answered, want a reset")
	}
	if got := <-c.closed; got.reason != TransportError || got.detail != errPostOverlap {
		t.Errorf("closed as %+v", got)
	}
	if got := c.messages(); len(got) != 0 {
		t.Errorf("messages = %q", got)
	}
}

func TestAbandonedRequests(t *testing.T) {
	e := newEngine(t, nil)
	base := e.server(t).URL
	url, c := openPolling(t, e, base)
	ctx, cancel := context.WithCancel(t.Context())
	waiting := get(ctx, url)
	c.polled(t)
	cancel()
	<-waiting
	if got := <-c.closed; got.reason != TransportError || got.detail != errPollGone {
		t.Errorf("GET: closed as %+v", got)
	}

	url, c = openPolling(t, e, base)
	r, w := io.Pipe()
	ctx, cancel = context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "POST", url, r)
	go func() {
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
		}
	}()
	_, _ = w.Write([]byte("4half"))
	cancel()
	if got := <-c.closed; got.reason != TransportError {
		t.Errorf("POST: closed as %+v", got)
	}
	_ = w.Close()
}

func TestCloseOnPolling(t *testing.T) {
	e := newEngine(t, nil)
	base := e.server(t).URL
	for name, tc := range map[string]struct {
		waiting, queued bool
		want            []string
	}{
		"a GET waits": {true, false, []string{"1"}},
		"none waits":  {false, false, []string{"6\x1e1"}},
		// Apart: official clients do not hear messages that come in one payload with the close packet.
		"with frames": {false, true, []string{"4last", "6\x1e1"}},
	} {
		t.Run(name, func(t *testing.T) {
			url, c := openPolling(t, e, base)
			if tc.queued {
				_ = c.session.Send(text("last"), false)
			}
			if !tc.waiting {
				c.session.Close(ForcedClose, nil)
			}
			for _, want := range tc.want {
				got := get(t.Context(), url)
				if tc.waiting {
					c.polled(t)
					c.session.Close(ForcedClose, nil)
				}
				if a := <-got; a.status != 200 || a.body != want {
					t.Errorf("poll = %+v, want %q", a, want)
				}
			}
			waitUntil(t, func() bool { return e.session(c.session.ID()) == nil })
		})
	}
}

func TestClientClosesPolling(t *testing.T) {
	e := newEngine(t, nil)
	url, c := openPolling(t, e, e.server(t).URL)
	waiting := get(t.Context(), url)
	c.polled(t)
	if _, body, _ := do(t, "POST", url, "1"); body != "ok" {
		t.Errorf("post = %q", body)
	}
	if got := <-waiting; got.body != "6" {
		t.Errorf("poll = %+v, want 6", got)
	}
	if got := <-c.closed; got.reason != TransportClose {
		t.Errorf("reason = %q", got.reason)
	}
}

// POSTs and GETs of one session over HTTP/2 share a connection.
func TestHTTP2(t *testing.T) {
	e := newEngine(t, nil)
	s := httptest.NewUnstartedServer(e)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	old := http.DefaultClient
	http.DefaultClient = s.Client()
	t.Cleanup(func() { http.DefaultClient = old })

	url, c := openPolling(t, e, s.URL)
	if !c.session.Handshake().Secure {
		t.Error("not secure")
	}
	waiting := get(t.Context(), url)
	c.polled(t)
	if _, body, _ := do(t, "POST", url, "4up"); body != "ok" {
		t.Errorf("post = %q", body)
	}
	_ = c.session.Send(text("down"), false)
	if got := <-waiting; got.body != "4down" {
		t.Errorf("poll = %+v", got)
	}
	<-c.came
	ctx, cancel := context.WithCancel(t.Context())
	waiting = get(ctx, url)
	c.polled(t)
	cancel()
	<-waiting
	if got := <-c.closed; got.reason != TransportError {
		t.Errorf("reason = %q", got.reason)
	}
}

// Many sessions post, poll and are sent to at once: nothing is lost, doubled or reordered.
func TestManyPollingSessions(t *testing.T) {
	e := newEngine(t, nil)
	base := e.server(t).URL
	const messages = 60
	var sessions sync.WaitGroup
	for range 20 {
		url, c := openPolling(t, e, base)
		sessions.Go(func() {
			var work sync.WaitGroup
			work.Go(func() {
				for n := range messages {
					_ = c.session.Send(text(string(rune('A'+n))), false)
				}
			})
			work.Go(func() {
				for n := range messages / 2 {
					_, _, _ = do(t, "POST", url, "4"+string(rune('A'+2*n))+"\x1e4"+string(rune('A'+2*n+1)))
				}
			})
			got := ""
			for strings.Count(got, "4") < messages {
				_, body, _ := do(t, "GET", url, "")
				got += body + "\x1e"
			}
			work.Wait()
			want := ""
			for n := range messages {
				want += string(rune('A' + n))
			}
			if got = strings.NewReplacer("4", "", "\x1e", "").Replace(got); got != want {
				t.Errorf("polled %q, want %q", got, want)
			}
			if got := strings.Join(c.messages(), ""); got != want {
				t.Errorf("posted %q, want %q", got, want)
			}
		})
	}
	sessions.Wait()
}

// unbuffered is a response writer whose client has at once what is written.
type unbuffered struct {
	*httptest.ResponseRecorder
	then func()
}

func (w *unbuffered) Write(b []byte) (int, error) {
	defer w.then()
	return w.ResponseRecorder.Write(b)
}

// A client that has the answer to a POST may send the next one at once, on another connection.
func TestPOSTAtOnceAfterTheAnswer(t *testing.T) {
	e := newEngine(t, nil)
	url, c := openPolling(t, e, e.server(t).URL)
	post := func(body string, then func()) string {
		w := &unbuffered{httptest.NewRecorder(), then}
		e.ServeHTTP(w, httptest.NewRequest("POST", url, strings.NewReader(body)))
		return w.Body.String()
	}
	second := ""
	first := post("4a", func() { second = post("4b", func() {}) })
	if first != "ok" || second != "ok" || strings.Join(c.messages(), "") != "ab" {
		t.Errorf("answers %q and %q, messages %q", first, second, c.messages())
	}
}
