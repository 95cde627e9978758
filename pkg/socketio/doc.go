// Package socketio is a Socket.IO server (protocol 5 over Engine.IO 4) whose broadcasts reach the clients of every
// node of a cluster.
//
// A Server is an http.Handler:
//
//	server, err := socketio.NewServer(nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	server.On("chat message", func(ctx context.Context, s *socketio.Socket, args socketio.Args) error {
//		return server.Emit(ctx, "chat message", args) // to everyone, not decoded
//	})
//	http.Handle("/socket.io/", server)
//	log.Fatal(http.ListenAndServe(":3000", nil))
//
// # Events
//
// An event has a name and arguments. On and Args are the dynamic form, in which nothing is decoded that nobody asks
// for; Event and Call are the typed form on top of it. Handlers are registered once per namespace, not once per
// socket.
//
// # Concurrency
//
// Everything may be used from any goroutine. The handlers of one socket run one at a time, in the order in which its
// client sent; those of different sockets run at the same time. A handler may wait, for an acknowledgement of its own
// client too. While it does, up to 64 events or 1 MiB of that client are kept; then the connection is not read any
// further, and after Options.InboxTimeout it is closed with the reason SlowHandler.
//
// # Cluster
//
// With an adapter the server is a node of a cluster. A Broadcast reaches the clients of every node, and so do its
// Sockets, Count, Join, Leave, Disconnect and EmitWithAck. ServerSideEmit speaks to the other servers. What came is always
// returned, with an error that names the nodes that did not answer: *adapter.SilentNodesError.
//
// # Delivery
//
// What one goroutine emits arrives in that order. All members of a room on one node see its broadcasts in one order.
// What a client does not take is bounded by Options.QueueBytes and QueueMessages; beyond them the connection is closed
// with the reason SlowConsumer, or the broadcast dropped, as Options.QueuePolicy says. Nothing is dropped uncounted:
// see Stats.
package socketio
