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
	rejections        = []string{"unknown_sid", "wrong_node", "bad_method", "too_large", "overlap"}
	upgrades          = []string{"ok", "timeout", "probe_failed", "closed"}
	connects          = []string{"ok", "middleware", "timeout", "unknown_namespace"}
	requestTypes      = []string{"fetch", "count", "join", "leave", "disconnect", "serverside_emit", "broadcast_ack", other}
	requestResults    = []string{"ok", "partial", "timeout", "error", other}
	recoveryResults   = []string{"ok", "expired", "unknown", "too_many", "no_offset", "unavailable", "late", "unsaved"}
	serverSideResults = []string{"handled", "failed", "no_handler", "queue_full"}
	ignoredReasons    = []string{"queue_full", "unknown_kind", "malformed"}
	limits            = []string{"connections", "events", "rooms"}
	scopes            = []string{"all", "rooms", "except"}
	drops             = []string{"volatile", "queue_full", "closed", "too_large"}
	roles             = []string{"publish", "subscribe"}
	causes            = []string{"closed", "watchdog", "deaf", "moved", "failover"}
	channelKinds      = []string{"broadcast", "room", "request", "response", "stream", "membership", "session"}
	publishErrors     = []string{"timeout", "refused", "moved", "oom", "readonly", "auth", other}
	receiveResults    = []string{"delivered", "own", "no_match", "malformed", "repeated"}
	gaps              = []string{"trimmed", "reset"}
	outcomes          = []string{"complete", "incomplete", "failed"}
	subscriptions     = []string{"channel", "pattern", "sharded"}
)

// disconnects are the reasons of the Socket.IO protocol, and those of our own limits, as labels.
var disconnects = []string{
	"transport_error", "transport_close", "forced_close", "forced_server_close", "ping_timeout", "parse_error", "server_shutting_down",
	"client_namespace_disconnect", "server_namespace_disconnect", "slow_consumer", "slow_handler",
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

// disconnectReason is the reason that handlers see, as a label.
func disconnectReason(r socketio.Reason) string {
	return bounded(disconnects, strings.ReplaceAll(string(r), " ", "_"))
}
