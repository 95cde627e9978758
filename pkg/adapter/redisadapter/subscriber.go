package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
)

const (
	subscribeBatch = 512 // channels in one command
	// wholeMark is the payload of the ping that follows the first subscriptions of a connection: Redis answers in
	// order, so its pong says that all of them are in force.
	wholeMark = "whole"
)

var errNotConnected = errors.New("not yet connected")

// subscriber keeps one connection that listens. A connection is never repaired: when it fails, or is silent for
// longer than the watchdog allows, it is closed and the next session begins.
type subscriber struct {
	*subscriptions
	open   func(ctx context.Context) *redis.PubSub
	opts   *Options
	counts *counters
	traces *traces
	probe  *probe // nil for none
	// turns and refused are of a server in a cluster, which may refuse a channel because another server is in charge;
	// turns is nil elsewhere. refused must not wait.
	turns    *turns
	refused  func(t topic, refusals int, err error)
	cork     cork
	failover *failover // nil without Sentinels
	moves    int       // of the master, when the newest connection heard everything
	// heardAgain is called each time when a connection hears everything. It must not wait.
	heardAgain func()

	state   sync.Mutex
	whole   chan struct{} // closed while everything wanted at connection time is subscribed
	failure error         // why it is not
	lost    time.Time     // since when nothing can be heard; zero before the first connection
	cause   string        // of the loss
}

// newSubscriber returns one whose connections open makes, without subscribing to anything.
func newSubscriber(open func(context.Context) *redis.PubSub, o *Options, c *counters, t *traces) *subscriber {
	return &subscriber{
		subscriptions: newSubscriptions(), open: open, opts: o, counts: c, traces: t, heardAgain: func() {},
		whole: make(chan struct{}), failure: errNotConnected,
	}
}

// probeWith has each connection probed by messages to a channel of its own.
func (s *subscriber) probeWith(p *probe) {
	s.probe = p
	s.follow(p, p.interest, false)
}

// run is the goroutine of the subscriber; it ends with ctx.
func (s *subscriber) run(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		heard, err := s.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if s.isWhole() {
			attempt = 0
		}
		s.fail(heard, err)
		if !sleep(ctx, backoff(attempt)) {
			return
		}
	}
}

// session is the life of one connection. It returns when the connection was last heard of and why it ended.
func (s *subscriber) session(ctx context.Context) (heard time.Time, err error) {
	if s.turns != nil {
		s.turns.reset()
		ctx = s.cork.with(ctx)
	}
	ps := s.open(ctx)
	if err := ps.Ping(ctx); err != nil { // connects
		_ = ps.Close()
		return time.Now(), fmt.Errorf("connect: %w", err)
	}
	s.probe.restart()
	s.connected()
	ctx, cancel := context.WithCancel(context.WithValue(ctx, established{}, true))
	// A read does not end with its context, but with the connection.
	unwatch := context.AfterFunc(ctx, func() { _ = ps.Close() })
	var commands sync.WaitGroup
	commands.Go(func() {
		defer cancel()
		s.command(ctx, ps)
	})
	defer func() {
		cancel()
		if unwatch() {
			_ = ps.Close()
		}
		commands.Wait()
		s.disconnected()
	}()
	for heard = time.Now(); ; heard = time.Now() {
		in, err := ps.ReceiveTimeout(ctx, s.opts.Watchdog)
		if err != nil {
			if s.refuseTurn(err) {
				continue
			}
			return heard, fmt.Errorf("receive: %w", err)
		}
		switch in := in.(type) {
		case *redis.Message:
			s.receive(in)
		case *redis.Subscription:
			t := topic{in.Channel, strings.HasPrefix(in.Kind, "p")}
			subscribed := !strings.Contains(in.Kind, "unsub")
			if s.turns == nil || s.turns.answered(turn{t, subscribed}) {
				s.confirm(t, subscribed)
			} else if !subscribed {
				s.drop(t)
			}
		case *redis.Pong:
			if in.Payload == wholeMark {
				s.becomeWhole()
			} else if s.probe.deaf(in.Payload) {
				return heard, errDeaf
			}
		}
	}
}

