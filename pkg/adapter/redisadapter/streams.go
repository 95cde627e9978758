package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
)

// StreamsOptions are the choices of the adapter of NewStreams. Nil and the zero value work; names and defaults are those
// of Node's adapter where it has the option.
type StreamsOptions struct {
	// Options are those of all adapters. Prefix, called channelPrefix in Node's adapter, is of the channels for requests;
	// Subscription and PublishOnSpecificResponseChannel mean nothing here.
	Options
	// StreamName is the key of the stream, and the first part of the keys if there are several. Default "socket.io".
	StreamName string
	// StreamCount is the number of streams over which namespaces are spread; all nodes must have the same. Default 1.
	StreamCount int
	// MaxLen is about how many entries a stream keeps. It bounds how long a client or a node may be away: at 1000
	// broadcasts per second the default is ten seconds. Default 10 000.
	MaxLen int64
	// ReadCount is how many entries are read at once. Default 100.
	ReadCount int
	// Block is how long a read waits for entries. A dead connection is noticed after Watchdog, which must be longer by a
	// second. Default 2 s, or less if Watchdog asks for that.
	Block time.Duration
	// SessionKeyPrefix stands before the private id in the key of a session. Default "sio:session:".
	SessionKeyPrefix string
	// ShardedPubSub carries requests and answers over the sharded Pub/Sub of Redis 7, as useShardedPubSub of Node's adapter
	// does; all nodes must have the same. Default no.
	ShardedPubSub bool
	// OnlyPlaintext refuses messages with binary values. Node's servers with the option of this name mangle them. Default
	// no.
	OnlyPlaintext bool
	// LocalAfter is how long the clients of this node wait for a broadcast of this node to come back from the stream, when
	// sessions are kept: then they get it without a place in the order. Default 1 s.
	LocalAfter time.Duration
}

func (o *StreamsOptions) withDefaults() (StreamsOptions, error) {
	var c StreamsOptions
	if o != nil {
		c = *o
	}
	var err error
	if c.Options, err = c.Options.withDefaults(); err != nil {
		return c, err
	}
	for _, t := range []struct {
		value    *string
		standard string
	}{{&c.StreamName, "socket.io"}, {&c.SessionKeyPrefix, "sio:session:"}} {
		if *t.value == "" {
			*t.value = t.standard
		}
	}
	for _, n := range []struct {
		name     string
		value    *int
		standard int
	}{{"StreamCount", &c.StreamCount, 1}, {"ReadCount", &c.ReadCount, 100}} {
		if *n.value == 0 {
			*n.value = n.standard
		}
		if *n.value < 0 {
			return c, fmt.Errorf("redisadapter: option %s is %d, must be positive", n.name, *n.value)
		}
	}
	if c.MaxLen == 0 {
		c.MaxLen = 10_000
	}
	if c.Block == 0 {
		c.Block = min(2*time.Second, c.Watchdog-time.Second)
	}
	if c.LocalAfter == 0 {
		c.LocalAfter = time.Second
	}
	switch {
	case c.MaxLen < 0:
		return c, fmt.Errorf("redisadapter: option MaxLen is %d, must be positive", c.MaxLen)
	case c.Block < time.Millisecond || c.Block > c.Watchdog-time.Second:
		return c, fmt.Errorf("redisadapter: option Block is %v, must be between 1ms and Watchdog less a second (%v)", c.Block, c.Watchdog-time.Second)
	case c.LocalAfter < 0:
		return c, fmt.Errorf("redisadapter: option LocalAfter is %v, must be positive", c.LocalAfter)
	}
	return c, nil
}

// streams is the adapter of NewStreams.
type streams struct {
	*line
	streamsOpts StreamsOptions
	names       streamNames
	wire        shardWire             // of requests and answers
	shards      *shards               // of sharded Pub/Sub in a cluster of Redis, else nil
	taking      chan struct{}         // of capacity maxTaking
	listening   redis.UniversalClient // of the subscriber in a cluster of Redis, else nil

	added   uint64                   // numbers of entries that were given out, by the publisher's goroutine alone
	readers map[string]*streamReader // by stream; guarded by line.mu
}

// maxTaking bounds the connections that are used at once to give sessions back.
const maxTaking = 32

var (
	_ adapter.Adapter = (*streams)(nil)
	_ adapter.Status  = (*streams)(nil)
	_ adapter.Counted = (*streams)(nil)
	_ adapter.Traced  = (*streams)(nil)
	_ adapter.Member  = (*streams)(nil)
	_ adapter.Drainer = (*streams)(nil)
	_ adapter.Keeper  = (*streams)(nil)
)

