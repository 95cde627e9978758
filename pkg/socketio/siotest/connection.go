package siotest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.com/chorus/pkg/socketio/parser"
)

// farewell is how long Close waits for what the server still reads and says.
const farewell = time.Second

var (
	errGone  = errors.New("connection is gone")
	errEmpty = errors.New("empty packet")
)

// connection is one Engine.IO connection, which carries a client for each namespace. Its reader handles what comes; its
// writer is another goroutine, so that a server that does not read stops neither pongs nor those who wait with a context.
type connection struct {
	ws         *webSocket
	parser     parser.Parser
	writes     chan []parser.Chunk // one packet each; an empty one says goodbye
	pongs      chan struct{}
	done       chan struct{} // closed when the connection has ended
	goroutines sync.WaitGroup

	mu      sync.Mutex
	clients map[string]*Client // by namespace
	ended   Reason             // empty while it is open
}

func newConnection(ws *webSocket, p parser.Parser) *connection {
	c := &connection{
		ws:      ws,
		parser:  p,
		writes:  make(chan []parser.Chunk),
		pongs:   make(chan struct{}, 1),
		done:    make(chan struct{}),
		clients: make(map[string]*Client),
	}
	c.goroutines.Go(c.read)
	c.goroutines.Go(c.write)
	return c
}

// read handles what the server sends until the connection ends.
func (c *connection) read() {
	decoder := c.parser.NewDecoder()
	defer decoder.Close()
	for {
		binary, data, err := c.ws.read()
		if err != nil {
			c.end(TransportClose)
			return
		}
		switch err := c.message(decoder, binary, data); {
		case err == nil:
		case errors.Is(err, errOverflow):
			c.end(Overflow)
			return
		default:
			c.end(ParseError)
			return
		}
	}
}

// message handles one Engine.IO packet.
func (c *connection) message(decoder parser.Decoder, binary bool, data []byte) error {
	if !binary {
		switch {
		case len(data) == 0:
			return errEmpty
		case data[0] == '2':
			select {
			case c.pongs <- struct{}{}:
			default: // one is due already
			}
			return nil
		case data[0] != '4':
			return nil // the handshake, or nothing that matters on a WebSocket
		}
		data = data[1:]
	}
	p, err := decoder.Add(parser.Chunk{Binary: binary, Data: data})
	if err != nil || p == nil {
		return err
	}
	name := string(p.Namespace)
	if name == "" {
		name = "/"
	}
	c.mu.Lock()
	client := c.clients[name]
	c.mu.Unlock()
	if client == nil {
		return nil // official clients ignore it too
	}
	return client.packet(p)
}

// write sends packets until the connection ends.
func (c *connection) write() {
	for {
		var err error
		select {
		case chunks := <-c.writes:
			if len(chunks) == 0 {
				err = c.ws.write(opClose, nil)
				break
			}
			for _, chunk := range chunks {
				if err == nil {
					err = c.writeChunk(chunk)
				}
			}
		case <-c.pongs:
			err = c.ws.write(opText, []byte{'3'})
		case <-c.done:
			return
		}
		if err != nil {
			_ = c.ws.conn.Close() // the reader finds out
		}
	}
}

func (c *connection) writeChunk(chunk parser.Chunk) error {
	if chunk.Binary {
		return c.ws.write(opBinary, chunk.Data)
	}
	return c.ws.write(opText, append([]byte{'4'}, chunk.Data...))
}

// send hands a packet to the writer.
func (c *connection) send(ctx context.Context, p parser.Packet) error {
	chunks, err := c.parser.Encode(p)
	if err != nil {
		return err
	}
	return c.handOver(ctx, chunks)
}

func (c *connection) handOver(ctx context.Context, chunks []parser.Chunk) error {
	select {
	case <-c.done:
		return errGone
	default:
	}
	select {
	case c.writes <- chunks:
		return nil
	case <-c.done:
		return errGone
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// close says goodbye behind what was sent, and waits for the end.
func (c *connection) close() {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.ws.conn.Close() })
	defer stop()
	_ = c.handOver(ctx, nil) // else it is gone, or the timeout ends it
	c.goroutines.Wait()
}

// add takes the place of a namespace for a client that is about to join.
func (c *connection) add(client *Client) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended != "":
		return &DisconnectError{c.ended}
	case c.clients[client.options.Namespace] != nil:
		return fmt.Errorf("namespace %s has a client on this connection", client.options.Namespace)
	}
	c.clients[client.options.Namespace] = client
	return nil
}

func (c *connection) remove(client *Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clients[client.options.Namespace] == client {
		delete(c.clients, client.options.Namespace)
	}
}

// end tells the clients that the connection is gone.
func (c *connection) end(reason Reason) {
	_ = c.ws.conn.Close()
	c.mu.Lock()
	c.ended = reason
	clients := c.clients
	c.clients = nil
	c.mu.Unlock()
	for _, client := range clients {
		client.end(reason)
	}
	close(c.done)
}