// command writes what the connection is told: the subscriptions, and a ping each second. It ends with ctx or
// when a write fails.
func (s *subscriber) command(ctx context.Context, ps *redis.PubSub) {
	if s.subscribe(ctx, ps) != nil || ps.Ping(ctx, wholeMark) != nil {
		return
	}
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-s.wake:
			err = s.subscribe(ctx, ps)
		case <-ping.C:
			err = ps.Ping(ctx, s.probe.mark())
			s.probe.send()
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// subscribe judges all hints and sends what follows from them.
func (s *subscriber) subscribe(ctx context.Context, ps *redis.PubSub) error {
	subscribe := [methods]func(context.Context, ...string) error{ps.Subscribe, ps.PSubscribe, ps.SSubscribe}
	unsubscribe := [methods]func(context.Context, ...string) error{ps.Unsubscribe, ps.PUnsubscribe, ps.SUnsubscribe}
	for more := true; more; {
		var o orders
		o, more = s.judge(subscribeBatch)
		if s.turns != nil {
			if err := s.subscribeEach(ctx, ps, o); err != nil {
				return err
			}
			continue
		}
		for m := range methods {
			if len(o.subscribe[m]) > 0 {
				if err := subscribe[m](ctx, o.subscribe[m]...); err != nil {
					return err
				}
			}
			if len(o.unsubscribe[m]) > 0 {
				if err := unsubscribe[m](ctx, o.unsubscribe[m]...); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// subscribeEach sends a command for each channel, together: a server in a cluster takes no command about channels of
// several slots.
func (s *subscriber) subscribeEach(ctx context.Context, ps *redis.PubSub, o orders) error {
	s.cork.put()
	var errs error
	for _, channel := range o.subscribe[sharded] {
		s.turns.sent(turn{topic{channel: channel}, true})
		errs = errors.Join(errs, ps.SSubscribe(ctx, channel))
	}
	for _, channel := range o.unsubscribe[sharded] {
		s.turns.sent(turn{topic{channel: channel}, false})
		errs = errors.Join(errs, ps.SUnsubscribe(ctx, channel))
	}
	return errors.Join(errs, s.cork.pull())
}

// refuseTurn reports whether an error is no more than the refusal of one command, and deals with it.
func (s *subscriber) refuseTurn(err error) bool {
	if s.turns == nil || !isElsewhere(err) {
		return false
	}
	t, ok := s.turns.refused()
	if ok {
		s.refused(t.topic, s.refuse(t.topic), err)
	}
	return ok
}

// receive hands a message over before anything of it is decoded.
func (s *subscriber) receive(m *redis.Message) {
	t := topic{channel: m.Channel}
	if m.Pattern != "" {
		t = topic{m.Pattern, true}
	}
	l, kind, room := s.find(t)
	if l == nil {
		s.counts.received[kind][resultNoMatch].Add(1)
		return
	}
	l.hear(heard{channel: m.Channel, kind: kind, room: room, payload: m.Payload})
}

// becomeWhole notes that the connection hears everything, and ends the gap.
func (s *subscriber) becomeWhole() {
	s.state.Lock()
	lost, cause := s.lost, s.cause
	s.failure, s.lost = nil, time.Time{}
	if s.failover.moved(&s.moves) {
		cause = "failover"
	}
	close(s.whole)
	s.state.Unlock()
	s.heardAgain()
	if lost.IsZero() {
		return
	}
	gap := time.Since(lost)
	s.counts.reconnect(adapter.RoleSubscribe, cause)
	s.traces.reconnected(adapter.RoleSubscribe, cause)
	s.traces.gap(gap)
	s.opts.Logger.Warn("redisadapter: listening again; messages of other nodes may have been missed",
		slog.Duration("gap", gap), slog.String("cause", cause))
}

// fail notes that a connection ended or did not come about.
func (s *subscriber) fail(heard time.Time, err error) {
	s.state.Lock()
	was := s.failure
	s.failure = err
	select {
	case <-s.whole:
		s.whole = make(chan struct{})
		s.lost, s.cause = time.Now(), "closed"
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			s.lost, s.cause = heard, "watchdog"
		}
		if errors.Is(err, errDeaf) {
			s.lost, s.cause = s.probe.last(), "deaf"
		}
	default:
	}
	s.state.Unlock()
	if was == nil || was == errNotConnected || errorKind(was) != errorKind(err) {
		s.opts.Logger.Error("redisadapter: cannot listen", slog.String("kind", errorKind(err)), slog.Any("error", err))
	}
}

func (s *subscriber) isWhole() bool {
	s.state.Lock()
	defer s.state.Unlock()
	return s.failure == nil
}

// listening waits until the subscription is whole, at most until ctx ends.
func (s *subscriber) listening(ctx context.Context) {
	s.state.Lock()
	whole := s.whole
	s.state.Unlock()
	select {
	case <-whole:
	case <-ctx.Done():
	}
}

// deafSince returns since when nothing can be heard that could before, or zero.
func (s *subscriber) deafSince() time.Time {
	s.state.Lock()
	defer s.state.Unlock()
	return s.lost
}

// status returns why nothing can be heard, or nil.
func (s *subscriber) status() error {
	s.state.Lock()
	defer s.state.Unlock()
	return s.failure
}
