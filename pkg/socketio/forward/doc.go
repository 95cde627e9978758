// Package forward lets any node of a cluster take any request: one that belongs to a session of another node is
// passed on to that node. A balancer then needs no affinity, not even for polling.
//
// A session's id begins with the tag of the node that has it (socketio.Options.RouteTag). A Forwarder stands before the
// server on the public listener, where it compares that tag with those of the live members of the cluster; its
// Internal handler stands before the server on a listener that only the other nodes can reach:
//
//	f, err := forward.New(server, &forward.Options{Secret: secret})
//	public.Handle("/socket.io/", f)
//	internal.Handle("/socket.io/", f.Internal())
//
// GET and POST are passed on by HTTP/1.1, the upgrade to a WebSocket becomes a relay that holds no buffer while nothing
// moves. The owner sees the request as if it had come to itself: host, scheme, client address and headers are those
// that the first node saw.
//
// # Trust
//
// What a node says about a client is believed only if it is signed with the secret that all nodes share, by HMAC-SHA-256
// over everything that is believed: method, target, session, time, scheme, host, the client's address, and the headers
// from which applications tell who asks. A signature is good for a few seconds, for one request, and at one node. The header that
// carries it is taken off whatever comes from outside, and looked at only by the Internal handler, which forwards
// nothing: there is one hop. Bodies are not signed, and what passes between nodes is not encrypted: the internal listener
// belongs into a network of your own.
//
// # When the owner is away
//
// A request for a session of a node that is dead, silent or unreachable is answered by the own server, which does not know
// the session: so the client hears at once what the protocol says, and comes back with a new one. Everything that is under
// way to a node ends in the moment in which the membership drops it.
package forward
