package socketio

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"example.com/chorus/internal/engineio"
	"example.com/chorus/pkg/socketio/parser"
)

// maxNamespaces bounds the namespaces that one connection may join.
const maxNamespaces = 32

// connection is one Engine.IO session and the sockets that it carries, one for each joined namespace.
type connection struct {
	server  *Server
	session *engineio.Session

	// Of the reader, which never runs twice at once: a packet whose attachments have not all come.
	partial     *[]byte
	packet      parser.Packet
	attachments [][]byte

	mu      sync.Mutex
	sockets []*Socket // a disconnected one stays until its namespace is joined again
	closed  bool
	joined  bool
	timer   *time.Timer // of ConnectTimeout
}

var (
	errPlaintext  = errors.New("got plaintext data when reconstructing a packet")
	errBinaryData = errors.New("got binary data when not reconstructing a packet")
	errNotJoined  = errors.New("packet for a namespace that is not joined")
	errTwice      = errors.New("CONNECT for a namespace that is joined")
	errNoConnect  = errors.New("no namespace joined within ConnectTimeout")
	errPanicked   = errors.New("a handler panicked")
)

func newConnection(server *Server, session *engineio.Session) *connection {
	c := &connection{server: server, session: session}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(server.options.ConnectTimeout, func() {
		c.mu.Lock()
		late := !c.joined
		c.mu.Unlock()
		if late {
			server.count.connectTimeouts.Add(1)
			session.Close(engineio.ForcedClose, errNoConnect)
		}
	})
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
	if binary {
		if c.partial == nil {
			return true, errBinaryData
		}
		c.attachments = append(c.attachments, bytes.Clone(data))
		if len(c.attachments) < c.packet.Attachments {
			return true, nil
		}
		packet, attachments, buf := c.packet, c.attachments, c.partial
		c.partial, c.packet, c.attachments = nil, parser.Packet{}, nil
		return c.dispatch(packet, attachments, buf)
	}
	if c.partial != nil {
		return true, errPlaintext
	}
	packet, err := parser.Decode(data)
	if err != nil {
		return true, err
	}
	buf := copyToBuffer(packet.Data)
	packet.Data = *buf
	if packet.Attachments > 0 {
		packet.Namespace = bytes.Clone(packet.Namespace)
		c.partial, c.packet = buf, packet
		return true, nil
	}
	return c.dispatch(packet, nil, buf)
}

// dispatch handles one complete packet, whose data are in buf.
func (c *connection) dispatch(p parser.Packet, attachments [][]byte, buf *[]byte) (ok bool, err error) {
	if p.Type == parser.Event || p.Type == parser.BinaryEvent {
		s, err := c.socket(p.Namespace)
		if err != nil {
			return true, err
		}
		if err := checkPlaceholders(p.Data, attachments); err != nil {
			return true, err
		}
		return s.inbox.push(item{kind: itemEvent, buf: buf, packet: p, attachments: attachments}, &s.nsp.server.workers, s.run), nil
	}
	defer putBuffer(buf)
	switch p.Type {
	case parser.Connect:
		return true, c.connect(p)
	case parser.Disconnect:
		s, err := c.socket(p.Namespace)
		if err != nil {
			return true, err
		}
		c.remove(s)
		s.end(ClientNamespaceDisconnect, nil)
		return true, nil
	case parser.Ack, parser.BinaryAck:
		s, err := c.socket(p.Namespace)
		if err != nil {
			return true, err
		}
		if err := checkPlaceholders(p.Data, attachments); err != nil {
			return true, err
		}
		if p.HasID {
			s.acks.resolve(p.ID, Args{elements: bytes.Clone(parser.Elements(p.Data)), attachments: attachments})
		}
		return true, nil
	}
	return true, fmt.Errorf("%s packet from a client", p.Type)
}

func checkPlaceholders(data []byte, attachments [][]byte) error {
	if len(attachments) == 0 {
		return nil
	}
	return parser.Placeholders(data, func(_, _, num int) error {
		if num >= len(attachments) {
			return fmt.Errorf("%w: placeholder %d of %d", parser.ErrIllegalAttachments, num, len(attachments))
		}
		return nil
	})
}

// socket returns the socket of a joined namespace. What a client still sends to one that the server has left
// goes to that socket, whose inbox ignores it.
func (c *connection) socket(name []byte) (*Socket, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sockets {
		if string(name) == s.nsp.name || len(name) == 0 && s.nsp.name == "/" {
			if s.state.Load() == stateConnecting {
				return nil, errNotJoined
			}
			return s, nil
		}
	}
	return nil, fmt.Errorf("%w: %.64q", errNotJoined, name)
}

// connect answers a CONNECT packet (protocol section "Connection to a namespace").
func (c *connection) connect(p parser.Packet) error {
	name := string(p.Namespace)
	if name == "" {
		name = "/"
	}
	nsp := c.server.lookup(name)
	if nsp == nil {
		c.server.count.unknownNamespaces.Add(1)
		c.refuse(name, &ConnectError{Message: "Invalid namespace"})
		return nil
	}
	s := newSocket(nsp, c, p.Data)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	i := slices.IndexFunc(c.sockets, func(old *Socket) bool { return old.nsp == nsp })
	switch {
	case i >= 0 && c.sockets[i].state.Load() != stateDisconnected:
		c.mu.Unlock()
		return fmt.Errorf("%w: %s", errTwice, name)
	case i >= 0:
		c.sockets[i] = s
	case len(c.sockets) >= maxNamespaces:
		c.mu.Unlock()
		c.refuse(name, fmt.Errorf("too many namespaces on one connection: the limit is %d", maxNamespaces))
		return nil
	default:
		c.sockets = append(c.sockets, s)
	}
	c.mu.Unlock()
	s.inbox.push(item{kind: itemConnect}, &s.nsp.server.workers, s.run)
	return nil
}

// refuse sends a CONNECT_ERROR; the connection stays open.
func (c *connection) refuse(nsp string, err error) {
	_ = c.session.Send(control(parser.ConnectError, nsp, connectErrorJSON(err)), false) // a closed session has nobody to tell
}

// joinedNamespace ends the wait of ConnectTimeout.
func (c *connection) joinedNamespace() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.joined = true
	c.timer.Stop()
}

func (c *connection) remove(s *Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sockets = slices.DeleteFunc(c.sockets, func(o *Socket) bool { return o == s })
}

// violation ends a connection that broke the protocol (section "Disconnection").
func (c *connection) violation(err error) {
	c.mu.Lock()
	sockets := slices.Clone(c.sockets)
	c.mu.Unlock()
	for _, s := range sockets {
		s.nsp.fail(s, fmt.Errorf("socketio: protocol violation: %w", err))
	}
	c.session.Close(engineio.ForcedClose, err)
}

// Closed implements engineio.Handler. It may come from inside a broadcast, so it takes no lock of rooms: the
// rest happens in the inboxes.
func (c *connection) Closed(reason engineio.Reason, detail error) {
	c.mu.Lock()
	c.closed = true
	sockets := slices.Clone(c.sockets)
	c.timer.Stop()
	c.mu.Unlock()
	for _, s := range sockets {
		s.end(Reason(reason), detail)
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
