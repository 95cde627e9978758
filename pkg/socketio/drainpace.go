package socketio

import (
	"context"
	"math"
	"time"
)

const (
	// lastCall is how long before the deadline connections are closed that no other node could take so far.
	lastCall = 5 * time.Second
	// lastMoment is the part of the time until the deadline that is left for last words and the goodbye.
	lastMoment = 0.1
	// gentle is a rate that any node bears, connections per second: few connections do not take the whole spread.
	gentle = 10
)

// drainPace says how fast the connections of a drain are closed.
type drainPace struct {
	from     time.Time // LameDuck is over
	deadline time.Time // zero: none
	spread   time.Duration
	rate     int // 0: from spread
	limit    int // handshakes per second of each node; 0: none
	alone    bool

	total  int // connections at from
	credit float64
	last   time.Time // when credit was counted
}

func newDrainPace(ctx context.Context, d *drain, now time.Time) *drainPace {
	p := &drainPace{
		from: now.Add(d.LameDuck), spread: d.Spread, rate: d.Rate,
		limit: d.server.options.MaxHandshakesPerSecond, alone: d.server.alone,
	}
	if deadline, ok := ctx.Deadline(); ok {
		p.deadline = deadline
		whole := max(0, deadline.Sub(p.from))
		p.spread = min(p.spread, whole-time.Duration(lastMoment*float64(whole)))
	}
	p.spread = max(p.spread, drainTick)
	return p
}

// next returns the phase, and how many of the open connections may be closed in a second.
func (p *drainPace) next(now time.Time, open int, t *takers) (DrainPhase, float64) {
	if now.Before(p.from) {
		return DrainLameDuck, 0
	}
	if p.last.IsZero() {
		p.total, p.last = open, now
	}
	if p.alone { // nobody is spared by a pace, and who has to wait for this node is better off if it is back soon
		return DrainClosing, math.Inf(1)
	}
	if t.free == 0 && !p.deadline.IsZero() {
		return p.withoutTakers(now, open)
	}
	rate := float64(p.rate)
	if p.rate == 0 {
		rate = max(gentle, float64(p.total)/p.spread.Seconds())
	}
	if p.limit > 0 {
		rate = min(rate, float64(p.limit*max(1, t.free))/2/float64(t.draining+1))
	}
	return DrainClosing, rate
}

// withoutTakers keeps the connections until the deadline is near, and closes them evenly then.
func (p *drainPace) withoutTakers(now time.Time, open int) (DrainPhase, float64) {
	call := min(lastCall, p.deadline.Sub(p.from)/2)
	left := p.deadline.Sub(now)
	if left > call {
		return DrainWaiting, 0
	}
	left -= time.Duration(lastMoment * float64(call))
	return DrainClosing, float64(open) / max(drainTick, left).Seconds()
}

// take returns how many connections are due at a rate. What could not be closed in time, because the machine was busy or
// no node was there, is not made good at once.
func (p *drainPace) take(now time.Time, rate float64) int {
	elapsed := min(now.Sub(p.last), 2*drainTick)
	p.last = now
	if math.IsInf(rate, 1) {
		return math.MaxInt
	}
	p.credit += rate * elapsed.Seconds()
	n := int(p.credit)
	p.credit -= float64(n)
	return n
}
