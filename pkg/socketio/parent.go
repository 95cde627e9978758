package socketio

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"
)

// ParentNamespace stands for namespaces that come into being when a client asks for them. What is registered with it
// is copied to each of them when it is made; what is registered later does not reach those that exist.
//
// A child exists per node. With Options.CleanupEmptyChildNamespaces it is removed when its last socket has left.
type ParentNamespace struct {
	router

	server  *Server
	pattern *regexp.Regexp // nil: of OfFunc
	matches func(ctx context.Context, name string, auth json.RawMessage) (bool, error)

	mu       sync.Mutex
	children map[*Namespace]struct{}
}

// OfMatch makes a parent for all names that match the pattern. Namespaces that exist take precedence, then parents in
// the order in which they were made. Names include the leading slash; anchor the pattern.
func (s *Server) OfMatch(pattern *regexp.Regexp) *ParentNamespace {
	return s.addParent(&ParentNamespace{pattern: pattern, matches: func(_ context.Context, name string, _ json.RawMessage) (bool, error) {
		return pattern.MatchString(name), nil
	}})
}

// OfFunc makes a parent for all names that the function allows; it gets the payload of the CONNECT packet too. It may
// wait. An error is logged and counts as a refusal.
func (s *Server) OfFunc(matches func(ctx context.Context, name string, auth json.RawMessage) (bool, error)) *ParentNamespace {
	return s.addParent(&ParentNamespace{matches: matches})
}

