package promsio

import (
	"slices"
	"strings"

	"example.com/chorus/pkg/socketio"
)

// other is the label of what is in no closed list.
const other = "other"

// The closed lists of label values.
var (
	netloopForms      = []string{"epoll+io_submit", "epoll", "portable"}
	netloops          = []string{"fast", "portable"}
	transports        = []string{"polling", "websocket"}
	origins           = []string{"local", "remote"}
	closeReasons      = []string{"client", "server", "ping_timeout", "transport_error", "parse_error", "slow_consumer", "drain", "limit"}
	handshakes        = []string{"ok", "bad_request", "unknown_transport", "forbidden", "limit", "draining", "cors"}
	rejections        = []string{"unknown_sid", "wrong_node", "bad_method", "mismatch", "too_large", "overlap"}
	upgrades          = []string{"ok", "timeout", "probe_failed", "closed"}
	joins             = []string{"ok", "middleware"}
	connects          = []string{"ok", "middleware", "timeout", "unknown_namespace"}
	ackResults        = []string{"ok", "timeout", "disconnected"}
	requestTypes      = []string{"fetch", "count", "join", "leave", "disconnect", "serverside_emit", "broadcast_ack"}
	requestResults    = []string{"ok", "partial", "timeout", "error"}
	recoveryResults   = []string{"ok", "expired", "unknown", "too_many", "no_offset", "unavailable", "late", "unsaved"}
	serverSideResults = []string{"handled", "failed", "no_handler", "queue_full"}
	ignoredReasons    = []string{"queue_full", "unknown_kind", "malformed"}
	limits            = []string{"connections", "events", "rooms"}
	scopes            = []string{"all", "rooms", "except"}
	kinds             = []string{"emit", "broadcast", "ack"}
	operations        = []string{"join", "leave"}
	directions        = []string{"in", "out"}
	drops             = []string{"volatile", "queue_full", "closed", "too_large"}
	roles             = []string{"publish", "subscribe"}
	channelKinds      = []string{"broadcast", "room", "request", "response", "stream", "membership", "session"}
	publishErrors     = []string{"timeout", "refused", "moved", "oom", "readonly", "auth", other}
	gaps              = []string{"trimmed", "reset"}
	outcomes          = []string{"complete", "incomplete", "failed"}
	subscriptions     = []string{"channel", "pattern", "sharded"}
	poolStates        = []string{"idle", "used", "stale"}
	lost              = []string{"queue_full"}
)

// causes are why a connection to Redis was made anew, by its role: the one that publishes is not probed by itself.
var causes = map[string][]string{
	"publish":   {"closed", "failover"},
	"subscribe": {"closed", "watchdog", "deaf", "moved", "failover"},
}

// received are what can become of messages, by the kind of their channel. Only entries of streams are read again, and
// sessions are read by who asks for them.
var received = map[string][]string{
	"broadcast": heardResults, "room": heardResults, "request": heardResults, "response": heardResults, "membership": heardResults,
	"stream": append([]string{"repeated"}, heardResults...),
}

var heardResults = []string{"delivered", "own", "no_match", "malformed"}

// disconnects are the reasons of the Socket.IO protocol as labels, and our own for clients that do not keep up.
var disconnects = []string{
	"transport_error", "transport_close", "forced_close", "ping_timeout", "parse_error", "server_shutting_down",
	"client_namespace_disconnect", "server_namespace_disconnect", "slow_consumer",
}

// bounded returns value if the list has it, else other.
func bounded(list []string, value string) string {
	if slices.Contains(list, value) {
		return value
	}
	return other
}

// closeReason maps why a connection ended to who or what ended it.
func closeReason(r socketio.Reason) string {
	switch r {
	case socketio.TransportClose, socketio.ClientNamespaceDisconnect:
		return "client"
	case socketio.ForcedClose, socketio.ForcedServerClose, socketio.ServerNamespaceDisconnect:
		return "server"
	case socketio.PingTimeout:
		return "ping_timeout"
	case socketio.TransportError:
		return "transport_error"
	case socketio.ParseError:
		return "parse_error"
	case socketio.SlowConsumer:
		return "slow_consumer"
	case socketio.ServerShutdown:
		return "drain"
	case socketio.SlowHandler:
		return "limit"
	}
	return other
}

// disconnectReason is the reason that handlers see, as a label. All of the server's own accord are one.
func disconnectReason(r socketio.Reason) string {
	switch r {
	case socketio.ForcedServerClose, socketio.SlowHandler:
		r = socketio.ForcedClose
	}
	return bounded(disconnects, strings.ReplaceAll(string(r), " ", "_"))
}
