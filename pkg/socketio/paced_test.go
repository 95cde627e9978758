package socketio

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// queued is a listener with connections that have come already.
type queued struct {
	conns    chan net.Conn
	accepted atomic.Int32
}

func (q *queued) Accept() (net.Conn, error) {
	c, ok := <-q.conns
	if !ok {
		return nil, net.ErrClosed
	}
	q.accepted.Add(1)
	return c, nil
}

func (q *queued) Close() error   { return nil }
func (q *queued) Addr() net.Addr { return &net.TCPAddr{} }

func TestPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var states atomic.Int32
		server := &http.Server{ConnState: func(net.Conn, http.ConnState) { states.Add(1) }}
		q := &queued{conns: make(chan net.Conn, 100)}
		l := Paced(q, server).(*paced)
		l.most = 3
		var all []net.Conn
		for range 10 {
			near, far := net.Pipe()
			defer far.Close()
			all = append(all, near)
			q.conns <- near
		}
		close(q.conns)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				if _, err := l.Accept(); err != nil {
					return
				}
			}
		}()
		accepted := func(want int32, why string) {
			t.Helper()
			synctest.Wait()
			if n := q.accepted.Load(); n != want {
				t.Fatalf("accepted %d, want %d: %s", n, want, why)
			}
		}
		accepted(3, "the bound")
		server.ConnState(all[0], http.StateNew)
		server.ConnState(all[0], http.StateActive)
		accepted(3, "the request is not answered")
		server.ConnState(all[0], http.StateHijacked)
		accepted(4, "one was answered")
		server.ConnState(all[0], http.StateClosed) // it counts no more
		accepted(4, "the same one again")
		server.ConnState(all[1], http.StateIdle)
		server.ConnState(all[2], http.StateClosed)
		accepted(6, "two were answered")
		time.Sleep(pacedPatience - time.Millisecond)
		accepted(6, "three are silent")
		time.Sleep(time.Millisecond)
		accepted(9, "three were silent for long enough")
		time.Sleep(pacedPatience)
		<-done
		if states.Load() != 6 {
			t.Errorf("the function that was there was called %d times", states.Load())
		}
	})
}

// Through a real server, with TLS above the listener and below it: whoever is answered makes room.
func TestPacedServer(t *testing.T) {
	for _, below := range []bool{false, true} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }))
		start, url := s.StartTLS, func() string { return s.URL }
		if below {
			certificate := httptest.NewTLSServer(nil)
			defer certificate.Close()
			s.Listener = tls.NewListener(s.Listener, certificate.TLS)
			start, url = s.Start, func() string { return "https://" + s.Listener.Addr().String() }
		}
		l := Paced(s.Listener, s.Config).(*paced)
		l.most, l.patience = 1, time.Hour
		s.Listener = l
		start()
		defer s.Close()
		for range 5 {
			client := &http.Client{
				Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 10 * time.Second,
			}
			res, err := client.Get(url())
			if err != nil {
				t.Fatalf("below %v: %v", below, err)
			}
			if b, _ := io.ReadAll(res.Body); string(b) != "ok" {
				t.Errorf("below %v: body %q", below, b)
			}
			_ = res.Body.Close()
			defer client.CloseIdleConnections()
		}
	}
}
