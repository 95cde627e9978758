package socketio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/chorus/internal/engineio"
	"example.com/chorus/internal/frame"
	"example.com/chorus/pkg/socketio/parser"
)

// maxNamespaces bounds the namespaces that one connection may join.
const maxNamespaces = 32

// connection is one Engine.IO session and the sockets that it carries, one for each joined namespace.
type connection struct {
	server  *Server
	session *engineio.Session

	// Of the reader, which never runs twice at once: the decoder of a format other than the default one, and a packet
	// of the default one whose attachments have not all come.
	decoder *decoder
	partial *partial
	pace    *pace // nil: no limit

	mu      sync.Mutex
	sockets []*Socket           // a disconnected one stays until its namespace is joined again or its place is needed
	finding map[string]struct{} // names of namespaces that are being looked for
	closed  bool
	joined  bool
	leaving bool        // handed over to another node
	holding uint8       // sockets whose end is waited for before that of the connection
	forced  bool        // ended for a packet out of place, while the transport could not be closed at once
	timer   *time.Timer // of ConnectTimeout; of partingLimit when leaving
}

// partial is a packet that waits for attachments.
type partial struct {
	packet parser.Packet
	text   *[]byte // owner of the packet's text
}

var (
	errNotJoined = errors.New("packet for a namespace that is not joined")
	errTwice     = errors.New("CONNECT for a namespace that is joined")
	errNotOurs   = errors.New("packet that only servers send")
	errNoConnect = errors.New("no namespace joined within ConnectTimeout")
	errPanicked  = errors.New("a handler panicked")
	errTooMany   = fmt.Errorf("too many namespaces on one connection: the limit is %d", maxNamespaces)
)

func newConnection(server *Server, session *engineio.Session) *connection {
	c := &connection{server: server, session: session}
	if n := server.options.MaxEventsPerSecond; n > 0 {
		c.pace = newPace(n)
	}
	if server.format != nil {
		c.decoder = server.format.newDecoder()
	}
	c.mu.Lock()
	c.timer = time.AfterFunc(server.options.ConnectTimeout, func() {
		c.mu.Lock()
		late := !c.joined
		c.mu.Unlock()
		if late {
			server.count.connectTimeouts.Add(1)
			session.Close(engineio.ForcedClose, errNoConnect)
		}
	})
	c.mu.Unlock()
	if session.Protocol() == 3 { // whose clients are in the main namespace without asking
		if err := c.connect("/", nil); err != nil {
			c.violation(err)
		}
	}
	return c
}

// Message implements engineio.Handler.
func (c *connection) Message(binary bool, data []byte) bool {
	ok, err := c.message(binary, data)
	if err != nil {
		c.violation(err)
		return true
	}
	return ok
}

func (c *connection) message(binary bool, data []byte) (ok bool, err error) {
	switch {
	case c.decoder != nil:
		return c.decoder.add(parser.Chunk{Binary: binary, Data: data}, c.dispatch)
	case binary:
		if c.partial == nil {
			return true, parser.ErrBinary
		}
		p := c.partial
		p.packet.Binary = append(p.packet.Binary, bytes.Clone(data))
		if len(p.packet.Binary) < p.packet.Attachments {
			return true, nil
		}
		defer putBuffer(p.text)
		c.partial = nil
		return c.dispatch(p.packet)
	case c.partial != nil:
		return true, parser.ErrPlaintext
	}
	p, err := c.server.limits.Decode(data)
	if err != nil || p.Attachments == 0 {
		if err != nil {
			return true, err
		}
		return c.dispatch(p)
	}
	if err := parser.CheckPlaceholders(p.Data, p.Attachments); err != nil { // before the attachments cost anything
		return true, err
	}
	text := copyToBuffer(p.Data)
	p.Data, p.Namespace = *text, bytes.Clone(p.Namespace)
	c.partial = &partial{p, text}
	return true, nil
}

// dispatch handles one complete packet, whose header and text are the caller's.
func (c *connection) dispatch(p parser.Packet) (ok bool, err error) {
	switch p.Type {
	case parser.Event, parser.BinaryEvent:
		s, err := c.socket(p.Namespace)
		if err != nil {
			return true, err
		}
		buf := copyToBuffer(p.Data)
		p.Data, p.Binary, p.Namespace = *buf, c.own(p.Binary), nil
		held := c.paceEvent(s)
		return s.inbox.push(item{kind: itemEvent, buf: buf, packet: p}, &c.server.workers, s.run) && !held, nil
	case parser.Ack, parser.BinaryAck:
		s, err := c.socket(p.Namespace)
		if err == nil && p.HasID {
			if since, ok := s.acks.resolve(p.ID, Args{elements: bytes.Clone(parser.Elements(p.Data)), attachments: c.own(p.Binary)}); ok {
				s.nsp.count.asked[ackOK].Add(1)
				c.server.traceAcked(s.nsp.count.name, time.Since(since))
			}
		}
		return true, err
	case parser.Connect:
		name, auth := string(p.Namespace), bytes.Clone(p.Data)
		if c.session.Protocol() == 3 {
			name, auth = splitQuery(name)
		}
		if name == "" {
			name = "/"
		}
		return true, c.connect(name, auth)
	case parser.Disconnect:
		s, err := c.socket(p.Namespace)
		if err == nil {
			c.mu.Lock()
			s.clientLeft = true
			c.mu.Unlock()
			s.end(ClientNamespaceDisconnect, nil)
		}
		return true, err
	}
	return true, fmt.Errorf("%w: %s", errNotOurs, p.Type)
}

