package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/socketio/forward"
)

const (
	// secretInterval is how often a node looks whether the secret in Redis is still its own: a Redis that lost its data may
	// have got another one from a node that came first.
	secretInterval = 10 * time.Second
	secretRetry    = 250 * time.Millisecond // doubles up to secretInterval
	secretTimeout  = 3 * time.Second
)

// sharedSecret is the secret of nodes that were given none: the first puts a random one into Redis, where the others find it.
// Who can read Redis can send messages to all clients anyway.
type sharedSecret struct {
	redis redis.Cmdable
	key   string
	value string // the one in use, or what is put there if there is none
	doubt chan struct{}
	log   *slog.Logger
}

func newSharedSecret(client redis.Cmdable, prefix string, log *slog.Logger) *sharedSecret {
	return &sharedSecret{redis: client, key: prefix + "#chorus-secret", value: rand.Text() + rand.Text(), doubt: make(chan struct{}, 1), log: log}
}

// look makes run look at once.
func (s *sharedSecret) look() {
	select {
	case s.doubt <- struct{}{}:
	default: // it will
	}
}

// run gives the secret to use, and every later one, until ctx ends.
func (s *sharedSecret) run(ctx context.Context, use func([]byte) error) {
	known, retry, failures := false, secretRetry, 0
	for {
		wait := secretInterval
		err := s.refresh(ctx, use)
		switch {
		case err == nil:
			if failures > 0 && !known {
				s.log.Info("requests for sessions of other nodes are passed on from now on")
			}
			known, retry, failures = true, secretRetry, 0
		case ctx.Err() != nil:
			return
		default:
			if failures++; failures == 1 && !known {
				s.log.Warn("requests for sessions of other nodes are not passed on yet: no secret from Redis", "error", err,
					"remedy", "let the user of Redis set and get the key "+s.key+", or give all nodes a --cluster.secret")
			}
			wait, retry = retry, min(2*retry, secretInterval)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.doubt:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// refresh takes the secret from Redis, or puts it there.
func (s *sharedSecret) refresh(ctx context.Context, use func([]byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	put, err := s.redis.SetNX(ctx, s.key, s.value, 0).Result()
	if err != nil {
		return fmt.Errorf("secret: set: %w", err)
	}
	if !put {
		found, err := s.redis.Get(ctx, s.key).Result()
		if err != nil {
			return fmt.Errorf("secret: get: %w", err)
		}
		if len(found) < forward.MinSecret {
			return fmt.Errorf("secret: the key %s holds something else", s.key)
		}
		s.value = found
	}
	return use([]byte(s.value))
}
