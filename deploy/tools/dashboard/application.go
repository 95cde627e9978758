package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

func application() row {
	return row{"Application", []cog.Builder[dashboard.Panel]{
		graph(third, "Events from clients, by name", units.EventsPerSecond, "Names that metrics.event_names lists; the rest are other.",
			line{of("chorus_events_received_total", inNamespace).rate("event"), "{{event}}"}),
		graph(third, "Events to clients, by kind", units.EventsPerSecond, "Emits to one socket, broadcasts begun here, and acknowledgements.",
			line{of("chorus_events_sent_total", inNamespace).rate("kind"), "{{kind}}"}),
		graph(third, "Handler time p99, by name", units.Seconds, "While a handler runs, the events of the same socket wait.",
			line{of("chorus_handler_seconds").quantile(0.99, "event"), "{{event}}"}),
		graph(third, "Panics, by name", units.CountsPerSecond, "Each ends the socket whose event it was; the log has the stack.",
			line{of("chorus_handler_panics_total").rate("event"), "{{event}}"}),
		graph(third, "Acknowledgements, by result", units.CountsPerSecond, "Of events sent with one. timeout: the client had it and did not answer; disconnected: it went away.",
			line{of("chorus_acks_total", inNamespace).rate("result"), "{{result}}"}),
		graph(third, "Time until the acknowledgement", units.Seconds, "The client's network and its handler.",
			quantiles(of("chorus_ack_seconds", inNamespace), "")...),
		graph(third, "Connects to namespaces, by result", units.CountsPerSecond, "middleware: the application said no.",
			line{of("chorus_socket_connects_total", inNamespace).rate("result"), "{{result}}"}),
		graph(third, "Disconnects, by reason", units.CountsPerSecond, "As handlers see it.",
			line{of("chorus_socket_disconnects_total", inNamespace).rate("reason"), "{{reason}}"}),
		graph(third, "Rooms", units.Short, "That have a member on the node.",
			line{of("chorus_rooms", inNamespace).sum("instance"), "{{instance}}"}),
	}}
}
