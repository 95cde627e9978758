package promsio

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio"
)

// statsDescs are all metrics that are read from socketio.Stats.
var statsDescs []*prometheus.Desc

func describe(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	statsDescs = append(statsDescs, d)
	return d
}

var (
	connections       = describe("connections", "Open connections by their present transport.", "transport")
	netloopInfo       = describe("netloop_info", "1 for the form in which plain TCP connections are served.", "form")
	netloopConns      = describe("netloop_connections", "WebSocket connections by how they are read and written: fast (a few goroutines for all) or portable (one each).", "form")
	connectionsOpened = describe("connections_opened_total", "Connections by their first transport.", "transport")
	connectionsClosed = describe("connections_closed_total", "Closed connections by their last transport and what ended them.", "transport", "reason")
	handshakesDone    = describe("handshakes_total", "Answered handshakes.", "transport", "result")
	requestsRejected  = describe("engine_requests_rejected_total", "Requests of a session that were refused.", "reason")
	transportUpgrades = describe("transport_upgrades_total", "Changes of transport.", "from", "to", "result")
	bytesReceived     = describe("bytes_received_total", "Bytes of messages received from clients.", "transport")
	bytesSent         = describe("bytes_sent_total", "Bytes sent to clients.", "transport")
	deliveries        = describe("deliveries_total", "Packets written to clients.", "transport")
	flushes           = describe("flushes_total", "Writes that carried packets to clients.", "transport")
	slowCloses        = describe("slow_consumer_closes_total", "Connections closed because their queue was full.", "transport")
	messagesDropped   = describe("messages_dropped_total", "Packets that were not sent to a client.", "reason")
	queueMessages     = describe("write_queue_messages", "Packets that wait to be written, over all connections.")
	queueBytes        = describe("write_queue_bytes", "Bytes that wait to be written, over all connections.")

	sockets           = describe("sockets", "Connected sockets.", "namespace")
	rooms             = describe("rooms", "Rooms that have a member on this node.", "namespace")
	roomChanges       = describe("room_changes_total", "Sockets that joined or left a room.", "namespace", "op")
	socketConnects    = describe("socket_connects_total", "Answered requests to join a namespace.", "namespace", "result")
	socketDisconnects = describe("socket_disconnects_total", "Sockets that left their namespace.", "namespace", "reason")
	eventsReceived    = describe("events_received_total", "Events received from clients.", "namespace", "event")
	eventsSent        = describe("events_sent_total", "Events that this node emitted: to one socket, as a broadcast, or as an acknowledgement.", "namespace", "kind")
	broadcasts        = describe("broadcasts_total", "Broadcasts delivered on this node, by the node they come from.", "namespace", "origin", "scope")

	recoveries       = describe("recoveries_total", "Attempts to recover a session; expired counts sessions that no client came back to, unsaved those that the adapter could not keep.", "result")
	recoverySessions = describe("recovery_sessions", "Sessions that are kept for clients that may come back.")
	violations       = describe("protocol_violations_total", "Connections closed because their client broke the Socket.IO protocol.")

	limitsExceeded = describe("limits_exceeded_total", "How often a limit held something back: connections (handshakes refused), events (connections made to wait), rooms (joins refused).", "limit")

	handlerPanics = describe("handler_panics_total", "Handlers that panicked; each ended its socket.", "event")
	draining      = describe("draining", "1 while the node refuses new connections.")

	clusterNodes    = describe("cluster_nodes", "Nodes that this one believes in, itself included.")
	adapterRequests = describe("adapter_requests_total", "Requests to the other nodes.", "type", "result")
	serverSide      = describe("server_side_events_total", "Events of other servers, by what became of them.", "result")
	adapterIgnored  = describe("adapter_messages_ignored_total", "Other messages of other nodes that were not served.", "reason")

	redisUp            = describe("redis_up", "Whether the connection to Redis works.", "role")
	redisPublished     = describe("redis_published_total", "Messages published.", "channel_kind")
	redisErrors        = describe("redis_publish_errors_total", "Messages whose publishing failed.", "kind")
	redisQueue         = describe("redis_publish_queue", "Messages that wait to be published.")
	redisReceived      = describe("redis_received_total", "Messages heard.", "channel_kind", "result")
	redisReconnects    = describe("redis_reconnects_total", "Connections made anew.", "role", "cause")
	redisSubscriptions = describe("redis_subscriptions", "Channels that the node listens to.", "kind")
	redisDropped       = describe("redis_messages_dropped_total", "Messages of the cluster lost on this node.", "reason")
	redisGaps          = describe("redis_stream_gaps_total", "Times in which entries of a stream may have been missed, because it was trimmed or replaced.", "cause")
	redisMembers       = describe("redis_members", "Other nodes of the cluster that are alive and tell their name.")
	redisStrangers     = describe("redis_strangers_total", "Nodes on the same Redis that are configured differently.")
	redisRequests      = describe("redis_requests_total", "Requests to the other nodes.", "outcome")
)

