package netloop

import (
	"example.com/chorus/internal/frame"
	"example.com/chorus/internal/outbox"
)

// Conn is a connection of a loop: bytes in, frames out. All methods are safe for concurrent use but where they say
// who may call them, and none blocks but WriteNow.
type Conn interface {
	// Read begins to read. It is called once; on a connection that was closed before, Ended is called at once.
	Read()
	// Resume lets a reader that returned Pause go on. Each Pause takes one Resume, which may be the earlier of the two.
	Resume()
	// WriteNow writes to a connection that was not started. Only its reader calls it. On the fast path it does not
	// wait either: what the kernel does not take is an error.
	WriteNow(b []byte) error
	// Start makes the connection the consumer of q, whose frames leave in the given format. When the last one has
	// left the connection finishes: the peer has the loop's linger time to read what is under way and to hang up.
	// Closing with unread input at once would reset the connection, and the peer might never see the last words.
	Start(q *outbox.Outbox, format *frame.Format)
	// Part writes the last words to a connection that was not started and finishes it. Its reader gets no more.
	Part(last []byte)
	// Close closes the connection at once. Its reader hears of it by Ended, once it was read.
	Close()
}

// Verdict says how reading goes on.
type Verdict uint8

// The verdicts.
const (
	Continue Verdict = iota
	Pause            // nothing is read until Conn.Resume; then Receive is called with nothing new
	Skip             // what comes is thrown away; the connection ends when it is finished, by Start or Part, or closed
)

// Reader takes what happens to a connection. Its methods must not block.
type Reader interface {
	// Receive takes bytes that arrived, which are valid until it returns. Calls come one after the other.
	Receive(b []byte) Verdict
	// WriteFailed tells, at most once and from any goroutine, that nothing can be written any more. It is for the
	// reader to close the connection.
	WriteFailed(err error)
	// Ended is the last call, after the connection was closed. err is never nil.
	Ended(err error)
}

const turn = 64 << 10 // bytes of joined frames that one connection may send before the next has its turn

type frames []*frame.Frame
