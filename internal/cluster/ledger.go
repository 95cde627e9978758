package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"example.com/chorus/pkg/adapter"
)

// maxRequests bounds the requests that wait for answers at the same time.
const maxRequests = 4096

// Errors of Run.
var (
	ErrTooManyRequests = fmt.Errorf("too many requests to the cluster: the limit is %d", maxRequests)
	ErrRequestID       = errors.New("the id of the request is in use")
)

var (
	errLimit = fmt.Errorf("request timeout: %w", context.DeadlineExceeded)
	errLost  = errors.New("the node was lost")
)

// Debtors are those who must answer a request.
type Debtors struct {
	Named []adapter.Node
	// Lost are nodes that are not waited for, but may live and answer: none of their answers is that of another.
	Lost    []adapter.Node
	Unnamed int // subscribers that no known node accounts for
	// Acks tells that the request is a broadcast: after its answer, each node owes as many acknowledgements of clients
	// as it counted.
	Acks bool
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
	acks    bool
	debts   map[string]*debt
	unnamed debt                // of all others together
	due     int                 // answers that are still due of the others
	missing int                 // of the others, given up
	known   map[string]struct{} // others that answered and said their name
	queue   []*adapter.Response // for Run to hand over
	cause   error               // why answers were given up
	wake    chan struct{}       // of capacity 1
}

// debt is what one node owes.
type debt struct {
	node     adapter.Node
	answered bool
	silent   bool // something of it is missing: nobody waits for it any more
	gone     bool // it left
	acks     int  // that are due: as many as it counted, less those that came, which may be first
}

// open reports whether something of the node is worth waiting for.
func (d *debt) open() bool {
	return !d.gone && (!d.answered && !d.silent || d.acks > 0)
}

// Run sends a request and hands every response over, one at a time, until the debtors have paid. It gives those up that
// did not answer within limit, those that Left names, and all when ctx ends. The answers of nodes that are missing then
// are a *adapter.SilentNodesError; when only acknowledgements of clients are missing the error is the cause of ctx.
//
// An answer that comes after its node was given up still counts while Run waits for others. What was filed is handed
// over, also when ctx has ended.
func (l *Ledger) Run(
	ctx context.Context, id string, due Debtors, limit time.Duration, send func() error, response func(*adapter.Response),
) error {
	r := &request{
		acks: due.Acks, due: max(due.Unnamed, 0),
		debts: make(map[string]*debt, len(due.Named)+len(due.Lost)), wake: make(chan struct{}, 1),
	}
	for _, n := range due.Lost {
		r.debts[n.ID] = &debt{node: n, gone: true}
	}
	for _, n := range due.Named {
		r.debts[n.ID] = &debt{node: n}
	}
	if err := l.add(id, r); err != nil {
		return err
	}
	defer l.remove(id, r)
	if err := send(); err != nil {
		return err
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var ended error
	for {
		batch, paid := l.take(r)
		for _, each := range batch {
			response(each)
		}
		if paid || ended != nil {
			break
		}
		select {
		case <-r.wake:
		case <-timer.C:
			l.giveUp(r, errLimit)
		case <-ctx.Done():
			ended = context.Cause(ctx)
			l.giveUp(r, ended)
			l.remove(id, r) // from here on nobody else changes it
		}
	}
	return l.verdict(id, r, ended)
}

// verdict closes a request and returns what is missing: nodes, or else acknowledgements, for which cause is why.
func (l *Ledger) verdict(id string, r *request, cause error) error {
	l.remove(id, r)
	silent := &adapter.SilentNodesError{Unnamed: r.missing, Cause: r.cause}
	due := r.unnamed.acks > 0
	for _, d := range r.debts {
		if d.silent {
			silent.Nodes = append(silent.Nodes, d.node)
		}
		due = due || d.open()
	}
	switch {
	case len(silent.Nodes)+silent.Unnamed > 0:
		slices.SortFunc(silent.Nodes, byName)
		return silent
	case due:
		return cause
	}
	return nil
}

func byName(a, b adapter.Node) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
}

func (l *Ledger) add(id string, r *request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) >= maxRequests {
		return ErrTooManyRequests
	}
	if l.open[id] != nil {
		return ErrRequestID
	}
	if l.open == nil {
		l.open = make(map[string]*request)
	}
	l.open[id] = r
	return nil
}

func (l *Ledger) remove(id string, r *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[id] == r { // else the id was taken again
		delete(l.open, id)
	}
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
		if d.open() {
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
		if !d.answered && !d.gone && !d.silent {
			d.silent = true
			r.cause = cause
		}
	}
	if r.due > 0 {
		r.missing += r.due
		r.due = 0
		r.cause = cause
	}
}

// Left tells that a node is gone. What it still owes is missing, unless it said goodbye: then its sockets are gone too.
func (l *Ledger) Left(id string, goodbye bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.open {
		d := r.debts[id]
		if d == nil || d.gone {
			continue
		}
		d.gone = true
		switch {
		case goodbye:
			d.silent = false
		case !d.answered || d.acks > 0:
			d.silent = true
			r.cause = errLost
		}
		r.signal()
	}
}

// Answer files an answer and reports whether it belongs to a request that waits for it.
func (l *Ledger) Answer(a Answer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.open[a.Request]
	if r == nil || a.Response == nil || !r.fileLocked(a) {
		return false
	}
	r.queue = append(r.queue, a.Response)
	r.signal()
	return true
}

// fileLocked reports whether the answer is the first of its kind.
func (r *request) fileLocked(a Answer) bool {
	d, named := r.debts[a.From]
	if !named {
		d = &r.unnamed
	}
	if a.Ack {
		if r.acks {
			d.acks--
		}
		return r.acks
	}
	if named {
		if d.answered {
			return false
		}
		d.answered = true
		d.silent = d.silent && d.gone && r.acks && a.Response.Count > 0 // whose clients cannot acknowledge any more
	} else if !r.fileUnnamedLocked(a.From) {
		return false
	}
	if r.acks {
		d.acks += min(max(a.Response.Count, 0), math.MaxInt32) // whatever a peer claims
	}
	return true
}

// fileUnnamedLocked files the answer of a node that was not known when the debtors were counted.
func (r *request) fileUnnamedLocked(from string) bool {
	if _, again := r.known[from]; again {
		return false
	}
	if from != "" {
		if r.known == nil {
			r.known = make(map[string]struct{})
		}
		r.known[from] = struct{}{}
	}
	switch {
	case r.due > 0:
		r.due--
	case r.missing > 0: // it was given up before
		r.missing--
	}
	return true
}

func (r *request) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
