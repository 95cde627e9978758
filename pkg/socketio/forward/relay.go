package forward

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

const (
	// linger is how long the other direction may go on after one has ended: longer than the engine waits for a client
	// that was told to go.
	linger = 5 * time.Second
	// lastFrame is how long a frame may take that is under way when the relay is to end.
	lastFrame = time.Second
)

// closeFrame ends a WebSocket with the code 1001, going away, as the server's own do when it stops.
var closeFrame = []byte{0x88, 2, 0x03, 0xe9}

// relay passes the bytes of a WebSocket in both directions. It has a goroutine for each, and no buffer while nothing moves.
type relay struct {
	f             *Forwarder
	peer          *peer
	client, owner net.Conn
	running       atomic.Int32 // directions
	leaving       atomic.Bool  // to be told to the client
	said          boundary     // of what the client was sent; only its direction uses it
}

// start answers the client with head and begins to relay. What each side has sent already goes first.
func (f *Forwarder) start(r *relay, head, fromOwner, fromClient []byte) {
	boundKernel(r.client)
	boundKernel(r.owner)
	fromOwner = append(head, fromOwner...)
	f.mu.Lock()
	ok := !f.sealed && r.peer.ctx.Err() == nil
	if ok {
		f.relays[r] = struct{}{}
		r.peer.relays[r] = struct{}{}
		r.running.Store(2)
		f.pumping.Add(2)
	}
	f.mu.Unlock()
	if !ok {
		r.cut()
		return
	}
	r.said.advance(fromOwner[len(head):])
	first := errors.Join(f.send(r.client, fromOwner), f.send(r.owner, fromClient))
	if first != nil {
		r.cut()
	}
	go r.run(newPump(r.client, r.owner, f.options.WriteTimeout, &r.said))
	go r.run(newPump(r.owner, r.client, f.options.WriteTimeout, nil))
}

func (f *Forwarder) send(c net.Conn, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	return errors.Join(c.SetWriteDeadline(time.Now().Add(f.options.WriteTimeout)), writeAll(c, b), c.SetWriteDeadline(time.Time{}))
}

func writeAll(c net.Conn, b []byte) error {
	_, err := c.Write(b)
	return err
}

// run is one direction, from its first byte to the end.
func (r *relay) run(p *pump) {
	defer r.f.pumping.Done()
	err := p.run()
	if p.said != nil && r.leaving.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		err = r.sayGoodbye(p)
	}
	if errors.Is(err, io.EOF) {
		r.halfClose(p.dst)
	} else {
		r.cut()
	}
	if r.running.Add(-1) == 0 {
		r.cut()
		r.f.forget(r)
	}
}

// halfClose tells a side that nothing more comes, and gives it the time to say what it still has to say.
func (r *relay) halfClose(c net.Conn) {
	w, ok := c.(interface{ CloseWrite() error })
	if !ok || w.CloseWrite() != nil || c.SetReadDeadline(time.Now().Add(linger)) != nil {
		r.cut()
	}
}

// cut ends both directions at once.
func (r *relay) cut() {
	_ = r.client.Close() // what the sides have not got they will not get
	_ = r.owner.Close()
}

// farewellLocked makes the client's direction of a relay end between two messages, and reports whether that is new.
func (f *Forwarder) farewellLocked(r *relay) bool {
	if r.leaving.Swap(true) {
		return false
	}
	f.leaving++
	_ = r.owner.SetReadDeadline(time.Unix(1, 0)) // fails only if it is closed, which ends it too
	return true
}

// sayGoodbye tells the client that the connection ends, as soon as that is no part of a message. What the owner says then is
// for nobody; it is read so that the owner hears the client's last words. The result is io.EOF if that went well.
func (r *relay) sayGoodbye(p *pump) error {
	if !p.said.between() {
		p.finish = true
		if err := errors.Join(r.owner.SetReadDeadline(time.Now().Add(lastFrame)), p.run()); !errors.Is(err, errFinished) {
			return err
		}
	}
	if err := r.f.send(r.client, closeFrame); err != nil {
		return err
	}
	r.halfClose(r.client)
	if err := r.owner.SetReadDeadline(time.Now().Add(linger)); err != nil {
		return err
	}
	return p.discard()
}

// forget takes a relay off the books.
func (f *Forwarder) forget(r *relay) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.relays[r]; ok && r.leaving.Load() {
		f.leaving--
	}
	delete(f.relays, r)
	delete(r.peer.relays, r)
}
