package socketio

import (
	"sync"

	"example.com/chorus/pkg/socketio/parser"
)

// Bounds of the inbox of one socket. An empty inbox takes one event of any allowed size.
const (
	inboxEvents = 64
	inboxBytes  = 1 << 20
)

// item is one thing that happens to a socket: its connection, a received event, its end.
type item struct {
	kind   itemKind
	buf    *[]byte // owner of the packet's text
	packet parser.Packet
	reason Reason
	err    error
}

type itemKind uint8

const (
	itemConnect itemKind = iota
	itemEvent
	itemError
	itemDisconnect
)

// inbox keeps what happens to a socket in order. A worker goroutine exists while there is something in it, so a
// handler may wait for anything but the events behind it.
type inbox struct {
	mu      sync.Mutex
	items   []item
	bytes   int
	running bool
	paused  bool // the reader waits until half of the inbox is free
	ended   bool // a disconnect is queued: nothing is taken behind it
}

// push adds an item and starts the worker if there is none. ok is false when the inbox is full with it.
func (b *inbox) push(it item, w *workers, run func()) (ok bool) {
	size := it.size()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		it.release()
		return true
	}
	b.ended = it.kind == itemDisconnect
	b.items = append(b.items, it)
	b.bytes += size
	if !b.running {
		b.running = true
		w.start(run)
	}
	if it.kind == itemEvent && (len(b.items) >= inboxEvents || b.bytes >= inboxBytes && len(b.items) > 1) {
		b.paused = true
		return false
	}
	return true
}

// next takes the first item. Without one, ok is false and the worker must end. resume tells that the reader may
// go on.
func (b *inbox) next() (it item, resume, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.items) == 0 {
		b.running = false
		b.items = nil // an idle socket keeps nothing
		return item{}, false, false
	}
	it = b.items[0]
	b.items[0] = item{}
	b.items = b.items[1:]
	b.bytes -= it.size()
	if b.paused && len(b.items) <= inboxEvents/2 && b.bytes <= inboxBytes/2 {
		b.paused, resume = false, true
	}
	return it, resume, true
}

// full reports whether the reader waits for room.
func (b *inbox) full() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.paused
}

func (it *item) size() int {
	n := len(it.packet.Data)
	for _, a := range it.packet.Binary {
		n += len(a)
	}
	return n
}

// release gives the packet's buffer back.
func (it *item) release() {
	if it.buf != nil {
		putBuffer(it.buf)
		it.buf = nil
	}
}

// buffers hold packets between the reader and the handler.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

func copyToBuffer(data []byte) *[]byte {
	b := buffers.Get().(*[]byte)
	*b = append((*b)[:0], data...)
	return b
}

func putBuffer(b *[]byte) {
	if cap(*b) <= 64<<10 {
		buffers.Put(b)
	}
}
