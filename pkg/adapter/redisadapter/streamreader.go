package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
)

// Why a reader could not go on at its position; as in adapter.Stats.Gaps.
const (
	gapTrimmed = "trimmed" // entries behind it are gone: this node was too slow or away for too long
	gapReset   = "reset"   // the stream is empty or another one: Redis lost its data
)

// streamReader reads one stream over one connection, from the end that the stream had when it began. It goes on from the
// entry that it read last, whatever happens to the connection, so nothing is missed while the stream keeps it.
type streamReader struct {
	stream string
	opts   *StreamsOptions
	rdb    redis.UniversalClient
	counts *counters
	traces *traces

	mu       sync.Mutex
	position adapter.Offset         // of the last entry that was read
	known    bool                   // there is a position
	links    map[string]*streamLink // by namespace
	numbers  map[string]uint64      // the last one of each sender
	progress progress
	up       bool
	failure  error // why it is not
	lost     bool  // a connection that worked failed
	heard    time.Time
}

func newStreamReader(stream string, a *streams) *streamReader {
	return &streamReader{
		stream: stream, opts: &a.streamsOpts, rdb: a.rdb, counts: a.counts, traces: &a.traces,
		links: map[string]*streamLink{}, numbers: map[string]uint64{}, failure: errNotConnected,
	}
}

// follow has the entries of a link's namespace given to the link.
func (r *streamReader) follow(l *streamLink) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.links[l.channels.namespace] = l
	if r.known {
		l.begin(r, r.position) // its queue is empty: this does not wait
	}
}

func (r *streamReader) unfollow(l *streamLink) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.links[l.channels.namespace] == l {
		delete(r.links, l.channels.namespace)
	}
}