// sink takes metrics. Its methods panic on a wrong number of labels, a mistake of this package that any test
// reveals.
type sink chan<- prometheus.Metric

func (s sink) counter(d *prometheus.Desc, v uint64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// counters sends one counter for each value of the closed list, so that a series exists before it first
// counts; fixed labels come first.
func (s sink) counters(d *prometheus.Desc, list []string, counts map[string]uint64, fixed ...string) {
	for value, n := range fold(list, counts, func(key string) string { return bounded(list, key) }) {
		s.counter(d, n, append(slices.Clip(fixed), value)...)
	}
}

// fold sums counts under the label of their key. Every value of the list is in the result.
func fold[K comparable](list []string, counts map[K]uint64, label func(K) string) map[string]uint64 {
	sums := make(map[string]uint64, len(list)+1)
	for _, value := range list {
		sums[value] = 0
	}
	for key, n := range counts {
		sums[label(key)] += n
	}
	return sums
}

func collectStats(ch chan<- prometheus.Metric, stats socketio.Stats) {
	s := sink(ch)
	for _, t := range stats.Transports {
		s.transport(t)
	}
	for _, form := range netloopForms {
		s.gauge(netloopInfo, truth(form == stats.NetLoopForm), form)
	}
	for _, form := range netloops {
		s.gauge(netloopConns, float64(stats.NetLoop[form]), form)
	}
	for result, n := range fold(upgrades, stats.Upgrades, func(key string) string { return bounded(upgrades, key) }) {
		s.counter(transportUpgrades, n, "polling", "websocket", result)
	}
	s.counters(requestsRejected, rejections, stats.Rejected)
	s.counters(messagesDropped, drops, stats.Dropped)
	s.gauge(queueMessages, float64(stats.QueueMessages))
	s.gauge(queueBytes, float64(stats.QueueBytes))
	s.namespaces(stats)
	s.counter(violations, stats.Violations)
	s.counters(limitsExceeded, limits, stats.Limited)
	s.counter(handlerPanics, stats.HandlerPanics, other)
	s.gauge(draining, truth(stats.Draining))
	s.cluster(stats)
	if stats.Adapter != nil {
		s.adapter(stats.Adapter)
	}
}

// cluster sends what nodes ask of each other. A node that does not know the others does not say how many there are.
func (s sink) cluster(stats socketio.Stats) {
	if stats.Nodes > 0 {
		s.gauge(clusterNodes, float64(stats.Nodes))
	}
	counts := make(map[[2]string]uint64)
	for key, n := range stats.Requests {
		counts[[2]string{bounded(requestTypes, key.Type), bounded(requestResults, key.Result)}] += n
	}
	for _, t := range requestTypes {
		for _, result := range requestResults {
			s.counter(adapterRequests, counts[[2]string{t, result}], t, result)
		}
	}
	s.counters(serverSide, serverSideResults, stats.ServerSide)
	s.counters(adapterIgnored, ignoredReasons, stats.Ignored)
}

func (s sink) transport(t socketio.TransportStats) {
	name := bounded(transports, t.Name)
	s.gauge(connections, float64(t.Open), name)
	s.counter(connectionsOpened, t.Opened, name)
	closed := fold(closeReasons, t.Closed, closeReason)
	for reason, n := range closed {
		s.counter(connectionsClosed, n, name, reason)
	}
	s.counter(slowCloses, closed["slow_consumer"], name)
	s.counters(handshakesDone, handshakes, t.Handshakes, name)
	s.counter(bytesReceived, t.BytesReceived, name)
	s.counter(bytesSent, t.BytesSent, name)
	s.counter(deliveries, t.Deliveries, name)
	s.counter(flushes, t.Flushes, name)
}

// namespaces sends the figures of namespaces, and those of clients that reached none under the name "other".
func (s sink) namespaces(stats socketio.Stats) {
	nowhere := map[string]uint64{"timeout": stats.ConnectTimeouts, "unknown_namespace": stats.UnknownNamespaces}
	attempts, sessions, others := make(map[string]uint64), int64(0), false
	for _, n := range stats.Namespaces {
		if n.Name == other {
			others = true
			n.Connects = maps.Clone(n.Connects)
			maps.Copy(n.Connects, nowhere)
		}
		s.namespace(n)
		for result, count := range n.Recoveries {
			attempts[result] += count
		}
		sessions += n.Sessions
	}
	if !others {
		s.counters(socketConnects, connects, nowhere, other)
	}
	s.counters(recoveries, recoveryResults, attempts)
	s.gauge(recoverySessions, float64(sessions))
}

func (s sink) namespace(n socketio.NamespaceStats) {
	s.gauge(sockets, float64(n.Sockets), n.Name)
	s.gauge(rooms, float64(n.Rooms), n.Name)
	s.counter(roomChanges, n.RoomJoins, n.Name, "join")
	s.counter(roomChanges, n.RoomLeaves, n.Name, "leave")
	s.counters(socketConnects, connects, n.Connects, n.Name)
	for reason, count := range fold(disconnects, n.Disconnects, disconnectReason) {
		s.counter(socketDisconnects, count, n.Name, reason)
	}
	s.counter(eventsReceived, n.EventsReceived, n.Name, other)

	var emitted uint64
	for _, origin := range origins {
		for _, scope := range scopes {
			count := n.Broadcasts[socketio.BroadcastKey{Origin: origin, Scope: scope}]
			s.counter(broadcasts, count, n.Name, origin, scope)
			if origin == "local" {
				emitted += count
			}
		}
	}
	s.counter(eventsSent, n.Emits, n.Name, "emit")
	s.counter(eventsSent, emitted, n.Name, "broadcast")
	s.counter(eventsSent, n.Acks, n.Name, "ack")
}

func (s sink) adapter(a *adapter.Stats) {
	for _, role := range roles {
		s.gauge(redisUp, truth(a.Up[adapter.Role(role)]), role)
	}
	s.counters(redisPublished, channelKinds, a.Published)
	s.counters(redisErrors, publishErrors, a.PublishErrors)
	s.gauge(redisQueue, float64(a.PublishQueue))
	for _, kind := range channelKinds {
		for _, result := range receiveResults {
			s.counter(redisReceived, a.Received[adapter.ReceivedKey{Kind: kind, Result: result}], kind, result)
		}
	}
	for _, role := range roles {
		for _, cause := range causes {
			s.counter(redisReconnects, a.Reconnects[adapter.ReconnectKey{Role: adapter.Role(role), Cause: cause}], role, cause)
		}
	}
	for _, kind := range subscriptions {
		s.gauge(redisSubscriptions, float64(a.Subscriptions[kind]), kind)
	}
	s.counters(redisDropped, drops, a.Dropped)
	s.counters(redisGaps, gaps, a.Gaps)
	s.gauge(redisMembers, float64(a.Members))
	s.counter(redisStrangers, a.Strangers)
	s.counters(redisRequests, outcomes, a.Requests)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
