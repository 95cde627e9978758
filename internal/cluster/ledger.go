package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.com/chorus/pkg/adapter"
)

// maxRequests bounds the requests that wait for answers at the same time.
const maxRequests = 4096

// ErrTooManyRequests is returned by Run when too many requests wait already.
var ErrTooManyRequests = fmt.Errorf("too many requests to the cluster: the limit is %d", maxRequests)

var (
	errLimit = errors.New("request timeout")
	errLost  = errors.New("the node was lost")
)

// Debtors are those who must answer a request.
type Debtors struct {
	Named   []adapter.Node
	Unnamed int // subscribers that no known node accounts for
}

// Answer is a response as it came in.
type Answer struct {
	Request  string // its id
	From     string // the id of the node; empty if the wire format does not say
	Response *adapter.Response
	// Ack tells that this is the acknowledgement of one client. Otherwise it is the one answer of a node.
	Ack bool
}

// Ledger keeps the requests of one adapter that wait for answers. The zero value is ready; all methods are safe for
// concurrent use and only Run waits.
type Ledger struct {
	mu   sync.Mutex
	open map[string]*request
}

// request is one that waits. All of it is guarded by Ledger.mu, but for wake.
type request struct {
	debts   map[string]*debt
	unnamed debt                // of all others together
	due     int                 // answers that are still due of the others
	known   map[string]struct{} // others that answered and said their name
	queue   []*adapter.Response // for Run to hand over
	silent  adapter.SilentNodesError
	wake    chan struct{} // of capacity 1
}

// debt is what one node owes.
type debt struct {
	node adapter.Node
	paid bool // it answered, or is given up
	acks int  // that are due: as many as it counted, less those that came, which may be first
}

// Run sends a request and hands every response over, one at a time, until the debtors have paid. It gives those up that
// did not answer within limit, those that Left names, and all when ctx ends. The answers of nodes that are missing then
// are a *adapter.SilentNodesError; when only acknowledgements of clients are missing the error is the cause of ctx.
func (l *Ledger) Run(
	ctx context.Context, id string, due Debtors, limit time.Duration, send func() error, response func(*adapter.Response),
) error {
	r := &request{due: due.Unnamed, debts: make(map[string]*debt, len(due.Named)), wake: make(chan struct{}, 1)}
	for _, n := range due.Named {
		r.debts[n.ID] = &debt{node: n}
	}
	if err := l.add(id, r); err != nil {
		return err
	}
	defer l.remove(id)
	if err := send(); err != nil {
		return err
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		batch, paid := l.take(r)
		for _, each := range batch {
			response(each)
		}
		if paid {
			return l.verdict(id, r, nil)
		}
		select {
		case <-r.wake:
		case <-timer.C:
			l.giveUp(r, errLimit)
		case <-ctx.Done():
			l.giveUp(r, context.Cause(ctx))
			return l.verdict(id, r, context.Cause(ctx))
		}
	}
}

// verdict closes a request and returns what is missing: nodes, or else what cause says.
func (l *Ledger) verdict(id string, r *request, cause error) error {
	l.remove(id) // from here on nobody else changes it
	if r.silent.Cause != nil {
		return &r.silent
	}
	return cause
}

func (l *Ledger) add(id string, r *request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) >= maxRequests {
		return ErrTooManyRequests
	}
	if l.open == nil {
		l.open = make(map[string]*request)
	}
	l.open[id] = r
	return nil
}

func (l *Ledger) remove(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, id)
}

// take returns what is to be handed over, and whether nothing more is due.
func (l *Ledger) take(r *request) (batch []*adapter.Response, paid bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch, r.queue = r.queue, nil
	if r.due > 0 || r.unnamed.acks > 0 {
		return batch, false
	}
	for _, d := range r.debts {
		if !d.paid || d.acks > 0 {
			return batch, false
		}
	}
	return batch, true
}

// giveUp stops waiting for the answers of nodes.
func (l *Ledger) giveUp(r *request, cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range r.debts {
		r.loseLocked(d, cause)
	}
	if r.due > 0 {
		r.silent.Unnamed += r.due
		r.silent.Cause = cause
		r.due = 0
	}
}

// loseLocked gives up a node that has not answered.
func (r *request) loseLocked(d *debt, cause error) {
	if d.paid {
		return
	}
	d.paid = true
	r.silent.Nodes = append(r.silent.Nodes, d.node)
	r.silent.Cause = cause
}

// Left tells that a node is gone. What it still owes is missing, unless it said goodbye: then its sockets are gone too.
func (l *Ledger) Left(id string, goodbye bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.open {
		d := r.debts[id]
		if d == nil {
			continue
		}
		switch {
		case goodbye:
			d.paid = true
		case d.paid && d.acks > 0: // it answered, but its clients cannot any more
			d.paid = false
			fallthrough
		default:
			r.loseLocked(d, errLost)
		}
		d.acks = 0
		r.signal()
	}
}

// Answer files an answer and reports whether it belongs to a request that waits for it.
func (l *Ledger) Answer(a Answer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.open[a.Request]
	if r == nil || !r.fileLocked(a) {
		return false
	}
	r.queue = append(r.queue, a.Response)
	r.signal()
	return true
}

// fileLocked reports whether the answer is the first of its kind.
func (r *request) fileLocked(a Answer) bool {
	d := r.debts[a.From]
	if d == nil {
		d = &r.unnamed
	}
	if a.Ack {
		d.acks--
		return true
	}
	if d != &r.unnamed {
		if d.paid {
			return false
		}
		d.paid = true
	} else {
		if _, again := r.known[a.From]; again {
			return false
		}
		if a.From != "" {
			if r.known == nil {
				r.known = make(map[string]struct{})
			}
			r.known[a.From] = struct{}{}
		}
		r.due = max(r.due-1, 0) // or one that came when the debtors were counted already
	}
	d.acks += a.Response.Count
	return true
}

func (r *request) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
