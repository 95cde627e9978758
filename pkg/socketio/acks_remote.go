package socketio

import (
	"cmp"
	"sync"
	"time"

	"example.com/chorus/pkg/adapter"
)

// ackers is told of the receivers of a broadcast with acknowledgements, inside of the broadcast.
type ackers interface {
	expect(s *Socket)              // before the event is queued
	unexpect(s *Socket, err error) // why it was not queued
}

var (
	_ ackers = (*collector)(nil)
	_ ackers = (*remoteAcks)(nil)
)

// remoteAcks passes the acknowledgements of a broadcast of another node on to it: how many clients were asked, then
// what they answer, until the time is up.
type remoteAcks struct {
	id      uint64
	respond func(*adapter.Response)

	mu      sync.Mutex
	asked   []*Socket
	count   int                 // of asked that got the event
	waiting int                 // of them, that still may answer
	early   []*adapter.Response // that came before the count was sent
	sent    bool                // the count
	timer   *time.Timer
}

// askRemote delivers a broadcast of another node and responds what the clients of this node acknowledge.
func (n *Namespace) askRemote(m *adapter.Message, respond func(*adapter.Response)) {
	c := &remoteAcks{id: n.ackID.Add(1) - 1, respond: respond}
	n.deliverWithAcks(m, c.id, c)
	c.begin(cmp.Or(max(m.Timeout, 0), n.server.options.AckTimeout))
}

func (c *remoteAcks) expect(s *Socket) {
	c.mu.Lock()
	c.count++
	c.waiting++
	c.asked = append(c.asked, s)
	c.mu.Unlock()
	if s.acks.expect(c.id, c.answer) != nil {
		c.notAsked()
	}
}

func (c *remoteAcks) unexpect(s *Socket, _ error) {
	if s.acks.forget(c.id) {
		c.notAsked()
	}
}

func (c *remoteAcks) notAsked() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count--
	c.waiting--
}

// answer takes an acknowledgement, or the news that none will come.
func (c *remoteAcks) answer(a ackResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting--
	if a.err != nil && !c.sent {
		c.count--
	}
	if a.err == nil {
		p := packetOf(a.args)
		c.respondLocked(&adapter.Response{Packet: &p})
	}
	if c.waiting == 0 && c.timer != nil {
		c.timer.Stop()
		c.asked = nil
	}
}

func (c *remoteAcks) respondLocked(r *adapter.Response) {
	if !c.sent {
		c.early = append(c.early, r)
		return
	}
	c.respond(r) // does not wait
}

// begin responds the count, and what came before it.
func (c *remoteAcks) begin(timeout time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = true
	c.respond(&adapter.Response{Count: c.count})
	for _, r := range c.early {
		c.respond(r)
	}
	c.early = nil
	if c.waiting > 0 {
		c.timer = time.AfterFunc(timeout, c.end)
	}
}

// end forgets those that did not answer in time.
func (c *remoteAcks) end() {
	c.mu.Lock()
	asked := c.asked
	c.asked = nil
	c.mu.Unlock()
	for _, s := range asked {
		if s.acks.forget(c.id) {
			s.nsp.count.asked[ackTimeout].Add(1)
		}
	}
}

// packetOf returns arguments as they travel between nodes.
func packetOf(a Args) adapter.Packet {
	data, binary := a.Encode()
	return adapter.Packet{Data: data, Attachments: binary}
}
