// Package outbox is the bounded queue of frames of one session. It outlives a transport upgrade: data,
// control frames and the close frame of a session meet here, and one consumer at a time takes them out.
package outbox

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"example.com/chorus/internal/frame"
)

// Limits bounds every outbox of a server. It is shared and must not change once used.
type Limits struct {
	Bytes        int  // queued bytes
	Frames       int  // queued frames
	DropVolatile bool // a broadcast that does not fit is dropped instead of closing the session
}

// Drops counts frames that were not sent, by reason. Several outboxes may share one.
type Drops struct {
	Volatile  atomic.Uint64 // volatile frames
	QueueFull atomic.Uint64 // frames that did not fit, and the queue of an outbox that overflowed
	Closed    atomic.Uint64 // frames that waited when the session ended
}

// Errors of Push and PushWait.
var (
	ErrClosed  = errors.New("outbox: closed")
	ErrDropped = errors.New("outbox: frame dropped")
	ErrFull    = errors.New("outbox: full") // the outbox is closed by it
)

// Kind says what may become of a frame.
type Kind uint8

// The kinds of frames.
const (
	Data     Kind = iota // bounded by Limits
	Volatile             // dropped unless the consumer is ready, and to make room for data
	Control              // always taken; the caller bounds how many there are
)

// Consumer is told that there is something to take. Wake must not block; it is called without locks.
type Consumer interface {
	Wake()
}

// Outbox is the queue of one session. Init must be called before its first use. All methods are safe for
// concurrent use, Take, TakeReleasing, Release and Hold by the consumer alone.
//
// A consumer is woken once when there is something to take; the outbox is claimed from then on, and its
// consumer is not woken again until Release found the queue empty, or TakeReleasing left it so.
type Outbox struct {
	// What every push and take needs comes first, in 64 bytes: one line of the cache, if it begins where a line does.
	mu        sync.Mutex
	claimed   bool
	stalled   bool                   // the consumer cannot write now
	finishing bool                   // nothing may be pushed; the queue's end is the end of the transport
	closed    bool                   // nothing may be pushed
	awaited   bool                   // somebody waits for room
	limits    atomic.Pointer[Limits] // never changes; atomic for Fetch, whose load would else be left out
	consumer  Consumer
	queue     queue

	room  chan struct{} // closed when there is some; nil unless awaited
	apart int           // frames at the queue's end that are not taken together with others
	drops *Drops
}

// Init sets the bounds, and where drops are counted.
func (o *Outbox) Init(limits *Limits, drops *Drops) {
	o.limits.Store(limits)
	o.drops = drops
}

// Push queues a frame and wakes the consumer. It fails with ErrDropped when the frame was dropped and counted,
// with ErrFull when a data frame did not fit (the outbox is then closed and empty) and with ErrClosed.
func (o *Outbox) Push(f *frame.Frame, kind Kind) error {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return ErrClosed
	}
	if kind != Control && !o.admitLocked(f, kind) {
		err := ErrDropped
		switch {
		case kind == Volatile:
			o.drops.Volatile.Add(1)
		case o.limits.Load().DropVolatile:
			o.drops.QueueFull.Add(1)
		default:
			err = ErrFull
			o.drops.QueueFull.Add(uint64(1 + o.queue.clear()))
			o.closeLocked()
		}
		o.mu.Unlock()
		return err
	}
	had := o.pressedLocked()
	o.queue.push(f, kind == Volatile)
	c := o.claimLocked()
	yield := !had && !o.stalled && o.pressedLocked()
	o.mu.Unlock()
	if c != nil {
		c.Wake()
	}
	if yield {
		// The consumer could write, but perhaps did not get its turn: a burst on one processor must not be taken for
		// a client that does not read.
		runtime.Gosched()
	}
	return nil
}

