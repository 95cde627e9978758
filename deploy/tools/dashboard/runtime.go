package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

func runtime() row {
	memory := of("process_resident_memory_bytes").by("max", "instance")
	return row{"Runtime", []cog.Builder[dashboard.Panel]{
		limited(graph(third, "CPU", units.PercentUnit, "Of the processors that Go may use, mean of 5 minutes. The dashed line is that of CPUSaturated.",
			line{of("instance:process_cpu_seconds:ratio_rate5m").String(), "{{instance}}"}), 0.85),
		limited(graph(third, "Scheduler latency p99", units.Seconds, "How long goroutines that could run wait for a processor, mean of 5 minutes. The dashed line is that of SchedulerLatencyHigh.",
			line{of("instance:go_sched_latencies_seconds:p99_rate5m").String(), "{{instance}}"}), 0.05),
		graph(third, "Garbage collection pauses p99", units.Seconds, "Time in which nothing runs.",
			line{of("go_sched_pauses_total_gc_seconds").quantile(0.99, "instance"), "{{instance}}"}),
		graph(third, "Resident memory", units.BytesIEC, "What the system counts. MemoryOverLimit fires above GOMEMLIMIT.",
			line{memory, "{{instance}}"}),
		graph(third, "Heap in use", units.BytesIEC, "Live objects, and garbage that was not collected yet.",
			line{of("go_memstats_heap_alloc_bytes").sum("instance"), "{{instance}}"}),
		graph(third, "Memory per connection", units.BytesIEC, "Resident memory divided by connections. Means little below some thousand connections.",
			line{memory + " / (" + of("instance:chorus_connections:sum").by("max", "instance") + " > 0)", "{{instance}}"}),
		graph(third, "Goroutines", units.Short, "Do not grow with idle connections on Linux.",
			line{of("go_goroutines").sum("instance"), "{{instance}}"}),
		limited(graph(third, "Descriptors in use", units.PercentUnit, "Each connection takes one. The dashed line is that of FileDescriptorsLow.",
			line{of("process_open_fds").by("max", "instance") + " / " + of("process_max_fds").by("max", "instance"), "{{instance}}"}), 0.8),
		graph(third, "Uptime", units.Seconds, "Since the start of the process.",
			line{"time() - " + of("process_start_time_seconds").by("max", "instance"), "{{instance}}"}),
	}}
}
