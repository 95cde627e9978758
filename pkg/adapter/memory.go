package adapter

import (
	"context"
	"errors"
	"sync/atomic"
)

// ErrClosed is returned by Join after Close, and by Publish after Close or Leave.
var ErrClosed = errors.New("adapter: closed")

// NewMemory returns the adapter of a server that is alone: there is nobody to publish to and nothing to hear.
func NewMemory() Adapter { return new(memory) }

// Lone implements adapter.Lone.
func (*memory) Lone() bool { return true }

type memory struct{ closed atomic.Bool }

func (a *memory) Join(context.Context, string, Local) (Link, error) {
	if a.closed.Load() {
		return nil, ErrClosed
	}
	return &memoryLink{adapter: a}, nil
}

func (a *memory) Close(context.Context) error {
	a.closed.Store(true)
	return nil
}

var _ Requester = (*memoryLink)(nil)

type memoryLink struct {
	adapter *memory
	left    atomic.Bool
}

func (l *memoryLink) Publish(context.Context, *Message) error {
	if l.left.Load() || l.adapter.closed.Load() {
		return ErrClosed
	}
	return nil
}

// Request implements Requester: nobody has to answer.
func (l *memoryLink) Request(ctx context.Context, m *Message, _ func(*Response)) error {
	return l.Publish(ctx, m)
}

// Nodes implements Requester: there is one, which has no name.
func (l *memoryLink) Nodes(context.Context) ([]Node, error) {
	if l.left.Load() || l.adapter.closed.Load() {
		return nil, ErrClosed
	}
	return []Node{{}}, nil
}

func (l *memoryLink) Leave(context.Context) error {
	l.left.Store(true)
	return nil
}