// PushWait queues a data frame as soon as half of the room is free: those who wait must not fill the outbox to its
// limit, which is for those who cannot. It fails with ErrClosed or the context's error.
func (o *Outbox) PushWait(ctx context.Context, f *frame.Frame) error {
	for {
		o.mu.Lock()
		if o.closed {
			o.mu.Unlock()
			return ErrClosed
		}
		if o.queue.first == nil || !o.pressedLocked() && o.fitsLocked(f) {
			o.queue.push(f, false)
			c := o.claimLocked()
			o.mu.Unlock()
			if c != nil {
				c.Wake()
			}
			return nil
		}
		if o.room == nil {
			o.room, o.awaited = make(chan struct{}), true
		}
		room := o.room
		o.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Attach makes c the consumer and wakes it if there is something to take.
func (o *Outbox) Attach(c Consumer) {
	o.mu.Lock()
	o.consumer, o.claimed, o.stalled = c, false, false
	wake := o.queue.first != nil && o.claimLocked() != nil
	o.mu.Unlock()
	if wake {
		c.Wake()
	}
}

// Detach leaves the outbox without a consumer: volatile frames are dropped, others wait.
func (o *Outbox) Detach() {
	o.mu.Lock()
	o.consumer, o.claimed = nil, false
	o.mu.Unlock()
}

// Take moves frames from the queue to dst until their sizes reach limit, but at least one if there is any. What
// FinishApart queued is taken alone. finished says that the last frame of the session is among them.
func (o *Outbox) Take(dst []*frame.Frame, limit int, size func(*frame.Frame) int) (frames []*frame.Frame, finished bool) {
	o.mu.Lock()
	frames, finished = o.takeLocked(dst, limit, size)
	o.mu.Unlock()
	return frames, finished
}

// TakeReleasing is Take for a consumer that may be woken while it still writes. released says that the claim ended, as
// by Release: the queue is empty, and neither finished nor stalled.
func (o *Outbox) TakeReleasing(dst []*frame.Frame, limit int, size func(*frame.Frame) int) (frames []*frame.Frame, released, finished bool) {
	o.mu.Lock()
	frames, finished = o.takeLocked(dst, limit, size)
	released = o.queue.first == nil && !finished && !o.stalled
	o.claimed = !released
	o.mu.Unlock()
	return frames, released, finished
}

func (o *Outbox) takeLocked(dst []*frame.Frame, limit int, size func(*frame.Frame) int) (frames []*frame.Frame, finished bool) {
	for first := true; o.queue.first != nil; first = false {
		f := o.queue.first
		limit -= size(f)
		if !first && (limit < 0 || o.queue.len() == o.apart) {
			break
		}
		dst = append(dst, f)
		o.queue.pop()
	}
	if o.awaited && !o.pressedLocked() {
		o.wakeWaitersLocked()
	}
	return dst, o.finishing && o.queue.first == nil
}

// Fetch brings the outbox near: called for several before something is done with each, it lets the processor fetch all of
// them from memory at the same time.
func (o *Outbox) Fetch() { o.limits.Load() }

// Release ends the consumer's claim when the queue is empty; else it reports that there is more to take.
func (o *Outbox) Release() (more bool) {
	o.mu.Lock()
	more = o.queue.first != nil
	o.claimed = more
	o.mu.Unlock()
	return more
}

// Hold stalls the outbox and claims it. It reports whether it was claimed already: after TakeReleasing, whether the
// consumer was woken since.
func (o *Outbox) Hold() (claimed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	claimed = o.claimed
	o.claimed, o.stalled = true, true
	return claimed
}

// Stall tells whether the consumer cannot write now, so that volatile frames are dropped.
func (o *Outbox) Stall(stalled bool) {
	o.mu.Lock()
	o.stalled = stalled
	o.mu.Unlock()
}

// Finish queues the last frames of the session and closes the outbox for all others. It returns false when the
// outbox was closed already.
func (o *Outbox) Finish(last ...*frame.Frame) bool { return o.finish(0, last) }

// FinishApart is Finish for frames that must not be taken together with those before them.
func (o *Outbox) FinishApart(last ...*frame.Frame) bool { return o.finish(len(last), last) }

func (o *Outbox) finish(apart int, last []*frame.Frame) bool {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return false
	}
	for _, f := range last {
		o.queue.push(f, false)
	}
	o.finishing, o.apart = true, apart
	o.closeLocked()
	c := o.claimLocked()
	o.mu.Unlock()
	if c != nil {
		c.Wake()
	}
	return true
}

// Refinish puts other frames in the place of those that FinishApart queued, for a consumer that says goodbye in
// another way. It returns false when they were taken, or there are none.
func (o *Outbox) Refinish(last ...*frame.Frame) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.apart == 0 || o.queue.len() < o.apart {
		return false
	}
	o.queue.dropLast(o.apart)
	o.apart = 0
	for _, f := range last {
		o.queue.push(f, false)
	}
	return true
}

// Discard drops what is queued; Finish may still follow.
func (o *Outbox) Discard() {
	o.mu.Lock()
	o.drops.Closed.Add(uint64(o.queue.clear()))
	o.mu.Unlock()
}

// Close drops what is queued and closes the outbox.
func (o *Outbox) Close() {
	o.mu.Lock()
	o.drops.Closed.Add(uint64(o.queue.clear()))
	o.finishing = false
	o.closeLocked()
	o.mu.Unlock()
}

// Len returns what is queued.
func (o *Outbox) Len() (bytes, frames int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queue.bytes(), o.queue.len()
}

func (o *Outbox) admitLocked(f *frame.Frame, kind Kind) bool {
	if kind == Volatile {
		return o.consumer != nil && !o.stalled && o.fitsLocked(f)
	}
	if o.fitsLocked(f) {
		return true
	}
	if o.queue.hasVolatile() {
		o.drops.Volatile.Add(uint64(o.queue.dropVolatile(func(frames, bytes int) bool { return o.limits.Load().fit(f, frames, bytes) })))
	}
	return o.fitsLocked(f)
}

func (o *Outbox) fitsLocked(f *frame.Frame) bool {
	return o.queue.first == nil || o.limits.Load().fit(f, o.queue.len(), o.queue.bytes())
}

// fit lets an empty outbox take a frame of any size, else no large message could ever be sent.
func (l *Limits) fit(f *frame.Frame, frames, bytes int) bool {
	return frames == 0 || frames < l.Frames && bytes+f.Size() <= l.Bytes
}

// pressedLocked says that half of the room is taken.
func (o *Outbox) pressedLocked() bool {
	l := o.limits.Load()
	return 2*o.queue.len() >= l.Frames || 2*o.queue.bytes() >= l.Bytes
}

// claimLocked returns the consumer if it is to be woken.
func (o *Outbox) claimLocked() Consumer {
	if o.claimed || o.consumer == nil {
		return nil
	}
	o.claimed = true
	return o.consumer
}

func (o *Outbox) closeLocked() {
	o.closed = true
	o.wakeWaitersLocked()
}

func (o *Outbox) wakeWaitersLocked() {
	if o.room != nil {
		close(o.room)
		o.room, o.awaited = nil, false
	}
}
