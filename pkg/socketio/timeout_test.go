package socketio_test

import (
	"context"
	"errors"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/siotest"
)

// bubble runs a test on a clock of its own, with a server that ends within it.
func bubble(t *testing.T, o *socketio.Options, test func(t *testing.T, server *socketio.Server)) {
	synctest.Test(t, func(t *testing.T) {
		server, err := socketio.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		test(t, server)
		if err := server.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

func connectIn(t *testing.T, server *socketio.Server) *siotest.Client {
	t.Helper()
	c, err := siotest.Connect(t.Context(), server, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAckTimeout(t *testing.T) {
	bubble(t, nil, func(t *testing.T, server *socketio.Server) {
		errs := make(chan error, 1)
		server.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
			start := time.Now()
			_, err := s.EmitWithAck(ctx, "question") // nobody answers
			if d := time.Since(start); d != 30*time.Second {
				t.Errorf("EmitWithAck waited %v, want 30s", d)
			}
			errs <- err
			return nil
		})
		c := connectIn(t, server)
		defer c.Close()
		if err := <-errs; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("EmitWithAck = %v, want DeadlineExceeded", err)
		}
		start := time.Now()
		answers, err := server.EmitWithAck(t.Context(), "question")
		if d := time.Since(start); d != 30*time.Second || !errors.Is(err, context.DeadlineExceeded) || len(answers) != 0 {
			t.Errorf("broadcast with ack: %d answers, %v after %v", len(answers), err, d)
		}
	})
}

func TestSlowHandlerTimeout(t *testing.T) {
	bubble(t, nil, func(t *testing.T, server *socketio.Server) {
		ended := make(chan time.Duration, 99) // the events behind the first are handled too
		server.On("slow", func(ctx context.Context, _ *socketio.Socket, _ socketio.Args) error {
			start := time.Now()
			<-ctx.Done()
			ended <- time.Since(start)
			return nil
		})
		c := connectIn(t, server)
		defer c.Close()
		for range 65 {
			if err := c.Emit(t.Context(), "slow"); err != nil {
				t.Fatal(err)
			}
		}
		if d := <-ended; d != 10*time.Second {
			t.Errorf("the connection was closed after %v, want 10s", d)
		}
	})
}

func TestSessionsExpire(t *testing.T) {
	o := &socketio.Options{Recovery: &socketio.Recovery{Window: time.Minute, MaxSessions: 2}}
	bubble(t, o, func(t *testing.T, server *socketio.Server) {
		expired := make(chan socketio.ExpiredSession, 9)
		server.OnSessionExpired(func(_ context.Context, s socketio.ExpiredSession) { expired <- s })
		server.OnConnect(func(ctx context.Context, s *socketio.Socket) error {
			s.Set("k", "v")
			return s.Join(ctx, "r")
		})
		start := time.Now()
		var first string
		for i := range 3 {
			c := connectIn(t, server)
			if i == 0 {
				first = c.ID()
			}
			c.Close()
			synctest.Wait()
		}
		if s := <-expired; s.ID != first || len(s.Rooms) != 1 || s.Data["k"] != "v" || time.Since(start) != 0 {
			t.Errorf("one session too many: %+v expired after %v", s, time.Since(start))
		}
		for range 2 {
			if <-expired; time.Since(start) != time.Minute {
				t.Errorf("a session expired after %v, want 1m", time.Since(start))
			}
		}
		st := server.Stats().Namespaces[0]
		if st.Sessions != 0 || st.Recoveries["expired"] != 3 {
			t.Errorf("%d sessions, %v", st.Sessions, st.Recoveries)
		}
	})
}

// A session whose client did not get in with it, for whatever reason, is not forgotten: it expires in time.
func TestSessionsThatWereNotGivenBackExpire(t *testing.T) {
	o := &socketio.Options{Recovery: &socketio.Recovery{MaxMessages: 2, RunMiddlewares: true}}
	for name, refused := range map[string]bool{"missed too much": false, "refused by a middleware": true} {
		bubble(t, o, func(t *testing.T, server *socketio.Server) {
			expired := make(chan string, 9)
			server.OnSessionExpired(func(_ context.Context, s socketio.ExpiredSession) { expired <- s.ID })
			server.Use(func(_ context.Context, s *socketio.Socket) error {
				if refused && s.Recovered() {
					return errors.New("no")
				}
				return nil
			})
			c := connectIn(t, server)
			_ = server.Emit(t.Context(), "an offset")
			synctest.Wait()
			c.Close()
			synctest.Wait()
			left := time.Now()
			if !refused {
				for range 9 {
					_ = server.Emit(t.Context(), "missed")
				}
			}
			again, err := c.Reconnect(t.Context())
			switch {
			case refused != (err != nil):
				t.Errorf("%s: Reconnect = %v", name, err)
			case err == nil:
				defer again.Close()
			}
			if id := <-expired; id != c.ID() || time.Since(left) != 2*time.Minute {
				t.Errorf("%s: session of %s expired after %v, want that of %s after 2m", name, id, time.Since(left), c.ID())
			}
		})
	}
}

func TestChildOfExpiredSessionsIsRemoved(t *testing.T) {
	o := &socketio.Options{CleanupEmptyChildNamespaces: true, Recovery: &socketio.Recovery{}}
	bubble(t, o, func(t *testing.T, server *socketio.Server) {
		parent := server.OfMatch(regexp.MustCompile(`^/d`))
		c := connectIn(t, server)
		if _, err := c.Of(t.Context(), "/d1", nil); err != nil {
			t.Fatal(err)
		}
		c.Close()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(parent.Children()); n != 1 {
			t.Errorf("%d children while a session waits for its client, want 1", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(parent.Children()); n != 0 {
			t.Errorf("%d children after the last session expired, want none", n)
		}
	})
}

// A client whose connection broke again before it was let in has its session at the next attempt, also when the loss of
// that connection was not noticed.
func TestRecoveryIsTriedAgain(t *testing.T) {
	o := &socketio.Options{Recovery: &socketio.Recovery{RunMiddlewares: true}}
	for name, broken := range map[string]bool{"broken": true, "not noticed": false} {
		bubble(t, o, func(t *testing.T, server *socketio.Server) {
			attempts := 0
			server.Use(func(ctx context.Context, s *socketio.Socket) error {
				if s.Recovered() {
					if attempts++; attempts == 1 {
						<-ctx.Done()
					}
				}
				return nil
			})
			c := connectIn(t, server)
			_ = server.Emit(t.Context(), "an offset")
			synctest.Wait()
			c.Close()
			synctest.Wait()
			_ = server.Emit(t.Context(), "missed")
			failed := make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				defer close(failed)
				if _, err := c.Reconnect(ctx); err == nil {
					t.Errorf("%s: the first attempt is let in", name)
				}
			}()
			synctest.Wait()
			if broken {
				cancel()
				<-failed
				synctest.Wait()
			}
			start := time.Now()
			again, err := c.Reconnect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !again.Recovered() || again.ID() != c.ID() || again.Pending() != 1 || time.Since(start) != 0 {
				t.Errorf("%s: recovered %t with %d events after %v", name, again.Recovered(), again.Pending(), time.Since(start))
			}
			cancel()
			<-failed
			again.Close()
		})
	}
}
