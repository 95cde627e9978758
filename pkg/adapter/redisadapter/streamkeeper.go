package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
)

// missedPages is how many pages of a stream are read at most for one call of Missed, when they hold nothing of the
// namespace.
const missedPages = 10

// Save keeps a session as Node's adapter does. It goes through the publish queue, so that many at once cost few round
// trips.
func (a *streams) Save(ctx context.Context, s *adapter.Session, ttl time.Duration) error {
	if a.invalid != nil {
		return a.invalid
	}
	key := a.sessionKey(s.PID)
	o := newOutgoing(func(ctx context.Context, pipe redis.Pipeliner, o *outgoing) {
		pipe.Set(ctx, key, *o.payload, ttl)
	}, "", kindSession)
	done := make(chan error, 1)
	o.done = func(_ redis.Cmder, err error) { done <- err }
	var err error
	*o.payload, err = appendSession(*o.payload, a.opts.limits(), s)
	if err == nil {
		err = a.publisher.enqueue(ctx, o)
	}
	if err != nil {
		o.release()
		return fmt.Errorf("redisadapter: save session: %w", err)
	}
	select {
	case err = <-done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("redisadapter: save session: %w", err)
	}
	return nil
}

func (a *streams) sessionKey(pid string) string { return a.streamsOpts.SessionKeyPrefix + pid }

// Take returns a session and deletes it, in one transaction.
func (a *streams) Take(ctx context.Context, namespace, pid string, at adapter.Offset) (s *adapter.Session, known bool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("redisadapter: take session: %w", err)
		}
	}()
	if err := a.beginTaking(ctx); err != nil {
		return nil, false, err
	}
	defer a.endTaking()
	// Whether the offset is there is asked first: an error must not cost the session.
	if known, err = a.knows(ctx, namespace, at); err != nil {
		return nil, false, err
	}
	var value *redis.StringCmd
	_, err = a.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		value = pipe.Get(ctx, a.sessionKey(pid))
		pipe.Del(ctx, a.sessionKey(pid))
		return nil
	})
	if errors.Is(err, redis.Nil) {
		return nil, known, nil
	}
	if err != nil {
		return nil, known, err
	}
	s, err = decodeSession(value.Val(), a.opts.limits())
	if err == nil && s.PID != pid {
		err = fmt.Errorf("%w: session of another id", errMalformed)
	}
	if err != nil {
		return nil, known, err
	}
	return s, known, nil
}

// knows reports whether the entry at an offset is there, and a broadcast of the namespace.
func (a *streams) knows(ctx context.Context, namespace string, at adapter.Offset) (bool, error) {
	found, err := a.rdb.XRangeN(ctx, a.names.of(namespace), at.String(), at.String(), 1).Result()
	if err != nil || len(found) == 0 {
		return false, err
	}
	e, ok, err := readEntry(&found[0])
	return ok && err == nil && e.namespace == namespace && e.kind == clusterBroadcast, nil
}

func (a *streams) beginTaking(ctx context.Context) error {
	if a.invalid != nil {
		return a.invalid
	}
	select {
	case a.taking <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (a *streams) endTaking() { <-a.taking }

// Missed reads broadcasts of the namespace after an offset.
func (a *streams) Missed(ctx context.Context, namespace string, after adapter.Offset) (adapter.Page, error) {
	page := adapter.Page{Read: after}
	if err := a.beginTaking(ctx); err != nil {
		return page, fmt.Errorf("redisadapter: read missed events: %w", err)
	}
	defer a.endTaking()
	count := int64(a.streamsOpts.ReadCount)
	for range missedPages {
		entries, err := a.rdb.XRangeN(ctx, a.names.of(namespace), page.Read.Next().String(), "+", count).Result()
		if err != nil {
			return page, fmt.Errorf("redisadapter: read missed events: %w", err)
		}
		for i := range entries {
			a.addMissed(&page, namespace, &entries[i])
		}
		if len(page.Records) > 0 || int64(len(entries)) < count {
			break
		}
	}
	return page, nil
}

// addMissed adds an entry to a page, if it is something that a client can miss. What cannot be read was counted when this
// node read it, and nobody got it.
func (a *streams) addMissed(page *adapter.Page, namespace string, x *redis.XMessage) {
	e, ok, err := readEntry(x)
	if e.offset.IsZero() {
		return
	}
	page.Read = e.offset
	if err != nil || !ok || e.namespace != namespace || e.kind != clusterBroadcast {
		return
	}
	c, err := e.decode(a.opts.limits(), everyRoom)
	if err != nil || c.message.Flags.Volatile {
		return
	}
	page.Records = append(page.Records, adapter.Record{Message: c.message, Offset: e.offset, Own: e.uid == a.uid})
}
