//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"example.com/chorus/internal/epoll"
)

// maxUnsent bounds what waits for a server that does not read, in bytes.
const maxUnsent = 4 << 20

var errUnread = fmt.Errorf("the server reads nothing, %d bytes are waiting", maxUnsent)

// A client is one Socket.IO connection over WebSocket. It knows the packets
// that a load test meets and nothing else.
type client struct {
	number int
	node   int // index of its target
	via    int // index of the target that relays its WebSocket; -1: none
	swarm  *swarm
	loop   *loop      // which serves it
	stalls bool       // reads nothing once it is connected: what it misses is no loss
	ready  chan error // the answer to CONNECT, or why there is none
	first  int        // sender of the first stream

	mu      sync.Mutex // guards what follows; nothing waits while it is held
	fd      int        // -1 when closed
	joined  bool       // CONNECT was answered
	rest    []byte     // an incomplete frame
	unsent  []byte     // waits until the kernel takes more
	streams []stream   // of the senders that it hears
	silence silence    // if the client is watched
}

// attach gives c its connected descriptor and what was read behind the
// handshake.
func (c *client) attach(fd int, read []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fd, c.joined, c.rest, c.unsent = fd, false, nil, nil // it may have been connected before
	select {
	case <-c.ready: // of an attempt that nobody waited for any more
	default:
	}
	if err := c.loop.watch(syscall.EPOLL_CTL_ADD, fd, c.number, false); err != nil {
		syscall.Close(fd)
		c.fd = -1
		return err
	}
	if err := c.feed(read, c.swarm.now()); err != nil {
		c.failLocked(err)
		return err
	}
	return nil
}

// handle serves one event of the poller.
func (c *client) handle(events uint32, buf []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return
	}
	if events&syscall.EPOLLOUT != 0 {
		if err := c.sendLocked(nil); err != nil {
			c.failLocked(err)
			return
		}
	}
	if events&^syscall.EPOLLOUT == 0 {
		return
	}
	n, err := epoll.Receive(c.fd, buf)
	switch {
	case errors.Is(err, syscall.EAGAIN):
	case err != nil:
		c.failLocked(fmt.Errorf("read: %w", err))
	case n == 0:
		c.failLocked(errors.New("the server closed the connection"))
	default:
		if err := c.feed(buf[:n], c.swarm.now()); err != nil {
			c.failLocked(err)
		}
	}
}

// feed takes bytes as they came. c.mu is held.
func (c *client) feed(b []byte, now time.Duration) error {
	if len(c.rest) > 0 {
		c.rest = append(c.rest, b...)
		b = c.rest
	}
	for {
		op, payload, rest, ok, err := cutFrame(b)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		b = rest
		if err := c.frame(op, payload, now); err != nil {
			return err
		}
	}
	switch len(b) {
	case 0:
		c.rest = nil // most clients keep no buffer
	case len(c.rest): // nothing was complete
	default:
		c.rest = append([]byte(nil), b...)
	}
	return nil
}

func (c *client) frame(op byte, payload []byte, now time.Duration) error {
	switch op {
	case opText:
		return c.packet(payload, now)
	case opPing:
		return c.sendLocked(appendFrame(nil, opPong, payload))
	case opClose:
		return errors.New("the server sent a close frame")
	}
	return nil // attachments of foreign events
}

var (
	connectFrame = appendFrame(nil, opText, []byte("40"))
	pongFrame    = appendFrame(nil, opText, []byte("3"))
)

// packet handles an Engine.IO packet.
func (c *client) packet(p []byte, now time.Duration) error {
	switch {
	case bytes.HasPrefix(p, []byte("42")):
		c.event(p, now)
	case bytes.HasPrefix(p, []byte("2")):
		c.loop.count.pings.Add(1)
		if c.number < c.swarm.watched {
			c.silence.end(now)
		}
		return c.sendLocked(pongFrame)
	case bytes.HasPrefix(p, []byte("0")):
		return c.open(p, now)
	case bytes.HasPrefix(p, []byte("40")):
		if !c.joined {
			c.joined = true
			c.loop.count.joined.Add(1)
			c.ready <- nil
		}
	case bytes.HasPrefix(p, []byte("43")):
		c.loop.count.acks.Add(1)
	case bytes.HasPrefix(p, []byte("44")), bytes.HasPrefix(p, []byte("41")), bytes.HasPrefix(p, []byte("1")):
		return fmt.Errorf("the server refused or ended the session: %.100q", p)
	}
	return nil
}

