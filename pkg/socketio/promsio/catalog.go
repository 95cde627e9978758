package promsio

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Metric describes one that is exported.
type Metric struct {
	Name, Help string
	Type       string // counter, gauge or histogram
	Labels     []Label
	Buckets    []float64 // upper bounds of the classic ones of a histogram
	// Series is how many there can be, a histogram being one whatever its buckets; of those by event as many as without
	// Options.Events.
	Series int
}

// Label is a label and the closed list of its values.
type Label struct {
	Name string
	// Values are all, but for namespace and event, whose other values are names that the application gives.
	Values []string
	Most   int // values at most
}

// Metrics returns what a Collector, and that of NewForwarder, export, by name.
func Metrics() []Metric {
	list := make([]Metric, len(catalog))
	for i, m := range catalog {
		list[i] = m.Metric
		list[i].Labels, list[i].Buckets = slices.Clone(m.Labels), slices.Clone(m.Buckets)
	}
	slices.SortFunc(list, func(a, b Metric) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// metric is one of the catalog.
type metric struct {
	Metric
	desc      *prometheus.Desc
	observed  bool // by a Trace, else read from the statistics
	forwarder bool // of NewForwarder
}

// catalog has all metrics of this package. It is complete when the package is initialised.
var catalog []*metric

func define(kind, name, help string, labels ...Label) *metric {
	m := &metric{Metric: Metric{
		Name: prometheus.BuildFQName(namespace, "", name), Help: help, Type: kind, Labels: labels, Series: 1,
	}}
	names := make([]string, len(labels))
	for i, l := range labels {
		names[i] = l.Name
		if l.Name != byEvent.Name {
			m.Series *= l.Most
		}
	}
	m.desc = prometheus.NewDesc(m.Name, help, names, nil)
	catalog = append(catalog, m)
	return m
}

func counter(name, help string, labels ...Label) *metric {
	return define("counter", name, help, labels...)
}

func gauge(name, help string, labels ...Label) *metric {
	return define("gauge", name, help, labels...)
}

func closed(name string, values []string) Label { return Label{name, values, len(values)} }

// most is for metrics in which not every value of a label occurs with every value of another one.
func (m *metric) most(series int) *metric {
	m.Series = series
	return m
}

func total(lists map[string][]string) (n int) {
	for _, list := range lists {
		n += len(list)
	}
	return n
}

const maxNamespaces = 32 // as socketio.Stats: 31 by name and the others

var (
	byTransport = closed("transport", transports)
	byOrigin    = closed("origin", origins)
	byNamespace = Label{"namespace", []string{other}, maxNamespaces}
	byEvent     = Label{"event", []string{other}, MaxEvents + 1}
	byRole      = closed("role", roles)
)

// What is read from socketio.Stats.
var (
	connections       = gauge("connections", "Open connections by their present transport.", byTransport)
	connectionsOpened = counter("connections_opened_total", "Connections by their first transport.", byTransport)
	connectionsClosed = counter("connections_closed_total", "Closed connections by their last transport and what ended them; limit is a handler that did not keep up.", byTransport, closed("reason", closeReasons))
	drained           = counter("drained_connections_total", "Connections closed because the node went away.", byTransport)
	slowCloses        = counter("slow_consumer_closes_total", "Connections closed because their queue was full.", byTransport)
	violations        = counter("protocol_violations_total", "Connections closed because their client broke the Socket.IO protocol.")
	netloopInfo       = gauge("netloop_info", "1 for the form in which plain TCP connections are served.", closed("form", netloopForms))
	netloopConns      = gauge("netloop_connections", "WebSocket connections by how they are read and written: fast (a few goroutines for all) or portable (one each).", closed("form", netloops))
	handshakesDone    = counter("handshakes_total", "Answered handshakes; cors is an origin that may not connect.", byTransport, closed("result", handshakes))
	requestsRejected  = counter("engine_requests_rejected_total", "Requests of a session that were refused; wrong_node has the tag of another node.", closed("reason", rejections))
	transportUpgrades = counter("transport_upgrades_total", "Changes of transport.", closed("from", []string{"polling"}), closed("to", []string{"websocket"}), closed("result", upgrades))

	bytesReceived   = counter("bytes_received_total", "Bytes of messages received from clients.", byTransport)
	bytesSent       = counter("bytes_sent_total", "Bytes sent to clients.", byTransport)
	deliveries      = counter("deliveries_total", "Packets written to clients.", byTransport)
	flushes         = counter("flushes_total", "Writes that carried packets to clients.", byTransport)
	messagesDropped = counter("messages_dropped_total", "Packets that were not sent to a client, and too_large messages that were not taken from one.", closed("reason", drops))
	queueMessages   = gauge("write_queue_messages", "Packets that wait to be written, over all connections.")
	queueBytes      = gauge("write_queue_bytes", "Bytes that wait to be written, over all connections.")

	sockets           = gauge("sockets", "Connected sockets.", byNamespace)
	rooms             = gauge("rooms", "Rooms that have a member on this node.", byNamespace)
	roomChanges       = counter("room_changes_total", "Sockets that joined or left a room.", byNamespace, closed("op", operations))
	socketConnects    = counter("socket_connects_total", "Answered requests to join a namespace. Those that reached none, timeout and unknown_namespace, count as other.", byNamespace, closed("result", connects)).most(maxNamespaces*len(joins) + len(connects) - len(joins))
	socketDisconnects = counter("socket_disconnects_total", "Sockets that left their namespace; forced_close is everything that was the server's own accord.", byNamespace, closed("reason", disconnects))
	eventsReceived    = counter("events_received_total", "Events received from clients.", byNamespace, byEvent)
	eventsSent        = counter("events_sent_total", "Events that this node emitted: to one socket, as a broadcast, or as an acknowledgement.", byNamespace, closed("kind", kinds))
	acks              = counter("acks_total", "Acknowledgements that clients of this node were asked for, by what became of them.", byNamespace, closed("result", ackResults))
	broadcasts        = counter("broadcasts_total", "Broadcasts delivered on this node, by the node they come from.", byNamespace, byOrigin, closed("scope", scopes))
	limitsExceeded    = counter("limits_exceeded_total", "How often a limit held something back: connections (handshakes refused), events (connections made to wait), rooms (joins refused).", closed("limit", limits))
	handlerPanics     = counter("handler_panics_total", "Handlers that panicked; each ended its socket. Other functions of the application count as other.", byEvent)

	recoveries       = counter("recoveries_total", "Attempts to recover a session; expired counts sessions that no client came back to, unsaved those that the adapter could not keep.", closed("result", recoveryResults))
	recoverySessions = gauge("recovery_sessions", "Sessions that are kept for clients that may come back.")
	draining         = gauge("draining", "1 while the node refuses new connections.")

	clusterNodes    = gauge("cluster_nodes", "Nodes that this one believes in, itself included.")
	adapterRequests = counter("adapter_requests_total", "Requests to the other nodes.", closed("type", requestTypes), closed("result", requestResults))
	serverSide      = counter("server_side_events_total", "Events of other servers, by what became of them.", closed("result", serverSideResults))
	adapterIgnored  = counter("adapter_messages_ignored_total", "Other messages of other nodes that were not served.", closed("reason", ignoredReasons))

	redisUp            = gauge("redis_up", "Whether the connection to Redis works.", byRole)
	redisPublished     = counter("redis_published_total", "Messages published.", closed("channel_kind", channelKinds))
	redisErrors        = counter("redis_publish_errors_total", "Messages whose publishing failed.", closed("kind", publishErrors))
	redisQueue         = gauge("redis_publish_queue", "Messages that wait to be published.")
	redisReceived      = counter("redis_received_total", "Messages heard.", closed("channel_kind", channelKinds), closed("result", received["stream"])).most(total(received))
	redisReconnects    = counter("redis_reconnects_total", "Connections made anew.", byRole, closed("cause", causes["subscribe"])).most(total(causes))
	redisSubscriptions = gauge("redis_subscriptions", "Channels that the node listens to.", closed("kind", subscriptions))
	redisPool          = gauge("redis_pool_connections", "Connections to Redis for all but listening; stale ones are those that were closed since the start.", closed("state", poolStates))
	redisDropped       = counter("redis_messages_dropped_total", "Messages of the cluster lost on this node.", closed("reason", lost))
	redisMembers       = gauge("redis_members", "Other nodes of the cluster that are alive and tell their name.")
	redisStrangers     = counter("redis_strangers_total", "Nodes on the same Redis that are configured differently.")
	redisRequests      = counter("redis_requests_total", "Requests to the other nodes.", closed("outcome", outcomes))

	redisGaps     = counter("redis_stream_gaps_total", "Times in which entries of a stream may have been missed, because it was trimmed or replaced.", closed("cause", gaps))
	streamLag     = gauge("stream_lag_messages", "Entries of streams that this node has not read, as of the last seconds. Needs Redis 7; adapter redis-streams only.")
	streamTrimmed = counter("stream_trimmed_total", "Entries of streams that were gone before this node read them. Needs Redis 7; adapter redis-streams only.")
)