// own returns attachments that nobody else changes: those of another format's decoder are valid for the call only.
func (c *connection) own(attachments [][]byte) [][]byte {
	if c.decoder == nil {
		return attachments
	}
	return cloneAll(attachments)
}

// splitQuery takes the name of a namespace of protocol 3 apart: what stands behind ? is what later became auth.
func splitQuery(name string) (string, []byte) {
	name, query, found := strings.Cut(name, "?")
	if !found {
		return name, nil
	}
	values, _ := url.ParseQuery(query) // what cannot be read is left out, as in Node
	last := make(map[string]string, len(values))
	for k, v := range values {
		last[k] = v[len(v)-1]
	}
	auth, _ := json.Marshal(last) // strings always can
	return name, auth
}

// socket returns the socket of a joined namespace. What a client still sends to one that the server has left
// goes to that socket, whose inbox ignores it.
func (c *connection) socket(name []byte) (*Socket, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sockets {
		if string(name) == s.nsp.name || len(name) == 0 && s.nsp.name == "/" {
			if s.state.Load() == stateConnecting || s.clientLeft {
				break
			}
			return s, nil
		}
	}
	return nil, fmt.Errorf("%w: %.64q", errNotJoined, name)
}

// connect answers a CONNECT packet (protocol section "Connection to a namespace").
func (c *connection) connect(name string, auth []byte) error {
	if n := c.server.lookup(name); n != nil && n.acquire() {
		return c.join(n, auth)
	}
	c.mu.Lock()
	_, twice := c.finding[name]
	full := len(c.finding) >= maxNamespaces
	if !c.closed && !c.leaving && !twice && !full {
		if c.finding == nil {
			c.finding = make(map[string]struct{})
		}
		c.finding[name] = struct{}{}
	}
	closed := c.closed || c.leaving
	c.mu.Unlock()
	switch {
	case closed:
		return nil
	case twice:
		return fmt.Errorf("%w: %.64s", errTwice, name)
	case full:
		c.refuse(name, errTooMany)
		return nil
	}
	c.server.workers.start(func() { c.find(name, auth) })
	return nil
}

// find looks for a dynamic namespace, which may take an application's function its time.
func (c *connection) find(name string, auth []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), c.server.options.ConnectTimeout)
	defer cancel()
	n := c.server.acquire(ctx, name, auth)
	c.mu.Lock()
	delete(c.finding, name)
	c.mu.Unlock()
	if n == nil {
		c.server.count.unknownNamespaces.Add(1)
		c.refuse(name, &ConnectError{Message: "Invalid namespace"})
		return
	}
	if err := c.join(n, auth); err != nil {
		c.violation(err)
	}
}

// join makes a socket in an acquired namespace.
func (c *connection) join(nsp *Namespace, auth []byte) error {
	s := newSocket(nsp, c, auth)
	c.mu.Lock()
	i := slices.IndexFunc(c.sockets, func(old *Socket) bool { return old.nsp.name == nsp.name })
	var refusal, err error
	waits := false
	switch {
	case c.closed || c.leaving:
		refusal = ErrDisconnected
	case i >= 0 && c.sockets[i].state.Load() != stateDisconnected:
		err = fmt.Errorf("%w: %.64s", errTwice, nsp.name)
	case i >= 0:
		if waits = !c.sockets[i].dismissed; waits { // its handlers have not all returned: one after the other
			c.sockets[i].successor = s
		}
		c.sockets[i] = s
	case len(c.sockets) >= maxNamespaces && !c.forgetLocked():
		refusal = errTooMany
	default:
		c.sockets = append(c.sockets, s)
	}
	leaving := c.leaving
	c.mu.Unlock()
	if refusal != nil || err != nil {
		nsp.release()
		if refusal != nil && !leaving { // another node will say yes
			c.refuse(nsp.name, refusal)
		}
		return err
	}
	if !waits {
		s.connect()
	}
	return nil
}

// forgetLocked gives up the place of a socket that is through, and reports whether there was one: rather of one that the
// client left, since it may still send to one that the server ended.
func (c *connection) forgetLocked() bool {
	i := slices.IndexFunc(c.sockets, func(s *Socket) bool { return s.dismissed && s.clientLeft })
	if i < 0 {
		i = slices.IndexFunc(c.sockets, func(s *Socket) bool { return s.dismissed })
	}
	if i >= 0 {
		c.sockets = slices.Delete(c.sockets, i, i+1)
	}
	return i >= 0
}