// open answers the packet that opens the connection.
func (c *client) open(p []byte, now time.Duration) error {
	if c.number < c.swarm.watched {
		c.silence = silence{since: now}
		if err := c.swarm.heartbeat.learn(p); err != nil {
			return err
		}
	}
	return c.sendLocked(connectFrame)
}

// quiet reports whether a connected client was not pinged since a time.
func (c *client) quiet(since time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fd >= 0 && c.silence.since < since
}

// longestSilence returns the longest time without a ping, unless the
// connection has ended.
func (c *client) longestSilence(now time.Duration) (longest time.Duration, connected bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(c.silence.longest, now-c.silence.since), c.fd >= 0
}

func (c *client) event(p []byte, now time.Duration) {
	if c.stalls {
		return
	}
	count := &c.loop.count
	m, kind := c.swarm.codec.parse(p)
	if kind == relayed && m.sender >= c.swarm.crowd.senders {
		kind = damaged
	}
	switch kind {
	case foreign:
		return
	case damaged:
		count.damaged.Add(1)
		return
	}
	if m.sender < c.first || m.sender >= c.first+len(c.streams) {
		count.strayed.Add(1)
		return
	}
	switch c.streams[m.sender-c.first].see(m.number) {
	case duplicated:
		count.duplicated.Add(1)
		return
	case reordered:
		count.reordered.Add(1)
	}
	count.delivered.Add(1)
	if m.at >= c.swarm.measureFrom.Load() {
		// Nothing is measured before all have connected, so only c's loop comes here.
		if c.swarm.timed != nil {
			c.swarm.timed(c, m, int64(now)-m.at)
			return
		}
		own := c.swarm.clients[c.swarm.crowd.sender(m.sender)].node == c.node
		c.loop.latency(own).record(int64(now) - m.at)
	}
	if c.swarm.echo != nil && c.swarm.crowd.sender(m.sender) == c.number {
		c.swarm.echo(c, m)
	}
}

// send writes b without waiting; what the kernel does not take is sent later.
func (c *client) send(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return errors.New("send: the connection is closed")
	}
	if err := c.sendLocked(b); err != nil {
		c.failLocked(err)
		return err
	}
	return nil
}

func (c *client) sendLocked(b []byte) error {
	waited := len(c.unsent) > 0
	if waited {
		b = append(c.unsent, b...)
	}
	for len(b) > 0 {
		n, err := epoll.Send(c.fd, b)
		if errors.Is(err, syscall.EAGAIN) {
			break
		}
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		b = b[n:]
	}
	if len(b) > maxUnsent {
		return errUnread
	}
	c.unsent = append([]byte(nil), b...)
	if waits := len(b) > 0; waits != waited {
		return c.loop.watch(syscall.EPOLL_CTL_MOD, c.fd, c.number, waits)
	}
	return nil
}

// failLocked ends the connection because of err.
func (c *client) failLocked(err error) {
	if c.fd < 0 {
		return
	}
	syscall.Close(c.fd) // which takes it out of the poller too
	c.fd = -1
	if c.joined && c.stalls {
		c.loop.count.stalledClosed.Add(1)
		return
	}
	if c.joined && c.swarm.ended != nil && c.swarm.ended(c) {
		return
	}
	if c.joined {
		c.loop.count.disconnected.Add(1)
		c.swarm.failure.set(fmt.Errorf("disconnected: %w", err))
		return
	}
	select {
	case c.ready <- err:
	default: // nobody waits any more
	}
}

// pauseReading leaves what comes in the kernel.
func (c *client) pauseReading() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return nil
	}
	return c.loop.poller.Control(syscall.EPOLL_CTL_DEL, c.fd, 0, 0)
}

func (c *client) resumeReading() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return nil
	}
	return c.loop.watch(syscall.EPOLL_CTL_ADD, c.fd, c.number, false)
}

// cut ends the connection as a client does whose machine fails: the server gets
// a reset, without a close frame.
func (c *client) cut() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return nil
	}
	err := syscall.SetsockoptLinger(c.fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	syscall.Close(c.fd)
	c.fd = -1
	return err
}

func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd >= 0 {
		syscall.Close(c.fd)
		c.fd = -1
	}
}
