package redisadapter

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// failoverAddr is what go-redis has in place of an address in the options of NewFailoverClient.
const failoverAddr = "FailoverClient"

var errReplica = errors.New("connected to a replica")

// masterOnly refuses connections to a replica. Sentinels name the old master for a while after it became one, and what
// is published there reaches nobody else.
func masterOnly(next func(context.Context, *redis.Conn) error) func(context.Context, *redis.Conn) error {
	return func(ctx context.Context, c *redis.Conn) error {
		role, err := c.Do(ctx, "ROLE").Slice()
		if err != nil {
			return err
		}
		if len(role) == 0 || role[0] != "master" {
			return errReplica
		}
		if next == nil {
			return nil
		}
		return next(ctx, c)
	}
}

// failover finds connections that were left at a former master, which Sentinels may not demote for ten seconds: those
// who are there do not hear those who are not. Each second it asks where the master is and closes what is elsewhere.
type failover struct {
	dial func(ctx context.Context) (net.Conn, error) // to the master

	mu     sync.Mutex
	conns  map[*mortal]struct{}
	master string // of the newest connection
	moves  int    // how often that was another one
}

// run ends with ctx. It does nothing on nil, the failover of a client without Sentinels.
func (f *failover) run(ctx context.Context) {
	if f == nil {
		return
	}
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.closeStrays(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (f *failover) closeStrays(ctx context.Context) {
	conn, err := f.dial(ctx)
	if err != nil { // nobody knows better
		return
	}
	master := conn.RemoteAddr().String()
	_ = conn.Close()
	f.mu.Lock()
	var strays []*mortal
	for c := range f.conns {
		if c.RemoteAddr().String() != master {
			strays = append(strays, c)
		}
	}
	f.mu.Unlock()
	for _, c := range strays {
		_ = c.Close()
	}
}

func (f *failover) add(c *mortal) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns[c] = struct{}{}
	at := c.RemoteAddr().String()
	if f.master != "" && f.master != at {
		f.moves++
	}
	f.master = at
}

// moved reports whether the master has become another one since the call before, whose result seen keeps.
func (f *failover) moved(seen *int) bool {
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	before := *seen
	*seen = f.moves
	return f.moves != before
}

func (f *failover) remove(c *mortal) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}
