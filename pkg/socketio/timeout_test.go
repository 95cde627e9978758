package socketio_test

import (
	"context"
	"errors"
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
