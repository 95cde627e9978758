package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"example.com/chorus/internal/epoll"
)

// established marks the context of calls on a connection that exists: go-redis must not dial in them. It would
// connect anew and subscribe to everything in one command, unseen by us; the session does it itself, in batches
// and with back-off.
type established struct{}

var errConnectionLost = errors.New("connection lost")

// lateRead is how long a read goes on behind its deadline.
const lateRead = 100 * time.Millisecond

// dialError is the error of a connection that did not come about, so that nothing was sent on it.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// mortal is a connection that is closed when the adapter's life ends: a server that accepts and never answers must
// not hold up Close.
type mortal struct {
	net.Conn
	keep     func() bool // from the end of that life
	failover *failover   // nil without Sentinels
}

func (c *mortal) Close() error {
	c.keep()
	c.failover.remove(c)
	return c.Conn.Close()
}

// Read looks once more when the deadline has passed. A process that did not run for a while, on a host that was suspended
// or a processor that others had, finds both the end of its patience and what arrived in time, and Go's poller would look
// at the clock alone: a sound connection would be closed, and with it what waits in it lost.
func (c *mortal) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	var timeout net.Error
	if n > 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		return n, err
	}
	if err := c.SetReadDeadline(time.Now().Add(lateRead)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// NetConn lets go-redis see whether the peer hung up.
func (c *mortal) NetConn() net.Conn { return c.Conn }

// newClient returns a client of our own to the server of rdb. life ends dials that are under way. The failover is nil
// for clients that know no Sentinels.
func newClient(life context.Context, rdb redis.UniversalClient, watchdog time.Duration) (*redis.Client, *failover, error) {
	var (
		o redis.Options
		f *failover
	)
	switch c := rdb.(type) {
	case *redis.Client:
		if o = *c.Options(); o.Addr == failoverAddr {
			o.OnConnect = masterOnly(o.OnConnect)
			f = &failover{conns: map[*mortal]struct{}{}}
		}
	case *redis.ClusterClient:
		o = anyMaster(c)
	default:
		return nil, nil, fmt.Errorf("redisadapter: a client of type %T is not supported, give a *redis.Client or *redis.ClusterClient", rdb)
	}
	dial := within(life, o.Dialer, watchdog)
	if f != nil {
		f.dial = func(ctx context.Context) (net.Conn, error) { return dial(ctx, o.Network, o.Addr) }
	}
	o.Dialer = mortalDialer(life, dial, f)
	return privateClient(o, watchdog), f, nil
}

// newServerClient returns a client of our own to one server of a cluster.
func newServerClient(life context.Context, o redis.Options, watchdog time.Duration) *redis.Client {
	o.Dialer = mortalDialer(life, within(life, o.Dialer, watchdog), nil)
	return privateClient(o, watchdog)
}

// privateClient returns a client with these options, but for those that are not for its user to choose.
func privateClient(o redis.Options, watchdog time.Duration) *redis.Client {
	// A retry would deliver a message twice whose answer got lost.
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DialTimeout = bounded(o.DialTimeout, watchdog)
	o.ReadTimeout = bounded(o.ReadTimeout, watchdog)
	o.WriteTimeout = bounded(o.WriteTimeout, watchdog)
	// RESP3 adds push messages and maintenance notifications, of which nothing is used here.
	o.Protocol = 2
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.PushNotificationProcessor = nil
	o.ClientSideCache, o.ClientSideCacheConfig = nil, nil
	// One pipeline is in flight at a time. The pool is large only because after as many failed dials as it has
	// places it tries no more than once a second, on its own clock.
	// Pings and pipelines share it, so that a ping tells about the connection that publishes.
	o.PoolSize, o.PipelinePoolSize, o.MaxConcurrentDials = 1024, -1, 0
	o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = 0, 0, 0
	return redis.NewClient(&o)
}

// anyMaster returns options by which each connection goes to a master of the cluster, another one each time: what is
// published on one reaches the subscribers of all, and a master that failed is not tried for ever.
func anyMaster(c *redis.ClusterClient) redis.Options {
	o := c.Options()
	return redis.Options{
		Addr: "a master of the cluster", ClientName: o.ClientName, Username: o.Username, Password: o.Password,
		CredentialsProvider: o.CredentialsProvider, CredentialsProviderContext: o.CredentialsProviderContext,
		StreamingCredentialsProvider: o.StreamingCredentialsProvider, OnConnect: o.OnConnect,
		DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout, DisableIdentity: o.DisableIdentity,
		Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
			master, err := c.MasterForKey(ctx, strconv.FormatUint(rand.Uint64(), 36))
			if err != nil {
				return nil, fmt.Errorf("find a master: %w", err)
			}
			at := master.Options()
			return at.Dialer(ctx, network, at.Addr)
		},
	}
}