// run is the goroutine of the reader; it ends with ctx.
func (r *streamReader) run(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		err := r.settle(ctx)
		for err == nil {
			attempt = 0
			err = r.read(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		r.fail(err)
		if !sleep(ctx, backoff(attempt)) {
			return
		}
	}
}

// settle finds the position from which to read on.
func (r *streamReader) settle(ctx context.Context) error {
	r.mu.Lock()
	position, known := r.position, r.known
	r.mu.Unlock()
	if !known {
		last, err := r.last(ctx)
		if err == nil && last.IsZero() {
			last, err = r.mark(ctx)
		}
		if err != nil {
			return err
		}
		r.begin(last, "")
		r.measure(ctx)
		r.setUp()
		return nil
	}
	if err := r.check(ctx, position); err != nil {
		return err
	}
	r.setUp()
	return nil
}

// check finds out whether everything after a position is still there to be read, or was when it was read. It must be
// called after that, since entries can be trimmed at any time.
func (r *streamReader) check(ctx context.Context, position adapter.Offset) error {
	at := position.String()
	found, err := r.rdb.XRangeN(ctx, r.stream, at, at, 1).Result()
	if err != nil || len(found) > 0 {
		return err
	}
	last, err := r.last(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	now := r.position
	r.mu.Unlock()
	gap := gapTrimmed
	if last.IsZero() { // what is added before the mark is read too
		gap = gapReset
		if last, err = r.mark(ctx); err != nil {
			return err
		}
	}
	if last.Compare(now) < 0 { // ids never go back in one stream
		now, gap = last, gapReset
	}
	r.begin(now, gap)
	if gap == gapTrimmed { // before more is read: how much was missed
		r.measure(ctx)
	}
	return nil
}

// last returns the id of the newest entry, zero if there is none.
func (r *streamReader) last(ctx context.Context) (adapter.Offset, error) {
	newest, err := r.rdb.XRevRangeN(ctx, r.stream, "+", "-", 1).Result()
	if err != nil || len(newest) == 0 {
		return adapter.Offset{}, err
	}
	last, ok := adapter.ParseOffset(newest[0].ID)
	if !ok {
		return last, fmt.Errorf("%w: entry %.64q", errMalformed, newest[0].ID)
	}
	return last, nil
}

// mark adds an entry that is no message, so that there is a position in an empty stream: reading from "$" would miss
// what is added between two reads, and clients of a stream without entries would have no offset.
func (r *streamReader) mark(ctx context.Context) (adapter.Offset, error) {
	id, err := r.rdb.XAdd(ctx, &redis.XAddArgs{Stream: r.stream, MaxLen: r.opts.MaxLen, Approx: true, Values: []any{"chorus", "start"}}).Result()
	if err != nil {
		return adapter.Offset{}, err
	}
	at, ok := adapter.ParseOffset(id)
	if !ok {
		return at, fmt.Errorf("%w: entry %.64q", errMalformed, id)
	}
	return at, nil
}

// begin makes at the position. Links learn that what came before it may not have reached them.
func (r *streamReader) begin(at adapter.Offset, gap string) {
	r.mu.Lock()
	r.position, r.known = at, true
	r.progress.placed = r.progress.placed && gap == gapTrimmed // it is the same stream
	links := slices.Collect(maps.Values(r.links))
	heard := r.heard
	r.mu.Unlock()
	for _, l := range links {
		l.begin(r, at)
	}
	if gap == "" {
		return
	}
	r.counts.gap(gap)
	r.traces.gap(time.Since(heard))
	r.opts.Logger.Warn("redisadapter: entries of the stream may have been missed",
		slog.String("stream", r.stream), slog.String("cause", gap), slog.String("position", at.String()))
}

// read waits for the next entries and hands them over.
func (r *streamReader) read(ctx context.Context) error {
	r.mu.Lock()
	from := r.position
	r.mu.Unlock()
	count := int64(r.opts.ReadCount)
	// go-redis would wait ten seconds longer than Block, in which a dead connection is not noticed.
	cmd := redis.NewXStreamSliceCmd(ctx, "xread", "count", count, "block", r.opts.Block.Milliseconds(), "streams", r.stream, from.String())
	cmd.SetFirstKeyPos(6)
	_ = r.rdb.Process(ctx, cmd)
	streams, err := cmd.Result()
	switch {
	case errors.Is(err, redis.Nil):
		r.touch()
		return nil
	case err != nil:
		return fmt.Errorf("read stream: %w", err)
	}
	n := 0
	for _, s := range streams {
		for i := range s.Messages {
			r.take(&s.Messages[i])
		}
		n += len(s.Messages)
	}
	r.touch()
	if int64(n) >= count || r.opts.MaxLen <= count { // we were behind, perhaps too far
		return r.check(ctx, from)
	}
	return nil
}

// take hands an entry over. It may wait, which stops the reading.
func (r *streamReader) take(x *redis.XMessage) {
	e, ok, err := readEntry(x)
	r.mu.Lock()
	if !e.offset.IsZero() {
		r.position = e.offset
		r.progress.read++
	}
	l := r.links[e.namespace]
	again := e.number > 0 && r.againLocked(&e)
	r.mu.Unlock()
	received := &r.counts.received[kindStream]
	switch {
	case err != nil:
		received[resultMalformed].Add(1)
	case !ok:
	case again:
		received[resultRepeated].Add(1)
	case l == nil:
		received[resultNoMatch].Add(1)
	default:
		l.push(r, e)
	}
}

// maxSenders bounds the senders whose numbers are remembered.
const maxSenders = 4096

// againLocked reports whether an entry was read before: it was added twice, because its sender lost the first answer and
// did not find it in the stream yet.
func (r *streamReader) againLocked(e *streamEntry) bool {
	if e.number <= r.numbers[e.uid] {
		return true
	}
	if len(r.numbers) >= maxSenders {
		clear(r.numbers)
	}
	r.numbers[e.uid] = e.number
	return false
}

func (r *streamReader) touch() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard = time.Now()
}

func (r *streamReader) setUp() {
	r.mu.Lock()
	lost := r.lost
	r.up, r.lost, r.failure, r.heard = true, false, nil, time.Now()
	r.mu.Unlock()
	if lost {
		r.counts.reconnect(adapter.RoleSubscribe, "closed")
		r.traces.reconnected(adapter.RoleSubscribe, "closed")
		r.opts.Logger.Info("redisadapter: reading the stream again", slog.String("stream", r.stream))
	}
}

func (r *streamReader) fail(err error) {
	r.mu.Lock()
	was := r.failure
	r.lost = r.lost || r.up
	r.up, r.failure = false, err
	r.mu.Unlock()
	if was == nil || was == errNotConnected || errorKind(was) != errorKind(err) {
		r.opts.Logger.Error("redisadapter: cannot read the stream", slog.String("stream", r.stream),
			slog.String("kind", errorKind(err)), slog.Any("error", err))
	}
}

// status returns why the stream is not read, or nil.
func (r *streamReader) status() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failure
}