// NewStreams returns an adapter over Redis Streams in the format of @socket.io/redis-streams-adapter 0.3. Its links
// implement adapter.Requester, and the adapter implements adapter.Keeper, adapter.Status, adapter.Counted,
// adapter.Traced and adapter.Member.
//
// Broadcasts, and what joins, leaves and disconnects sockets, are entries of a stream, which every node reads from
// the entry that it read last: what comes while a node is away from Redis is not lost, as long as the stream keeps it
// (MaxLen); when it does not, that is counted (adapter.Stats.Gaps), traced and logged. Requests and their answers
// travel over Pub/Sub. While Redis is away, is full or is a replica, entries wait in the publish queue, and Ready says why.
//
// rdb must be a *redis.Client (of redis.NewClient or redis.NewFailoverClient) or a *redis.ClusterClient. The adapter takes
// over its options and connects by itself; rdb stays with the caller. Invalid options and another type of client are
// errors of Join.
func NewStreams(rdb redis.UniversalClient, o *StreamsOptions) adapter.Adapter {
	opts, err := o.withDefaults()
	mode := "streams"
	if opts.ShardedPubSub {
		mode += " with sharded Pub/Sub"
	}
	if opts.StreamName != "socket.io" {
		mode += " " + opts.StreamName
	}
	a := &streams{
		line: newLine(rdb, &opts.Options, newClusterID(), mode, opts.StreamCount), streamsOpts: opts,
		names: streamNames{opts.StreamName, opts.StreamCount}, taking: make(chan struct{}, maxTaking),
		readers: map[string]*streamReader{},
	}
	if err != nil {
		a.invalid = err
	}
	if a.invalid != nil {
		return a
	}
	a.publisher.verify = a.verify
	a.wire = single{a.line}
	if !opts.ShardedPubSub {
		a.wire = plain{single{a.line}}
	}
	if c, ok := rdb.(*redis.ClusterClient); ok { // each stream and each session has its server
		a.listening = a.rdb
		a.rdb = newClusterClient(a.life, c, a.opts.Watchdog)
		a.publisher.rdb = a.rdb
		if opts.ShardedPubSub {
			a.shards = newShards(a.line, c)
			a.wire = a.shards
		}
	}
	return a
}

// Close publishes what is queued, within ctx, ends all links and closes the connections. What could not be published in
// time is given up and counted; the error says that ctx ended.
func (a *streams) Close(ctx context.Context) error {
	var err error
	if a.shards != nil {
		err = a.shards.flush(ctx)
	}
	err = errors.Join(err, a.line.Close(ctx))
	if a.listening != nil {
		_ = a.listening.Close()
	}
	return err
}

// plain is the wire of Pub/Sub that is not sharded.
type plain struct{ single }

func (w plain) subscribers(ctx context.Context, channels []string) (map[string]int64, error) {
	return countSubscribers(w.line.rdb)(ctx, channels)
}

// method is how the channels of requests are subscribed.
func (a *streams) method() method {
	if a.streamsOpts.ShardedPubSub {
		return sharded
	}
	return exact
}

// Join connects a namespace. Its stream is read from now on, in the background; Ready tells when it is.
func (a *streams) Join(_ context.Context, namespace string, local adapter.Local) (adapter.Link, error) {
	if a.invalid != nil {
		return nil, a.invalid
	}
	c := channels{prefix: a.opts.Prefix, namespace: namespace}
	if err := c.check(); err != nil {
		return nil, err
	}
	l := newStreamLink(a, c, local)
	if err := a.join(namespace, l, l); err != nil {
		return nil, err
	}
	if a.shards != nil {
		a.shards.start()
	}
	for _, i := range l.interests() {
		a.wire.follow(l, i, false)
	}
	a.follow(l.stream, l)
	if stream, ok := a.names.lost(namespace); ok {
		a.follow(stream, l)
	}
	return l, nil
}

// follow has a stream read for a link, from now on if nobody did.
func (a *streams) follow(stream string, l *streamLink) {
	a.mu.Lock()
	r := a.readers[stream]
	begin := r == nil && !a.closed
	if r == nil {
		r = newStreamReader(stream, a)
		a.readers[stream] = r
	}
	if begin {
		a.goroutines.Go(func() { r.run(a.life) })
		a.goroutines.Go(func() { r.measureAlways(a.life) })
	}
	a.mu.Unlock()
	r.follow(l)
}

// reading returns the readers.
func (a *streams) reading() []*streamReader {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]*streamReader, 0, len(a.readers))
	for _, r := range a.readers {
		list = append(list, r)
	}
	return list
}

// Ready returns nil when Redis takes messages, the streams are read and the channels of all namespaces are subscribed.
func (a *streams) Ready() error {
	if err := a.line.Ready(); err != nil {
		return err
	}
	if a.shards != nil {
		if err := a.shards.ready(); err != nil {
			return err
		}
	}
	a.mu.Lock()
	for namespace, link := range a.links {
		if !link.(*streamLink).hearsAnswers() {
			a.mu.Unlock()
			return fmt.Errorf("redisadapter: namespace %s is not yet subscribed", namespace)
		}
	}
	a.mu.Unlock()
	for _, r := range a.reading() {
		if err := r.status(); err != nil {
			return fmt.Errorf("redisadapter: cannot read the stream %s: %w", r.stream, err)
		}
	}
	return nil
}

// Stats returns the totals since the start.
func (a *streams) Stats() adapter.Stats {
	s := a.line.Stats()
	if a.invalid != nil {
		return s
	}
	if a.shards != nil {
		a.shards.addStats(&s)
	}
	s.Streams = new(adapter.StreamStats)
	for _, r := range a.reading() {
		r.addStats(s.Streams)
		s.Up[adapter.RoleSubscribe] = s.Up[adapter.RoleSubscribe] && r.status() == nil
	}
	return s
}
