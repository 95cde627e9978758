package socketio

import (
	"slices"
	"sort"
	"time"

	"example.com/chorus/internal/frame"
	"example.com/chorus/pkg/adapter"
)

// history is what a node remembers of the broadcasts of one namespace, in their order. It is complete after since.
// recovery.mu guards it.
type history struct {
	since  adapter.Offset
	last   adapter.Offset // of the newest event; since if there is none yet
	events []kept         // from oldest to newest
	bytes  int            // of events

	window      time.Duration
	maxMessages int
	maxBytes    int
}

// kept is one event that clients may have missed.
type kept struct {
	offset adapter.Offset
	at     time.Time
	size   int
	rooms  []string
	except []string
	// frame is what the receivers got. It is nil while there were none on this node: then message can be made into it.
	frame   *frame.Frame
	message *adapter.Message
}

// begin forgets everything: what comes after the offset is known from now on.
func (h *history) begin(at adapter.Offset) {
	h.events, h.bytes = nil, 0
	h.since, h.last = at, at
}

// add keeps the newest event and forgets what is beyond the limits.
func (h *history) add(k kept) {
	h.last = k.offset
	h.events = append(h.events, k)
	h.bytes += k.size
	oldest := k.at.Add(-h.window)
	drop := 0
	for drop < len(h.events) &&
		(len(h.events)-drop > h.maxMessages || h.bytes > h.maxBytes || h.events[drop].at.Before(oldest)) {
		h.bytes -= h.events[drop].size
		drop++
	}
	h.drop(drop)
}

// expire forgets what is too old, and gives its memory back.
func (h *history) expire(now time.Time) {
	oldest := now.Add(-h.window)
	drop := 0
	for drop < len(h.events) && h.events[drop].at.Before(oldest) {
		h.bytes -= h.events[drop].size
		drop++
	}
	h.drop(drop)
	h.events = slices.Clone(h.events)
}

func (h *history) drop(n int) {
	if n == 0 {
		return
	}
	h.since = h.events[n-1].offset
	clear(h.events[:n])
	h.events = h.events[n:]
}

// after returns the events after an offset that is not before since.
func (h *history) after(at adapter.Offset) []kept {
	i := sort.Search(len(h.events), func(i int) bool { return h.events[i].offset.Compare(at) > 0 })
	return h.events[i:]
}

// mine reports whether a session was among the receivers of an event.
func (s *session) mine(to, except []string) bool {
	is := func(room string) bool { return room == s.sid || slices.Contains(s.rooms, room) }
	return (len(to) == 0 || slices.ContainsFunc(to, is)) && !slices.ContainsFunc(except, is)
}