// newClusterClient returns a client of our own to the masters of a cluster, which sends each command to the server of its
// key. It follows no redirection and repeats nothing: the callers do, and know what must not run twice.
func newClusterClient(life context.Context, c *redis.ClusterClient, watchdog time.Duration) *redis.ClusterClient {
	o := *c.Options()
	if o.Dialer == nil {
		o.Dialer = redis.NewDialer(&redis.Options{DialTimeout: bounded(o.DialTimeout, watchdog), TLSConfig: o.TLSConfig})
	}
	o.Dialer = mortalDialer(life, within(life, o.Dialer, watchdog), nil)
	o.MaxRedirects, o.MaxRetries, o.DialerRetries = -1, -1, 1
	o.DialTimeout = bounded(o.DialTimeout, watchdog)
	o.ReadTimeout = bounded(o.ReadTimeout, watchdog)
	o.WriteTimeout = bounded(o.WriteTimeout, watchdog)
	o.ReadOnly, o.RouteByLatency, o.RouteRandomly = false, false, false // a replica may be behind
	o.Protocol = 2
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = 1024, 0, 0, 0
	return redis.NewClusterClient(&o)
}

// within dials in the watchdog's time and before the end of life.
func within(life context.Context, dial dialer, watchdog time.Duration) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, watchdog)
		defer cancel()
		defer context.AfterFunc(life, cancel)()
		return dial(ctx, network, addr)
	}
}

// mortalDialer makes connections that end with life.
func mortalDialer(life context.Context, dial dialer, f *failover) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if ctx.Value(established{}) != nil {
			return nil, errConnectionLost
		}
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, &dialError{err}
		}
		conn = epoll.Conn(conn)
		c := &mortal{Conn: conn, failover: f, keep: context.AfterFunc(life, func() { _ = conn.Close() })}
		f.add(c)
		if k, ok := ctx.Value(corkKey{}).(*cork); ok {
			return k.over(c), nil
		}
		return c, nil
	}
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// bounded returns d, or the limit if d is none or longer.
func bounded(d, limit time.Duration) time.Duration {
	if d <= 0 || d > limit {
		return limit
	}
	return d
}

// errorKind sorts an error of Redis or of the way there into a kind of adapter.Stats.PublishErrors.
func errorKind(err error) string {
	var timeout net.Error
	text := err.Error()
	switch {
	case redis.IsAuthError(err), redis.IsPermissionError(err), strings.Contains(text, "WRONGPASS"),
		strings.Contains(text, "invalid password"):
		return "auth"
	case redis.IsOOMError(err):
		return "oom"
	case redis.IsReadOnlyError(err):
		return "readonly"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case isMoved(err):
		return "moved"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return "other"
}

// neverSent reports whether a command that failed with err certainly did not run and may succeed later, so that
// it can be sent again.
func neverSent(err error) bool {
	var dial *dialError
	return errors.As(err, &dial) || isElsewhere(err) || redis.IsAuthError(err) || redis.IsLoadingError(err)
}

// refusesWrites reports whether a server takes nothing that is to be kept, but may later: it is full, or a replica.
func refusesWrites(err error) bool { return redis.IsOOMError(err) || redis.IsReadOnlyError(err) }

// isElsewhere reports whether a server of a cluster refused a command for which another one is, or will be, in charge.
func isElsewhere(err error) bool {
	if !isReply(err) {
		return false
	}
	word, _, _ := strings.Cut(err.Error(), " ")
	return word == "MOVED" || word == "ASK" || word == "TRYAGAIN" || word == "CLUSTERDOWN"
}

// isMoved reports whether a server refused a command because another one is in charge of the slot.
func isMoved(err error) bool {
	_, moved := redis.IsMovedError(err)
	return moved
}

// isReply reports whether err is an answer of Redis, so that the connection works.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// backoff is the pause before attempt n, counted from zero: short after a connection that worked, then doubling
// to a second, with jitter so that the nodes of a cluster do not come all at once.
func backoff(attempt int) time.Duration {
	d := min(20*time.Millisecond<<min(attempt, 10), time.Second)
	return d/2 + rand.N(d/2)
}

// sleep waits for d and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
