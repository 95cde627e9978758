package redisadapter

import (
	"context"
	"net"
	"sync"
)

// cork joins the writes of many small commands into one. go-redis writes each subscription by itself, and in a cluster
// each channel needs a command of its own.
type cork struct {
	mu   sync.Mutex
	conn net.Conn
	in   bool
	held []byte
}

type corkKey struct{}

// with has the connection that is dialled with the context corked.
func (c *cork) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, corkKey{}, c)
}

// put holds back what is written from here on.
func (c *cork) put() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in = true
}

// pull writes what was held back.
func (c *cork) pull() error {
	c.mu.Lock()
	held, conn := c.held, c.conn
	c.in, c.held = false, nil
	c.mu.Unlock()
	if len(held) == 0 || conn == nil {
		return nil
	}
	_, err := conn.Write(held)
	return err
}

// corked is a connection under a cork.
type corked struct {
	*mortal
	cork *cork
}

// over returns conn under the cork.
func (c *cork) over(conn *mortal) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn, c.in, c.held = conn, false, nil
	return corked{conn, c}
}

func (c corked) Write(b []byte) (int, error) {
	c.cork.mu.Lock()
	if c.cork.in {
		c.cork.held = append(c.cork.held, b...)
		c.cork.mu.Unlock()
		return len(b), nil
	}
	c.cork.mu.Unlock()
	return c.mortal.Write(b)
}
