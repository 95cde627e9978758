package outbox

import "example.com/chorus/internal/frame"

// keep is the capacity in frames that an empty queue does not give back.
const keep = 16

type entry struct {
	frame    *frame.Frame
	volatile bool
}

// queue is what waits in an outbox, oldest first. The oldest frame has a place of its own: most queues never hold a second
// one, and are then found in the line of the cache that holds their outbox.
type queue struct {
	first    *frame.Frame // nil: the queue is empty
	rest     *rest        // what waits behind it; nil until a second one comes
	volatile bool         // the first is
}

type rest struct {
	entries   []entry // from head on
	head      int
	bytes     int
	volatiles int
}

func (r *rest) len() int { return len(r.entries) - r.head }

func (q *queue) len() int {
	switch {
	case q.first == nil:
		return 0
	case q.rest == nil:
		return 1
	}
	return 1 + q.rest.len()
}

func (q *queue) bytes() int {
	switch {
	case q.first == nil:
		return 0
	case q.rest == nil:
		return q.first.Size()
	}
	return q.first.Size() + q.rest.bytes
}

// hasVolatile says whether one of the frames is volatile.
func (q *queue) hasVolatile() bool {
	return q.first != nil && (q.volatile || q.rest != nil && q.rest.volatiles > 0)
}

func (q *queue) push(f *frame.Frame, volatile bool) {
	if q.first == nil {
		q.first, q.volatile = f, volatile
		return
	}
	if q.rest == nil {
		q.rest = new(rest)
	}
	q.rest.push(f, volatile)
}

func (r *rest) push(f *frame.Frame, volatile bool) {
	if len(r.entries) == cap(r.entries) && r.head > len(r.entries)/2 {
		n := copy(r.entries, r.entries[r.head:])
		clear(r.entries[n:])
		r.entries, r.head = r.entries[:n], 0
	}
	r.entries = append(r.entries, entry{f, volatile})
	r.bytes += f.Size()
	if volatile {
		r.volatiles++
	}
}

// pop removes the first frame, which there must be.
func (q *queue) pop() {
	r := q.rest
	if r == nil || r.len() == 0 {
		q.first = nil
		return
	}
	e := &r.entries[r.head]
	q.first, q.volatile = e.frame, e.volatile
	r.bytes -= e.frame.Size()
	if e.volatile {
		r.volatiles--
	}
	*e = entry{}
	r.head++
	if r.len() == 0 {
		q.shrink()
	}
}

// shrink reuses a small rest that is empty and gives a large one back, so that memory shrinks after a burst.
func (q *queue) shrink() {
	q.rest.entries, q.rest.head = q.rest.entries[:0], 0
	if cap(q.rest.entries) > keep {
		q.rest = nil
	}
}

// clear removes all frames and returns how many they were.
func (q *queue) clear() (n int) {
	n = q.len()
	*q = queue{}
	return n
}

// dropLast removes the newest n frames.
func (q *queue) dropLast(n int) {
	q.filter(q.len()-n, func(entry) bool { return false })
}

// dropVolatile removes the oldest volatile frames until enough says that those that are left are few enough. It returns how many it removed.
func (q *queue) dropVolatile(enough func(frames, bytes int) bool) (dropped int) {
	frames, bytes := q.len(), q.bytes()
	q.filter(0, func(e entry) bool {
		if !e.volatile || enough(frames, bytes) {
			return true
		}
		frames--
		bytes -= e.frame.Size()
		dropped++
		return false
	})
	return dropped
}

// filter removes those of the frames from the given one on that are not wanted.
func (q *queue) filter(from int, wanted func(entry) bool) {
	if q.first == nil {
		return
	}
	first := from > 0 || wanted(entry{q.first, q.volatile})
	if r := q.rest; r != nil {
		kept := r.entries[:0]
		for i, e := range r.entries[r.head:] {
			if i+1 < from || wanted(e) {
				kept = append(kept, e)
				continue
			}
			r.bytes -= e.frame.Size()
			if e.volatile {
				r.volatiles--
			}
		}
		clear(r.entries[len(kept):])
		r.entries, r.head = kept, 0
		if len(kept) == 0 {
			q.shrink()
		}
	}
	if !first {
		q.pop()
	}
}
