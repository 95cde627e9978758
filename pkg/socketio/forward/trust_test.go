package forward_test

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/chorus/pkg/socketio/forward"
)

// sheltered is a Forwarder before a handler that counts what reaches it.
func sheltered(t testing.TB, o *forward.Options) (internal http.Handler, f *forward.Forwarder, reached *atomic.Int32) {
	t.Helper()
	reached = new(atomic.Int32)
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		if r.Header.Get(forward.Header) != "" {
			t.Error("the handler sees our header")
		}
		fmt.Fprintf(w, "%s %v %s", r.RemoteAddr, r.TLS != nil, r.Host)
	})
	if o.Members == nil {
		o.Members = &members{}
	}
	o.Tag, o.Logger = "a", slog.New(slog.DiscardHandler)
	f, err := forward.New(next, o)
	if err != nil {
		t.Fatal(err)
	}
	return f.Internal(), f, reached
}

const target = "http://chat.example/socket.io/?EIO=4&transport=polling&sid=a_0123456789"

// forwarded is a request as another node passes it on.
func forwarded(key []byte, at time.Time) *http.Request {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader("3"))
	r.RequestURI = r.URL.RequestURI()
	r.RemoteAddr = "10.0.0.2:4711"
	r.Header.Set("Cookie", "c=1")
	r.Header.Set("X-Forwarded-For", "203.0.113.7")
	r.Header.Set(forward.Header, forward.Sign(key, r, "198.51.100.1:5555", at))
	return r
}

func TestRefusedForwards(t *testing.T) {
	other := []byte("another secret of enough bytes")
	change := func(f func(r *http.Request)) func() *http.Request {
		return func() *http.Request {
			r := forwarded(secret, time.Now())
			f(r)
			return r
		}
	}
	field := func(number int, value string) func() *http.Request {
		return change(func(r *http.Request) {
			fields := strings.Split(r.Header.Get(forward.Header), " ")
			fields[number] = value
			r.Header.Set(forward.Header, strings.Join(fields, " "))
		})
	}
	tests := []struct {
		name, reason string
		request      func() *http.Request
	}{
		{"honest", "", func() *http.Request { return forwarded(secret, time.Now()) }},
		{"honest with a slow clock", "", func() *http.Request { return forwarded(secret, time.Now().Add(-4*time.Second)) }},
		{"honest with a quick clock", "", func() *http.Request { return forwarded(secret, time.Now().Add(4*time.Second)) }},
		{"honest to another header", "", change(func(r *http.Request) { r.Header.Set("Accept", "text/plain") })},
		{"no header", "unsigned", change(func(r *http.Request) { r.Header.Del(forward.Header) })},
		{"empty header", "malformed", change(func(r *http.Request) { r.Header.Set(forward.Header, "") })},
		{"two headers", "malformed", change(func(r *http.Request) { r.Header.Add(forward.Header, r.Header.Get(forward.Header)) })},
		{"secret itself", "malformed", change(func(r *http.Request) { r.Header.Set(forward.Header, string(secret)) })},
		{"huge header", "malformed", field(4, strings.Repeat("A", 4096))},
		{"another secret", "signature", func() *http.Request { return forwarded(other, time.Now()) }},
		{"no signature", "malformed", field(5, "")},
		{"signature of zeros", "signature", field(5, strings.Repeat("A", 43))},
		{"another version", "malformed", field(0, "2")},
		{"another time", "signature", field(1, fmt.Sprint(time.Now().UnixMilli()+1234))},
		{"another nonce", "signature", field(2, strings.Repeat("A", 22))},
		{"another scheme", "signature", field(3, "https")},
		{"no scheme", "malformed", field(3, "")},
		{"another client", "signature", field(4, "MTI3LjAuMC4xOjE")},
		{"another method", "signature", change(func(r *http.Request) { r.Method = http.MethodGet })},
		{"another path", "signature", change(func(r *http.Request) { r.RequestURI = "/socket.io/x" + r.RequestURI[10:] })},
		{"another query", "signature", change(func(r *http.Request) { r.RequestURI += "&b64=1" })},
		{"another session", "signature", change(func(r *http.Request) { r.URL.RawQuery = r.URL.RawQuery + "&sid=a_1" })},
		{"another host", "signature", change(func(r *http.Request) { r.Host = "evil.example" })},
		{"another origin", "signature", change(func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") })},
		{"another cookie", "signature", change(func(r *http.Request) { r.Header.Set("Cookie", "c=2") })},
		{"one more cookie", "signature", change(func(r *http.Request) { r.Header.Add("Cookie", "d=2") })},
		{"another chain", "signature", change(func(r *http.Request) { r.Header.Set("X-Forwarded-For", "127.0.0.1") })},
		{"no chain", "signature", change(func(r *http.Request) { r.Header.Del("X-Forwarded-For") })},
		{"old", "stale", func() *http.Request { return forwarded(secret, time.Now().Add(-forward.Freshness)) }},
		{"from the future", "stale", func() *http.Request { return forwarded(secret, time.Now().Add(forward.Freshness+time.Second)) }},
		{"for another node", "foreign", func() *http.Request {
			r := httptest.NewRequest(http.MethodGet, "/socket.io/?sid=b_0123456789", nil)
			r.Header.Set(forward.Header, forward.Sign(secret, r, "", time.Now()))
			return r
		}},
		{"for no session", "foreign", func() *http.Request {
			r := httptest.NewRequest(http.MethodGet, "/socket.io/?EIO=4", nil)
			r.Header.Set(forward.Header, forward.Sign(secret, r, "", time.Now()))
			return r
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			internal, f, reached := sheltered(t, &forward.Options{Secret: secret})
			w := httptest.NewRecorder()
			internal.ServeHTTP(w, tt.request())
			if tt.reason == "" {
				if w.Code != http.StatusOK || reached.Load() != 1 || w.Body.String() != "198.51.100.1:5555 false chat.example" {
					t.Errorf("answer %d %s, want that of the handler", w.Code, w.Body)
				}
				return
			}
			if w.Code != http.StatusForbidden || reached.Load() != 0 || !strings.HasPrefix(w.Header().Get(forward.Header), tt.reason+" ") {
				t.Errorf("answer %d %s, want 403 for %s", w.Code, w.Body, tt.reason)
			}
			for reason, n := range f.Stats().Refused {
				if n != 0 != (reason == tt.reason) {
					t.Errorf("%d refused as %s, want only %s", n, reason, tt.reason)
				}
			}
		})
	}
}

func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		internal, f, reached := sheltered(t, &forward.Options{Secret: secret})
		r := forwarded(secret, time.Now().Add(forward.Freshness-time.Millisecond)) // good for as long as can be
		for i := range 200 {
			internal.ServeHTTP(httptest.NewRecorder(), r.Clone(t.Context()))
			if reached.Load() != 1 {
				t.Fatalf("taken %d times after %d tries", reached.Load(), i+1)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if s := f.Stats().Refused; s["replayed"] != 99 || s["stale"] != 100 {
			t.Errorf("refused %v, want replayed 99 times, then stale", s)
		}
	})
}

// However many tickets come, memory is bounded and none is taken twice.
func TestNoncesUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n forward.Nonces
		type ticket struct {
			number uint32
			at     time.Time
		}
		var taken []ticket
		for i := range uint32(5 * forward.MaxNonces) {
			if reason := n.AddNonce(i, time.Now()); reason == "" {
				taken = append(taken, ticket{i, time.Now()})
			} else if reason != "stale" {
				t.Fatalf("ticket %d is %s", i, reason)
			}
			if i%1000 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		if size := n.Size(); size > 2*forward.MaxNonces {
			t.Errorf("%d nonces are kept", size)
		}
		if len(taken) < 5*forward.MaxNonces-1000 {
			t.Errorf("%d tickets were taken, want nearly all", len(taken))
		}
		for _, old := range taken {
			if n.AddNonce(old.number, old.at) == "" {
				t.Fatalf("ticket %d is taken twice", old.number)
			}
		}
		time.Sleep(time.Minute)
		n.AddNonce(0, time.Now())
		time.Sleep(time.Minute)
		n.AddNonce(1, time.Now())
		if size := n.Size(); size != 2 {
			t.Errorf("%d nonces are kept after a while, want 2", size)
		}
	})
}

func TestSecretChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		doubts := 0
		internal, f, reached := sheltered(t, &forward.Options{Doubt: func() { doubts++ }})
		taken := func(key []byte) bool {
			before := reached.Load()
			internal.ServeHTTP(httptest.NewRecorder(), forwarded(key, time.Now()))
			return reached.Load() > before
		}
		next := []byte("the next secret, which is good too")
		if taken(secret) || f.Stats().Refused["no_secret"] != 1 {
			t.Error("taken without a secret")
		}
		for _, key := range [][]byte{secret, secret, next} {
			if err := f.SetSecret(key); err != nil {
				t.Fatal(err)
			}
		}
		if !taken(next) || !taken(secret) {
			t.Error("one of both secrets is not accepted")
		}
		time.Sleep(31 * time.Second)
		if !taken(next) || taken(secret) || taken(secret) {
			t.Error("after a while only the new secret must count")
		}
		if doubts != 1 {
			t.Errorf("%d doubts, want 1 a second", doubts)
		}
		if f.SetSecret([]byte("short")) == nil {
			t.Error("a short secret is accepted")
		}
	})
}

// What came over TLS at the other node is secure here, whatever this hop is.
func TestSchemeIsThatOfTheFirstNode(t *testing.T) {
	internal, _, _ := sheltered(t, &forward.Options{Secret: secret})
	r := forwarded(secret, time.Now())
	r.TLS = &tls.ConnectionState{}
	r.Header.Set(forward.Header, forward.Sign(secret, r, "client", time.Now()))
	for _, hop := range []*tls.ConnectionState{nil, {}} {
		c := r.Clone(t.Context())
		c.TLS = hop
		c.Header.Set(forward.Header, forward.Sign(secret, r, "client", time.Now()))
		w := httptest.NewRecorder()
		internal.ServeHTTP(w, c)
		if w.Body.String() != "client true chat.example" {
			t.Errorf("the handler sees %s", w.Body)
		}
	}
}

// A header from outside is no way in, not even a good one.
func TestPublicHandlerBelievesNothing(t *testing.T) {
	_, f, reached := sheltered(t, &forward.Options{Secret: secret})
	w := httptest.NewRecorder()
	f.ServeHTTP(w, forwarded(secret, time.Now()))
	if reached.Load() != 1 || w.Body.String() != "10.0.0.2:4711 false chat.example" {
		t.Errorf("the handler sees %s, want the address of the connection", w.Body)
	}
	if f.Stats().Refused["outside"] != 1 {
		t.Error("the header was not counted")
	}
}

func FuzzTicket(f *testing.F) {
	f.Add(forwarded(secret, time.Now()).Header.Get(forward.Header))
	for _, s := range []string{"", " ", "1 2 3 4 5 6", "1 9223372036854775807 AAAAAAAAAAAAAAAAAAAAAA http  " + strings.Repeat("A", 43)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ticket, err := forward.ParseTicket(s)
		if err != nil {
			return
		}
		again, err := forward.ParseTicket(ticket.String())
		if err != nil || again.String() != ticket.String() {
			t.Errorf("%q becomes %q, %v", s, ticket.String(), err)
		}
	})
}
