package promsio

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio"
)

// sink takes metrics. Its methods panic on a wrong number of labels, a mistake of this package that any test
// reveals.
type sink struct {
	ch     chan<- prometheus.Metric
	native bool
}

func (s sink) counter(m *metric, v uint64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(v), labels...)
}

func (s sink) gauge(m *metric, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, v, labels...)
}

// counters sends one counter for each value of the closed list, so that a series exists before it first
// counts; fixed labels come first.
func (s sink) counters(m *metric, list []string, counts map[string]uint64, fixed ...string) {
	for value, n := range fold(list, counts, func(key string) string { return bounded(list, key) }) {
		s.counter(m, n, append(slices.Clip(fixed), value)...)
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

// stats sends what the server counts; that of events may be told apart further.
func (s sink) stats(stats socketio.Stats, by *events) {
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
	s.histogram(packetBytes, stats.MessagesIn, "in")
	s.histogram(packetBytes, stats.PacketsOut, "out")
	s.namespaces(stats, by)
	s.counter(violations, stats.Violations)
	s.counters(limitsExceeded, limits, stats.Limited)
	for event, n := range by.panics(stats.HandlerPanics) {
		s.counter(handlerPanics, n, event)
	}
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
	for _, t := range requestTypes {
		for _, result := range requestResults {
			s.counter(adapterRequests, stats.Requests[socketio.RequestKey{Type: t, Result: result}], t, result)
		}
	}
	s.counters(serverSide, serverSideResults, stats.ServerSide)
	s.counters(adapterIgnored, ignoredReasons, stats.Ignored)
}

func (s sink) transport(t socketio.TransportStats) {
	name := bounded(transports, t.Name)
	s.gauge(connections, float64(t.Open), name)
	s.counter(connectionsOpened, t.Opened, name)
	ended := fold(closeReasons, t.Closed, closeReason)
	for reason, n := range ended {
		s.counter(connectionsClosed, n, name, reason)
	}
	s.counter(slowCloses, ended["slow_consumer"], name)
	s.counter(drained, t.Drained, name)
	s.counters(handshakesDone, handshakes, t.Handshakes, name)
	s.counter(bytesReceived, t.BytesReceived, name)
	s.counter(bytesSent, t.BytesSent, name)
	s.counter(deliveries, t.Deliveries, name)
	s.counter(flushes, t.Flushes, name)
	s.histogram(packetsPerFlush, t.PerFlush, name)
}

// namespaces sends the figures of namespaces, and those of clients that reached none under the name "other".
func (s sink) namespaces(stats socketio.Stats, by *events) {
	attempts, sessions := make(map[string]uint64), int64(0)
	for _, n := range stats.Namespaces {
		s.namespace(n, by)
		for result, count := range n.Recoveries {
			attempts[result] += count
		}
		sessions += n.Sessions
	}
	s.counter(socketConnects, stats.ConnectTimeouts, other, "timeout")
	s.counter(socketConnects, stats.UnknownNamespaces, other, "unknown_namespace")
	s.counters(recoveries, recoveryResults, attempts)
	s.gauge(recoverySessions, float64(sessions))
}

func (s sink) namespace(n socketio.NamespaceStats, by *events) {
	s.gauge(sockets, float64(n.Sockets), n.Name)
	s.gauge(rooms, float64(n.Rooms), n.Name)
	s.counter(roomChanges, n.RoomJoins, n.Name, "join")
	s.counter(roomChanges, n.RoomLeaves, n.Name, "leave")
	for _, result := range joins {
		s.counter(socketConnects, n.Connects[result], n.Name, result)
	}
	for reason, count := range fold(disconnects, n.Disconnects, disconnectReason) {
		s.counter(socketDisconnects, count, n.Name, reason)
	}
	for event, count := range by.received(n.Name, n.EventsReceived) {
		s.counter(eventsReceived, count, n.Name, event)
	}
	s.counters(acks, ackResults, n.Asked, n.Name)

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
	for kind, results := range received {
		for _, result := range results {
			s.counter(redisReceived, a.Received[adapter.ReceivedKey{Kind: kind, Result: result}], kind, result)
		}
	}
	for role, list := range causes {
		for _, cause := range list {
			s.counter(redisReconnects, a.Reconnects[adapter.ReconnectKey{Role: adapter.Role(role), Cause: cause}], role, cause)
		}
	}
	for _, kind := range subscriptions {
		s.gauge(redisSubscriptions, float64(a.Subscriptions[kind]), kind)
	}
	for _, state := range poolStates {
		s.gauge(redisPool, float64(a.Pool[state]), state)
	}
	s.counters(redisDropped, lost, a.Dropped)
	s.gauge(redisMembers, float64(a.Members))
	s.counter(redisStrangers, a.Strangers)
	s.counters(redisRequests, outcomes, a.Requests)
	if a.Streams != nil {
		s.counters(redisGaps, gaps, a.Gaps)
		s.gauge(streamLag, float64(a.Streams.Lag))
		s.counter(streamTrimmed, a.Streams.Trimmed)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
