package socketio

import (
	"container/list"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"
)

const (
	pacedPerProcessor = 128                    // new connections at a time for each processor that Go uses
	pacedPatience     = 100 * time.Millisecond // how long one that sends nothing counts
)

// Paced returns a listener for server that accepts new connections no faster than their first requests are
// answered: in a burst, as when all clients of another node come back at once, the others wait in the kernel, where
// they cost nothing, instead of each holding a goroutine and buffers and keeping the processors from those who are
// connected. A connection whose request takes longer than 100 ms, or does not come, is no longer waited for. Call it before
// server serves; it sets server.ConnState, and calls the function that was there.
//
// Connections are those of l as they are: a Server serves plain TCP ones on its fast path (see Options.NetLoop).
func Paced(l net.Listener, server *http.Server) net.Listener {
	p := &paced{
		Listener: l, most: pacedPerProcessor * runtime.GOMAXPROCS(0), patience: pacedPatience,
		waiting: make(map[net.Conn]*list.Element), freed: make(chan struct{}, 1),
	}
	before := server.ConnState
	server.ConnState = func(c net.Conn, state http.ConnState) {
		if state != http.StateNew && state != http.StateActive {
			p.release(c)
		}
		if before != nil {
			before(c, state)
		}
	}
	return p
}

// paced is a listener that knows the connections whose first request was not answered.
type paced struct {
	net.Listener
	most     int
	patience time.Duration
	freed    chan struct{} // there may be room

	mu      sync.Mutex
	waiting map[net.Conn]*list.Element
	byAge   list.List // of arrival
}

type arrival struct {
	conn net.Conn
	at   time.Time
}

// Accept implements net.Listener.
func (p *paced) Accept() (net.Conn, error) {
	for {
		wait := p.full(time.Now())
		if wait <= 0 {
			break
		}
		timer := time.NewTimer(wait)
		select {
		case <-p.freed:
		case <-timer.C:
		}
		timer.Stop()
	}
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting[c] = p.byAge.PushBack(arrival{c, time.Now()})
	return c, nil
}

// full returns how long to wait for room at most; 0 if there is some. It forgets those that were waited for long enough.
func (p *paced) full(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.waiting) >= p.most {
		oldest := p.byAge.Front().Value.(arrival)
		if wait := p.patience - now.Sub(oldest.at); wait > 0 {
			return wait
		}
		p.forgetLocked(oldest.conn)
	}
	return 0
}

func (p *paced) forgetLocked(c net.Conn) bool {
	e, ok := p.waiting[c]
	if ok {
		p.byAge.Remove(e)
		delete(p.waiting, c)
	}
	return ok
}

func (p *paced) release(c net.Conn) {
	p.mu.Lock()
	ok := p.forgetLocked(c)
	if secured, is := c.(interface{ NetConn() net.Conn }); is && !ok { // of TLS that came on top
		ok = p.forgetLocked(secured.NetConn())
	}
	p.mu.Unlock()
	if !ok {
		return
	}
	select {
	case p.freed <- struct{}{}:
	default:
	}
}
