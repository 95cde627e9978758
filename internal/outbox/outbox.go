// Package outbox is the bounded queue of frames of one session. It outlives a transport upgrade: data,
// control frames and the close frame of a session meet here, and one consumer at a time takes them out.
package outbox

// Limits bounds every outbox of a server. It is shared and must not change once used.
type Limits struct {
	Bytes        int  // queued bytes
	Frames       int  // queued frames
	DropVolatile bool // a broadcast that does not fit is dropped instead of closing the session
}
