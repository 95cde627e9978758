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

// keep is the capacity in frames that an empty queue does not give back.
const keep = 16

type entry struct {
	frame    *frame.Frame
	volatile bool
}

// Outbox is the queue of one session. Init must be called before its first use. All methods are safe for
// concurrent use, Take and Release by the consumer alone.
//
// A consumer is woken once when there is something to take; the outbox is claimed from then on, and its
// consumer is not woken again until Release found the queue empty.
type Outbox struct {
	// What every push and take needs comes first, for one line of the cache or two.
	mu        sync.Mutex
	claimed   bool
	stalled   bool    // the consumer cannot write now
	finishing bool    // nothing may be pushed; the queue's end is the end of the transport
	closed    bool    // nothing may be pushed
	queue     []entry // from head on
	head      int
	consumer  Consumer
	bytes     int
	limits    *Limits
	room      chan struct{}
	volatiles int // how many of the queue are volatile
	apart     int // frames at the queue's end that are not taken together with others
	drops     *Drops
}

// Init sets the bounds, and where drops are counted.
func (o *Outbox) Init(limits *Limits, drops *Drops) {
	o.limits, o.drops = limits, drops
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
		case o.limits.DropVolatile:
			o.drops.QueueFull.Add(1)
		default:
			err = ErrFull
			o.drops.QueueFull.Add(uint64(1 + o.clearLocked()))
			o.closeLocked()
		}
		o.mu.Unlock()
		return err
	}
	had := o.pressedLocked()
	o.appendLocked(f, kind == Volatile)
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
		if o.head == len(o.queue) || !o.pressedLocked() && o.fitsLocked(f) {
			o.appendLocked(f, false)
			c := o.claimLocked()
			o.mu.Unlock()
			if c != nil {
				c.Wake()
			}
			return nil
		}
		if o.room == nil {
			o.room = make(chan struct{})
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
	wake := o.head < len(o.queue) && o.claimLocked() != nil
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
	for first := true; o.head < len(o.queue); first = false {
		e := &o.queue[o.head]
		limit -= size(e.frame)
		if !first && (limit < 0 || len(o.queue)-o.head == o.apart) {
			break
		}
		dst = append(dst, e.frame)
		o.bytes -= e.frame.Size()
		if e.volatile {
			o.volatiles--
		}
		*e = entry{}
		o.head++
	}
	if o.head == len(o.queue) {
		o.emptyLocked()
		finished = o.finishing
	}
	if !o.pressedLocked() {
		o.wakeWaitersLocked()
	}
	o.mu.Unlock()
	return dst, finished
}

// Release ends the consumer's claim when the queue is empty; else it reports that there is more to take.
func (o *Outbox) Release() (more bool) {
	o.mu.Lock()
	more = o.head < len(o.queue)
	o.claimed = more
	o.mu.Unlock()
	return more
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
		o.appendLocked(f, false)
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
	n := len(o.queue) - o.apart
	if o.apart == 0 || n < o.head {
		return false
	}
	for _, e := range o.queue[n:] {
		o.bytes -= e.frame.Size()
	}
	clear(o.queue[n:])
	o.queue, o.apart = o.queue[:n], 0
	for _, f := range last {
		o.appendLocked(f, false)
	}
	return true
}

// Discard drops what is queued; Finish may still follow.
func (o *Outbox) Discard() {
	o.mu.Lock()
	o.drops.Closed.Add(uint64(o.clearLocked()))
	o.mu.Unlock()
}

// Close drops what is queued and closes the outbox.
func (o *Outbox) Close() {
	o.mu.Lock()
	o.drops.Closed.Add(uint64(o.clearLocked()))
	o.finishing = false
	o.closeLocked()
	o.mu.Unlock()
}

// Len returns what is queued.
func (o *Outbox) Len() (bytes, frames int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes, len(o.queue) - o.head
}

func (o *Outbox) admitLocked(f *frame.Frame, kind Kind) bool {
	if kind == Volatile {
		return o.consumer != nil && !o.stalled && o.fitsLocked(f)
	}
	if o.fitsLocked(f) {
		return true
	}
	if o.volatiles > 0 {
		o.dropVolatileLocked(f)
	}
	return o.fitsLocked(f)
}

// fitsLocked lets an empty outbox take a frame of any size, else no large message could ever be sent.
func (o *Outbox) fitsLocked(f *frame.Frame) bool {
	n := len(o.queue) - o.head
	return n == 0 || n < o.limits.Frames && o.bytes+f.Size() <= o.limits.Bytes
}

// pressedLocked says that half of the room is taken.
func (o *Outbox) pressedLocked() bool {
	return 2*(len(o.queue)-o.head) >= o.limits.Frames || 2*o.bytes >= o.limits.Bytes
}

// dropVolatileLocked drops the oldest volatile frames until f fits or none is left.
func (o *Outbox) dropVolatileLocked(f *frame.Frame) {
	kept := o.queue[:0]
	queue := o.queue[o.head:]
	dropped := 0
	n := len(queue)
	for _, e := range queue {
		fits := n == 0 || n < o.limits.Frames && o.bytes+f.Size() <= o.limits.Bytes
		if e.volatile && !fits {
			dropped++
			n--
			o.bytes -= e.frame.Size()
			continue
		}
		kept = append(kept, e)
	}
	clear(o.queue[len(kept):])
	o.queue, o.head = kept, 0
	o.volatiles -= dropped
	o.drops.Volatile.Add(uint64(dropped))
}

func (o *Outbox) appendLocked(f *frame.Frame, volatile bool) {
	if len(o.queue) == cap(o.queue) && o.head > len(o.queue)/2 {
		n := copy(o.queue, o.queue[o.head:])
		clear(o.queue[n:])
		o.queue, o.head = o.queue[:n], 0
	}
	o.queue = append(o.queue, entry{f, volatile})
	o.bytes += f.Size()
	if volatile {
		o.volatiles++
	}
}

// claimLocked returns the consumer if it is to be woken.
func (o *Outbox) claimLocked() Consumer {
	if o.claimed || o.consumer == nil {
		return nil
	}
	o.claimed = true
	return o.consumer
}

func (o *Outbox) clearLocked() (dropped int) {
	dropped = len(o.queue) - o.head
	clear(o.queue)
	o.emptyLocked()
	o.bytes, o.volatiles = 0, 0
	return dropped
}

// emptyLocked reuses a small queue and gives a large one back, so that memory shrinks after a burst.
func (o *Outbox) emptyLocked() {
	o.queue, o.head = o.queue[:0], 0
	if cap(o.queue) > keep {
		o.queue = nil
	}
}

func (o *Outbox) closeLocked() {
	o.closed = true
	o.wakeWaitersLocked()
}

func (o *Outbox) wakeWaitersLocked() {
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}
