package adapter

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"
)

// Keeper is an optional interface of an Adapter that keeps broadcasts in one order and the sessions of clients that lost
// their connection, so that such a client goes on at any node of the cluster. All methods are safe for concurrent use.
//
// A namespace that keeps sessions joins with a Local that is a Recorder. A node cannot save the sessions of its clients
// when it is killed; an adapter that keeps them while they are connected may do so behind this interface.
type Keeper interface {
	// Save keeps a session for the given time. It waits for the broker, at most until ctx ends.
	Save(ctx context.Context, s *Session, ttl time.Duration) error
	// Take returns the session and forgets it, in one step: of several callers one gets it. It is nil if there is
	// none. known tells whether a broadcast of the namespace with this offset is still kept, as are then all after it.
	Take(ctx context.Context, namespace, pid string, at Offset) (s *Session, known bool, err error)
	// Missed returns the next broadcasts of the namespace that are kept after an offset, from oldest to newest; none
	// of them is volatile.
	Missed(ctx context.Context, namespace string, after Offset) (Page, error)
}

// Recorder is an optional interface of a Local whose namespace keeps sessions. The link of a Keeper calls it in place of
// Deliver for broadcasts, one call at a time, for those of this node too: the server then delivers none by itself.
//
// A broadcast of this node is in Record exactly once before it is delivered, whatever Publish returned, unless that was
// ErrClosed.
type Recorder interface {
	Local
	// Record hands over a broadcast in the one order of the cluster. It does not block.
	Record(r Record)
	// Begin tells that every broadcast after the given offset will be recorded, and that some before it may not have
	// been: at the start, and after a gap.
	Begin(at Offset)
}

// Record is a broadcast as the Recorder gets it.
type Record struct {
	Message *Message
	// Offset is the place of the broadcast. The zero Offset tells that it has none, or none yet: it comes from this
	// node and waited too long for the broker.
	Offset Offset
	// Own tells that it comes from this node.
	Own bool
	// Again tells that it was recorded without an offset before. Its receivers have it.
	Again bool
}

// Session is what a client gets back.
type Session struct {
	SID   string   // id of its socket
	PID   string   // private id: who knows it gets the session
	Rooms []string // the socket's own id may be among them
	// Data is the JSON object that the application keeps with the socket; Attachments are its binary values, as in Packet.
	Data        []byte
	Attachments [][]byte
}

// Page is a part of the kept broadcasts.
type Page struct {
	Records []Record
	// Read is the offset up to which everything was looked at. It is that from which the page was asked for when
	// nothing is kept after it.
	Read Offset
}

// Offset is a place in the order of broadcasts: in text two decimal numbers with a dash between, as the ids of Redis
// streams. The zero Offset is before all others.
type Offset struct{ Major, Minor uint64 }

// ParseOffset reads the text of an offset and reports whether it is one.
func ParseOffset(text string) (Offset, bool) {
	major, minor, found := strings.Cut(text, "-")
	if !found || !digits(major) || !digits(minor) {
		return Offset{}, false
	}
	a, err := strconv.ParseUint(major, 10, 64)
	if err != nil {
		return Offset{}, false
	}
	b, err := strconv.ParseUint(minor, 10, 64)
	if err != nil {
		return Offset{}, false
	}
	return Offset{Major: a, Minor: b}, true
}

// digits: strconv takes a sign too.
func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// String returns the text.
func (o Offset) String() string {
	return strconv.FormatUint(o.Major, 10) + "-" + strconv.FormatUint(o.Minor, 10)
}

// IsZero reports whether o is before all others.
func (o Offset) IsZero() bool { return o == Offset{} }

// Compare returns a negative number if o is before p, zero if they are the same and a positive one otherwise.
func (o Offset) Compare(p Offset) int {
	return cmp.Or(cmp.Compare(o.Major, p.Major), cmp.Compare(o.Minor, p.Minor))
}

// Next returns the offset right behind o.
func (o Offset) Next() Offset {
	if o.Minor++; o.Minor == 0 {
		o.Major++
	}
	return o
}
