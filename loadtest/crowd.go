//go:build linux

package main

// A crowd says which clients a swarm has and who sends what to whom.
type crowd struct {
	clients int
	senders int
	members int // clients of a room, of which the first sends; 0: the first clients send, to everyone
	stalled int // the last clients, which read nothing once they are connected
	event   string
	size    int // bytes of a message's text
}

// silent is a crowd that sends nothing.
func silent(clients int) crowd {
	return crowd{clients: clients, event: defaultEvent, size: maxHeader}
}

// sender returns the number of the client that is a sender.
func (c crowd) sender(n int) int {
	if c.members > 0 {
		return n * c.members
	}
	return n
}

// heard returns the first of those senders, and their number, whose messages
// a client gets.
func (c crowd) heard(client int) (first, n int) {
	if c.members > 0 {
		return client / c.members, 1
	}
	return 0, c.senders
}

func (c crowd) stalls(client int) bool { return client >= c.clients-c.stalled }