// connect starts the worker with the middlewares.
func (s *Socket) connect() {
	s.inbox.push(item{kind: itemConnect}, &s.nsp.server.workers, s.run)
}

// dismissed notes that a socket is through with its handlers. Its client may have joined the namespace again
// meanwhile: that was held back, else a client that leaves and joins in turn could have any number of handlers running.
func (c *connection) dismissed(s *Socket) {
	c.mu.Lock()
	s.dismissed = true
	next := s.successor
	s.successor = nil
	parts := false
	if s.held {
		s.held = false
		c.holding--
		parts = c.holding == 0
	}
	c.mu.Unlock()
	if next != nil {
		next.connect()
	}
	if parts {
		c.part()
	}
}

// handOver gives the client up, so that it comes back to another node, and reports whether that begins now. Where sessions
// are kept, the sockets end first and the transport when their sessions are saved: else the client could be
// back before its session is there.
func (c *connection) handOver() bool {
	c.mu.Lock()
	if c.closed || c.leaving {
		c.mu.Unlock()
		return false
	}
	c.leaving = true
	c.stopTimerLocked()
	var held []*Socket
	if c.server.options.Recovery != nil {
		for _, s := range c.sockets {
			if !s.dismissed {
				s.held = true
				held = append(held, s)
			}
		}
	}
	if c.holding = uint8(len(held)); c.holding > 0 { // at most maxNamespaces
		c.timer = time.AfterFunc(partingLimit, c.part)
	}
	c.mu.Unlock()
	if len(held) == 0 {
		c.part()
	}
	for _, s := range held {
		s.end(ServerShutdown, nil)
	}
	return true
}

// part closes the transport of a connection that is handed over.
func (c *connection) part() {
	transport := c.session.Transport()
	if c.session.Leave() {
		c.server.count.drained[slices.Index(transportNames[:], transport)].Add(1)
	}
}

// refuse sends a CONNECT_ERROR; the connection stays open.
func (c *connection) refuse(nsp string, err error) {
	text, failed := connectErrorJSON(err, c.session.Protocol())
	if failed != nil {
		c.server.report("ConnectError.Data", failed)
	}
	c.control(control(c.server, parser.ConnectError, nsp, text))
}

// control sends a packet of the protocol itself. Unlike a broadcast it must not be dropped: a client that has no room
// for it is closed.
func (c *connection) control(f *frame.Frame) {
	if errors.Is(c.session.Send(f, false), engineio.ErrDropped) {
		c.session.Close(engineio.SlowConsumer, ErrSlowConsumer)
	}
}

// joinedNamespace ends the wait of ConnectTimeout.
func (c *connection) joinedNamespace() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.joined = true
	if !c.leaving { // then it is another one
		c.stopTimerLocked()
	}
}

// stopTimerLocked gives the timer up for good: it holds as much memory as the rest of an idle connection.
func (c *connection) stopTimerLocked() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

func (c *connection) remove(s *Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sockets = slices.DeleteFunc(c.sockets, func(o *Socket) bool { return o == s })
}

// violation ends a connection that broke the protocol (section "Disconnection"), or whose decoder broke down.
func (c *connection) violation(err error) {
	var told error = &ProtocolError{err}
	_, panicked := errors.AsType[*PanicError](err)
	if panicked {
		told = fmt.Errorf("socketio: decoder of Options.Parser: %w", err)
	} else {
		c.server.count.violations.Add(1)
	}
	// Node tells these apart for packets that can be read but are out of place.
	late := !c.session.Ready() && (errors.Is(err, errNotJoined) || errors.Is(err, errTwice) || errors.Is(err, errNotOurs))
	c.mu.Lock()
	c.forced = late
	sockets := slices.Clone(c.sockets)
	c.mu.Unlock()
	for _, s := range sockets {
		s.inbox.push(item{kind: itemError, err: told}, &c.server.workers, s.run)
	}
	if panicked && len(sockets) == 0 {
		c.server.report("Decoder.Add", err)
	}
	c.session.Close(engineio.ForcedClose, err)
}

// Closed implements engineio.Handler. It may come from inside a broadcast, so it takes no lock of rooms: the
// rest happens in the inboxes.
func (c *connection) Closed(reason engineio.Reason, detail error) {
	c.mu.Lock()
	c.closed = true
	why := Reason(reason)
	if c.forced && why == ForcedClose {
		why = ForcedServerClose
	}
	sockets := slices.Clone(c.sockets)
	c.stopTimerLocked()
	c.mu.Unlock()
	if c.decoder != nil {
		c.decoder.close()
	}
	for _, s := range sockets {
		s.end(why, detail)
	}
}

// disconnectAll sends a DISCONNECT for every namespace and closes the transport behind them.
func (c *connection) disconnectAll() {
	c.mu.Lock()
	sockets := slices.Clone(c.sockets)
	c.mu.Unlock()
	for _, s := range sockets {
		s.leaveByServer(nil)
	}
	c.session.Close(engineio.ForcedClose, nil)
}