func (s *Server) addParent(p *ParentNamespace) *ParentNamespace {
	p.server, p.children = s, make(map[*Namespace]struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parents = add(s.parents, p)
	return p
}

// Children returns the namespaces that exist on this node, in the order in which they were made.
func (p *ParentNamespace) Children() []*Namespace {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(maps.Keys(p.children), byAge)
}

// Emit sends an event to every client of every child that exists on this node; see Broadcast.Emit.
func (p *ParentNamespace) Emit(ctx context.Context, event string, args ...any) error {
	return p.To().Emit(ctx, event, args...)
}

// To returns a broadcast to rooms in every child that exists on this node when it is emitted.
func (p *ParentNamespace) To(rooms ...string) ParentBroadcast {
	return ParentBroadcast{p, Broadcast{}.To(rooms...)}
}

// In is To.
func (p *ParentNamespace) In(rooms ...string) ParentBroadcast { return p.To(rooms...) }

// Except returns a broadcast that leaves out the members of rooms.
func (p *ParentNamespace) Except(rooms ...string) ParentBroadcast { return p.To().Except(rooms...) }

// Local returns a broadcast to the clients of this node.
func (p *ParentNamespace) Local() ParentBroadcast { return p.To().Local() }

// Volatile returns a broadcast that clients which are not ready miss.
func (p *ParentNamespace) Volatile() ParentBroadcast { return p.To().Volatile() }

// Send emits the event "message".
func (p *ParentNamespace) Send(ctx context.Context, args ...any) error {
	return p.Emit(ctx, "message", args...)
}

// ParentBroadcast is a Broadcast in every child of a parent.
type ParentBroadcast struct {
	parent *ParentNamespace
	choice Broadcast
}

// To is Broadcast.To.
func (b ParentBroadcast) To(rooms ...string) ParentBroadcast {
	return ParentBroadcast{b.parent, b.choice.To(rooms...)}
}

// In is To.
func (b ParentBroadcast) In(rooms ...string) ParentBroadcast { return b.To(rooms...) }

// Except is Broadcast.Except.
func (b ParentBroadcast) Except(rooms ...string) ParentBroadcast {
	return ParentBroadcast{b.parent, b.choice.Except(rooms...)}
}

// Local is Broadcast.Local.
func (b ParentBroadcast) Local() ParentBroadcast {
	return ParentBroadcast{b.parent, b.choice.Local()}
}

// Volatile is Broadcast.Volatile.
func (b ParentBroadcast) Volatile() ParentBroadcast {
	return ParentBroadcast{b.parent, b.choice.Volatile()}
}

// Compress is Broadcast.Compress.
func (b ParentBroadcast) Compress(on bool) ParentBroadcast {
	return ParentBroadcast{b.parent, b.choice.Compress(on)}
}

// Send emits the event "message".
func (b ParentBroadcast) Send(ctx context.Context, args ...any) error {
	return b.Emit(ctx, "message", args...)
}

// Emit sends the event in every child. It returns the first error, after all were tried.
func (b ParentBroadcast) Emit(ctx context.Context, event string, args ...any) error {
	var first error
	for _, child := range b.parent.Children() {
		one := b.choice
		one.nsp = child
		if err := one.Emit(ctx, event, args...); err != nil && first == nil {
			first = fmt.Errorf("socketio: namespace %s: %w", child.name, err)
		}
	}
	return first
}

// acquire finds the namespace of a CONNECT packet, or makes it, for one socket more. It returns nil when there is
// none. It may wait for a function of the application.
func (s *Server) acquire(ctx context.Context, name string, auth json.RawMessage) *Namespace {
	for {
		if n := s.lookup(name); n != nil {
			if n.acquire() {
				return n
			}
			continue // it was just removed
		}
		p := s.parentOf(ctx, name, auth)
		if p == nil {
			return nil
		}
		s.makeChild(p, name)
	}
}

// matching returns the parent whose pattern the name matches.
func (s *Server) matching(name string) *ParentNamespace {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, p := range s.parents {
		if p.pattern != nil && p.pattern.MatchString(name) {
			return p
		}
	}
	return nil
}

func (s *Server) parentOf(ctx context.Context, name string, auth json.RawMessage) *ParentNamespace {
	s.mu.Lock()
	parents := s.parents
	s.mu.Unlock()
	for _, p := range parents {
		var ok bool
		err := guard(func() (err error) {
			ok, err = p.matches(ctx, name, auth)
			return err
		})
		if err != nil {
			s.report("OfFunc", fmt.Errorf("namespace %.64q: %w", name, err))
		}
		if ok && err == nil {
			return p
		}
	}
	return nil
}

// makeChild makes a namespace with what is registered with its parent.
func (s *Server) makeChild(p *ParentNamespace, name string) {
	n, made, err := s.newNamespace(name, p)
	if err != nil {
		s.options.Logger.Error("namespace is not connected to other nodes", "namespace", name, "error", err)
	}
	if made {
		s.announce(n)
	}
}

// acquire counts a socket that connects. It fails when the namespace was removed.
func (n *Namespace) acquire() bool {
	n.use.mu.Lock()
	defer n.use.mu.Unlock()
	if n.use.closed {
		return false
	}
	n.use.sockets++
	return true
}

// release ends what acquire began.
func (n *Namespace) release() {
	n.use.mu.Lock()
	n.use.sockets--
	n.use.mu.Unlock()
	n.tidy()
}

// tidy removes a child that has neither sockets nor sessions, if that is asked for.
func (n *Namespace) tidy() {
	if n.parent == nil || !n.server.options.CleanupEmptyChildNamespaces {
		return
	}
	n.use.mu.Lock()
	remove := !n.use.closed && n.use.sockets == 0 && (n.recovery == nil || n.recovery.empty())
	n.use.closed = n.use.closed || remove
	n.use.mu.Unlock()
	if remove {
		n.server.remove(n)
	}
}

// remove takes an empty child away and gives up its line to the other nodes.
func (s *Server) remove(n *Namespace) {
	s.mu.Lock()
	delete(s.namespaces, n.name)
	s.mu.Unlock()
	n.parent.mu.Lock()
	delete(n.parent.children, n)
	n.parent.mu.Unlock()
	n.endJobs()
	if err := n.link.Leave(context.Background()); err != nil {
		s.options.Logger.Warn("namespace did not leave", "namespace", n.name, "error", err)
	}
}
