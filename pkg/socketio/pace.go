package socketio

import (
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// pace holds back the reading of a connection that sends events faster than Options.MaxEventsPerSecond.
type pace struct {
	limiter *rate.Limiter
	holding atomic.Bool // reading waits for the timer
}

func newPace(perSecond int) *pace {
	return &pace{limiter: rate.NewLimiter(rate.Limit(perSecond), perSecond)}
}

// paceEvent counts an event for s and reports whether nothing more is to be read for now. Reading may wait for a full inbox
// too: whoever is the last to let it go on does so, by looking at the other after its own is clear.
func (c *connection) paceEvent(s *Socket) (held bool) {
	if c.pace == nil {
		return false
	}
	wait := c.pace.limiter.Reserve().Delay()
	if wait <= 0 {
		return false
	}
	c.server.count.limitedEvents.Add(1)
	c.pace.holding.Store(true)
	time.AfterFunc(wait, func() {
		c.pace.holding.Store(false)
		if !s.inbox.full() {
			c.session.Resume()
		}
	})
	return true
}

// inboxFreed lets reading go on after a full inbox.
func (c *connection) inboxFreed() {
	if c.pace == nil || !c.pace.holding.Load() {
		c.session.Resume()
	}
}
