package siotest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/parser"
)

// maxPending bounds the events that wait for Next.
const maxPending = 1 << 14

var errOverflow = errors.New("too many events wait")

// Client is a client in one namespace. All methods are safe for concurrent use.
type Client struct {
	conn    *connection
	handler http.Handler
	options Options

	mu        sync.Mutex
	changed   chan struct{} // closed at the next change of what follows
	id        string
	session   session
	recovered bool
	refusal   *socketio.ConnectError
	reason    Reason // why it ended
	events    []*Event
	acks      map[uint64]*socketio.Args // that the server owes; nil until one came
	ackID     uint64
}

// join sends a CONNECT packet and waits for the answer.
func (c *connection) join(ctx context.Context, h http.Handler, o Options, s session) (*Client, error) {
	client := &Client{
		conn: c, handler: h, options: o, session: s,
		changed: make(chan struct{}), acks: make(map[uint64]*socketio.Args),
	}
	if err := client.join(ctx); err != nil {
		c.remove(client)
		return nil, fmt.Errorf("siotest: connect to %s: %w", o.Namespace, err)
	}
	return client, nil
}

func (c *Client) join(ctx context.Context) error {
	auth, err := c.session.payload(c.options.Auth)
	if err != nil {
		return err
	}
	if err := c.conn.add(c); err != nil {
		return err
	}
	if err := c.conn.send(ctx, parser.Packet{Type: parser.Connect, Namespace: c.wireName(), Data: auth}); err != nil {
		return c.reasonOf(err)
	}
	var refusal *socketio.ConnectError
	err = c.wait(ctx, func() bool {
		refusal = c.refusal
		return c.id != "" || refusal != nil
	})
	if refusal != nil {
		return refusal
	}
	return err
}

// Of joins another namespace over the same connection; see Options.Auth.
func (c *Client) Of(ctx context.Context, namespace string, auth any) (*Client, error) {
	o := c.options
	o.Namespace, o.Auth = withSlash(namespace), auth
	ctx, cancel := o.limit(ctx)
	defer cancel()
	return c.conn.join(ctx, c.handler, o, session{})
}

// ID returns the id of the socket on the server.
func (c *Client) ID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}

// Recovered reports whether Reconnect found the session again: same id, rooms and data, no event missed.
func (c *Client) Recovered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recovered
}

// Emit sends an event; arguments are as in socketio.Socket.Emit. It returns when the event is on its way, before the
// server has handled it.
func (c *Client) Emit(ctx context.Context, event string, args ...any) error {
	err := c.send(ctx, parser.Packet{Type: parser.Event}, append([]any{event}, args...))
	if err != nil {
		return fmt.Errorf("siotest: emit %q: %w", event, err)
	}
	return nil
}

// EmitWithAck sends an event and waits for the acknowledgement.
func (c *Client) EmitWithAck(ctx context.Context, event string, args ...any) (socketio.Args, error) {
	answer, err := c.emitWithAck(ctx, append([]any{event}, args...))
	if err != nil {
		return answer, fmt.Errorf("siotest: emit %q with ack: %w", event, err)
	}
	return answer, nil
}

func (c *Client) emitWithAck(ctx context.Context, values []any) (answer socketio.Args, err error) {
	ctx, cancel := c.options.limit(ctx)
	defer cancel()
	c.mu.Lock()
	id := c.ackID
	c.ackID++
	c.acks[id] = nil
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.acks, id)
	}()
	if err := c.send(ctx, parser.Packet{Type: parser.Event, ID: id, HasID: true}, values); err != nil {
		return answer, err
	}
	err = c.wait(ctx, func() bool {
		if c.acks[id] == nil {
			return false
		}
		answer = *c.acks[id]
		return true
	})
	return answer, err
}

// Next takes the next event, in the order in which the server emitted. Those that came before a disconnection are
// taken first; then the error is a DisconnectError. A client with 16 384 events that nobody takes disconnects itself:
// see Overflow.
func (c *Client) Next(ctx context.Context) (*Event, error) {
	e, err := c.next(ctx)
	if err != nil {
		return nil, fmt.Errorf("siotest: next event: %w", err)
	}
	return e, nil
}

func (c *Client) next(ctx context.Context) (e *Event, err error) {
	ctx, cancel := c.options.limit(ctx)
	defer cancel()
	err = c.wait(ctx, func() bool {
		if len(c.events) == 0 {
			return false
		}
		e, c.events = c.events[0], c.events[1:]
		return true
	})
	return e, err
}

// Expect takes the next event, which must be of the given name, and decodes its first arguments into dst.
func (c *Client) Expect(ctx context.Context, event string, dst ...any) error {
	e, err := c.next(ctx)
	switch {
	case err != nil:
	case e.Name != event:
		err = fmt.Errorf("got %v", e)
	default:
		err = e.Decode(dst...)
	}
	if err != nil {
		return fmt.Errorf("siotest: expect %q: %w", event, err)
	}
	return nil
}

// Pending returns the number of events that came and wait for Next.
func (c *Client) Pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.events)
}

