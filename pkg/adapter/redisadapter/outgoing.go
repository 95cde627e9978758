package redisadapter

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// outgoing is one command that waits to be sent.
type outgoing struct {
	command command
	channel string  // or the name of a stream
	payload *[]byte // from buffers
	kind    channelKind
	queued  time.Time
	// redirects counts how many servers of a cluster refused it because another is in charge.
	redirects int
	// fleeting is a sign of life that is worth nothing later: it is not sent after a failure, and no loss is counted.
	fleeting bool
	// entry, if not nil, makes it an entry of a stream. That is worth something however late it comes, so it waits for Redis
	// as long as there is room; and whether one went out whose answer got lost can be found out.
	entry *entryFields
	// answer is one to another node's request, of which answerShare times as many may wait.
	answer bool
	// done, if not nil, is called once with the answer of Redis or why there is none. It runs on the publisher's
	// goroutine and must not wait. It is not called when enqueue returns an error.
	done func(reply redis.Cmder, err error)
}

const answerShare = 8

// command adds exactly one command to a pipeline, the one that sends o.
type command func(ctx context.Context, pipe redis.Pipeliner, o *outgoing)

func publishCommand(ctx context.Context, pipe redis.Pipeliner, o *outgoing) {
	pipe.Publish(ctx, o.channel, *o.payload)
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// newOutgoing returns a message with an empty buffer.
func newOutgoing(c command, channel string, kind channelKind) outgoing {
	o := outgoing{command: c, channel: channel, kind: kind, payload: buffers.Get().(*[]byte), queued: time.Now()}
	*o.payload = (*o.payload)[:0]
	return o
}

// finish ends the life of a message.
func (o *outgoing) finish(reply redis.Cmder, err error) {
	if o.done != nil {
		o.done(reply, err)
	}
	o.release()
}

// release gives the buffer back, unless one huge message grew it.
func (o *outgoing) release() {
	const keep = 64 << 10
	if cap(*o.payload) <= keep {
		buffers.Put(o.payload)
	}
	o.payload = nil
}