// Disconnect leaves the namespace; others of the connection stay.
func (c *Client) Disconnect(ctx context.Context) error {
	err := c.send(ctx, parser.Packet{Type: parser.Disconnect}, nil)
	if err != nil {
		return fmt.Errorf("siotest: disconnect: %w", err)
	}
	c.end(ClientDisconnect)
	return nil
}

// Wait waits until the client is disconnected and returns why.
func (c *Client) Wait(ctx context.Context) (Reason, error) {
	ctx, cancel := c.options.limit(ctx)
	defer cancel()
	err := c.wait(ctx, func() bool { return c.reason != "" })
	if err != nil {
		return "", fmt.Errorf("siotest: wait for the end: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason, nil
}

// Close ends the connection with all its namespaces, behind what was emitted, without leaving them: to the server
// it is a "transport close", as when a browser's tab is closed. It waits until nothing of the client is left, and may be
// called again.
func (c *Client) Close() { c.conn.close() }

// Reconnect closes the connection and opens another one, as official clients do when they lost theirs: with the same
// options and, if the server keeps sessions (socketio.Options.Recovery), what it needs to find this one again. Missed
// events come before all others. With such a server every event has its offset as last argument. Other namespaces of
// the connection are not joined again.
func (c *Client) Reconnect(ctx context.Context) (*Client, error) {
	c.Close()
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	return connect(ctx, c.handler, c.options, s)
}

// send writes a packet with values as its data, unless there are none.
func (c *Client) send(ctx context.Context, p parser.Packet, values []any) error {
	p.Namespace = c.wireName()
	if p.Type != parser.Disconnect {
		args, err := socketio.NewArgs(values...)
		if err != nil {
			return err
		}
		p.Data, p.Binary = args.Encode()
	}
	c.mu.Lock()
	reason := c.reason
	c.mu.Unlock()
	if reason != "" {
		return &DisconnectError{reason}
	}
	return c.reasonOf(c.conn.send(ctx, p))
}

// reasonOf replaces the error of a connection that is gone by the reason.
func (c *Client) reasonOf(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(err, errGone) {
		return &DisconnectError{c.reason}
	}
	return err
}

// wireName is the namespace in packets.
func (c *Client) wireName() []byte {
	if c.options.Namespace == "/" {
		return nil
	}
	return []byte(c.options.Namespace)
}

// wait waits until ready, which is called under the lock, returns true; else the error says why it never will.
func (c *Client) wait(ctx context.Context, ready func() bool) error {
	for {
		c.mu.Lock()
		done, reason, changed := ready(), c.reason, c.changed
		c.mu.Unlock()
		switch {
		case done:
			return nil
		case reason != "":
			return &DisconnectError{reason}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// change changes the client and lets those who wait look again.
func (c *Client) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Client) end(reason Reason) {
	c.conn.remove(c)
	c.change(func() {
		if c.reason == "" {
			c.reason = reason
		}
	})
}

// packet handles one packet of the server.
func (c *Client) packet(p *parser.Packet) error {
	switch p.Type {
	case parser.Connect:
		return c.accepted(p.Data)
	case parser.ConnectError:
		return c.refused(p.Data)
	case parser.Disconnect:
		c.end(ServerDisconnect)
		return nil
	case parser.Event, parser.BinaryEvent:
		return c.event(p)
	}
	args, err := socketio.ParseArgs(bytes.Clone(p.Data), p.Binary)
	if err != nil {
		return err
	}
	c.change(func() {
		if _, waits := c.acks[p.ID]; waits {
			c.acks[p.ID] = &args
		}
	})
	return nil
}

func (c *Client) accepted(data []byte) error {
	var reply struct{ SID, PID string }
	if err := json.Unmarshal(data, &reply); err != nil {
		return err
	}
	c.change(func() {
		c.id = reply.SID
		c.recovered = reply.PID != "" && reply.PID == c.session.pid
		c.session.pid = reply.PID
	})
	return nil
}

func (c *Client) refused(data []byte) error {
	var reply struct {
		Message string
		Data    any
	}
	if err := json.Unmarshal(data, &reply); err != nil {
		return err
	}
	c.change(func() { c.refusal = &socketio.ConnectError{Message: reply.Message, Data: reply.Data} })
	return nil
}

func (c *Client) event(p *parser.Packet) error {
	name, rest := parser.Split(p.Data)
	args, err := socketio.ParseArgs(slices.Concat([]byte{'['}, rest, []byte{']'}), p.Binary)
	if err != nil {
		return err
	}
	e := &Event{Name: string(name), Args: args, client: c, id: p.ID, wantsAck: p.HasID}
	_ = json.Unmarshal(name, &e.Name) // else it is a number
	offset := e.Name
	if n := args.Len(); n > 0 {
		offset = ""
		_ = args.Raw(n - 1).Decode(&offset) // else it is no string
	}
	full := false
	c.change(func() {
		if full = len(c.events) == maxPending; full {
			return
		}
		c.events = append(c.events, e)
		if c.session.pid != "" && offset != "" { // as official clients do
			c.session.offset = offset
		}
	})
	if full {
		return errOverflow
	}
	return nil
}
