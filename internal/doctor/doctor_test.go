package doctor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"
	"testing/fstest"
)

// machine has the defaults of a Debian kernel.
func machine(changes map[string]string) fstest.MapFS {
	files := map[string]string{
		"fs.nr_open": "1048576", "fs.file-max": "9223372036854775807", "net.core.somaxconn": "4096",
		"net.ipv4.tcp_max_syn_backlog": "4096", "net.core.netdev_max_backlog": "1000",
		"net.ipv4.tcp_rmem": "4096\t131072\t6291456", "net.ipv4.tcp_wmem": "4096\t16384\t4194304", "net.ipv4.tcp_mem": "187644\t250194\t375288",
		"net.ipv4.tcp_keepalive_time": "7200", "net.ipv4.tcp_keepalive_intvl": "75", "net.ipv4.tcp_keepalive_probes": "9",
		"net.ipv4.tcp_slow_start_after_idle": "1", "vm.swappiness": "60", "vm.overcommit_memory": "0",
		"net.ipv4.tcp_tw_reuse": "2", "net.ipv4.tcp_fin_timeout": "60", "net.ipv4.ip_local_port_range": "32768\t60999",
	}
	maps.Copy(files, changes)
	root := fstest.MapFS{}
	for name, value := range files {
		root["proc/sys/"+strings.ReplaceAll(name, ".", "/")] = &fstest.MapFile{Data: []byte(value + "\n")}
	}
	return root
}

func find(t *testing.T, checks []Check, name string) Check {
	t.Helper()
	for _, c := range checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %s", name)
	return Check{}
}

func TestKernel(t *testing.T) {
	for _, tt := range []struct {
		name        string
		connections int
		changes     map[string]string
		check       string
		want        Status
		remedy      string
	}{
		{"few", 10_000, nil, "fs.nr_open", OK, ""},
		{"few", 10_000, nil, "net.core.somaxconn", OK, ""},
		{"few", 10_000, nil, "net.ipv4.ip_local_port_range", OK, ""},
		{"keepalive", 10_000, nil, "net.ipv4.tcp_keepalive_time", Warn, "sysctl -w net.ipv4.tcp_keepalive_time='300'"},
		{"the kernel's largest number", 10_000, map[string]string{"fs.file-max": "18446744073709551615"}, "fs.file-max", OK, ""},
		{"many", 1_000_000, nil, "fs.nr_open", Warn, "sysctl -w fs.nr_open='2097152'"},
		{"too many", 2_000_000, nil, "fs.nr_open", Fail, "sysctl -w fs.nr_open='4194304'"},
		{"many", 1_000_000, map[string]string{"fs.file-max": "100000"}, "fs.file-max", Fail, "sysctl -w fs.file-max='4194304'"},
		{"many", 1_000_000, nil, "net.core.somaxconn", Warn, "sysctl -w net.core.somaxconn='65535'"},
		{"many", 1_000_000, nil, "net.ipv4.tcp_mem", Warn, "sysctl -w net.ipv4.tcp_mem='1000000 1500000 2000000'"},
		{"ports", 50_000, nil, "net.ipv4.ip_local_port_range", Warn, "sysctl -w net.ipv4.ip_local_port_range='1024 65535'"},
		{"more than there are ports", 100_000, nil, "net.ipv4.ip_local_port_range", Warn, "--addr"},
		{"small buffers", 10, map[string]string{"net.ipv4.tcp_rmem": "4096 4096 65536"}, "net.ipv4.tcp_rmem", Warn, "'4096 4096 4194304'"},
		{"no tracking", 10, nil, "net.netfilter.nf_conntrack_max", OK, ""},
		{"small table", 10_000, map[string]string{"net.netfilter.nf_conntrack_max": "15000"}, "net.netfilter.nf_conntrack_max", Warn, "'32768'"},
		{"full table", 10_000, map[string]string{"net.netfilter.nf_conntrack_max": "9000"}, "net.netfilter.nf_conntrack_max", Fail, "'32768'"},
		{"nonsense", 10, map[string]string{"vm.swappiness": "much"}, "vm.swappiness", Unknown, ""},
		{"empty", 10, map[string]string{"vm.swappiness": ""}, "vm.swappiness", Unknown, ""},
	} {
		t.Run(fmt.Sprint(tt.name, " ", tt.connections, " ", tt.check), func(t *testing.T) {
			c := find(t, Kernel(machine(tt.changes), tt.connections), tt.check)
			if c.Status != tt.want || !strings.Contains(c.Remedy, tt.remedy) || (c.Remedy == "") != (tt.remedy == "") {
				t.Errorf("%+v, want %s and %q", c, tt.want, tt.remedy)
			}
		})
	}
}

// What the remedies set is what is wanted.
func TestRemediesHelp(t *testing.T) {
	const connections = 1_000_000
	changes := make(map[string]string)
	for _, c := range append(Kernel(machine(nil), connections), Overcommit(machine(nil))) {
		command, _, _ := strings.Cut(c.Remedy, ";")
		if name, value, ok := strings.Cut(strings.TrimPrefix(command, "sysctl -w "), "="); ok {
			changes[name] = strings.Trim(value, "'")
		}
	}
	if len(changes) < 10 {
		t.Fatalf("only %d remedies for a million connections", len(changes))
	}
	healed := machine(changes)
	for _, c := range append(Kernel(healed, connections), Overcommit(healed)) {
		if c.Status != OK && c.Name != "net.ipv4.ip_local_port_range" { // which has no more ports to give
			t.Errorf("after its remedy: %+v", c)
		}
	}
}

func TestOnAnotherSystem(t *testing.T) {
	for _, c := range Kernel(fstest.MapFS{}, 1000) {
		if c.Status != Unknown && !strings.HasPrefix(c.Name, "net.netfilter") {
			t.Errorf("without /proc: %+v", c)
		}
	}
}

func TestDescriptors(t *testing.T) {
	for _, tt := range []struct {
		limit uint64
		known bool
		want  Status
	}{{1 << 20, true, OK}, {11_000, true, OK}, {10_900, true, Warn}, {10_000, true, Fail}, {0, false, Unknown}} {
		if c := Descriptors(tt.limit, tt.known, 10_000); c.Status != tt.want || (c.Remedy == "") != (tt.want == OK || tt.want == Unknown) {
			t.Errorf("%d: %+v, want %s", tt.limit, c, tt.want)
		}
	}
	if limit, ok := OpenFiles(); !ok || limit == 0 {
		t.Errorf("OpenFiles = %d, %t", limit, ok)
	}
}

func TestMemory(t *testing.T) {
	cgroup := func(file, text string) fstest.MapFS { return fstest.MapFS{file: {Data: []byte(text + "\n")}} }
	for _, tt := range []struct {
		name  string
		root  fstest.MapFS
		limit int64
		want  Status
	}{
		{"no container", fstest.MapFS{}, math.MaxInt64, OK},
		{"no limit", cgroup("sys/fs/cgroup/memory.max", "max"), math.MaxInt64, OK},
		{"not told", cgroup("sys/fs/cgroup/memory.max", "1000000000"), math.MaxInt64, Warn},
		{"told", cgroup("sys/fs/cgroup/memory.max", "1000000000"), 900_000_000, OK},
		{"version 1", cgroup("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000000"), math.MaxInt64, Warn},
		{"no limit in version 1", cgroup("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712"), math.MaxInt64, OK},
	} {
		if c := Memory(tt.root, tt.limit); c.Status != tt.want || (tt.want == Warn && c.Remedy != "GOMEMLIMIT=900000000") {
			t.Errorf("%s: %+v, want %s", tt.name, c, tt.want)
		}
	}
}

func TestReports(t *testing.T) {
	checks := []Check{{Status: OK, Area: "kernel", Name: "a", Found: "1\n2"}, {Status: Fail, Area: "redis", Name: "b", Found: "x", Wanted: "y", Remedy: "z"}}
	var table, object bytes.Buffer
	if err := WriteTable(&table, checks); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(table.String()), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[2], "FAIL") || !strings.Contains(lines[2], "redis: b") {
		t.Errorf("table:\n%s", table.String())
	}
	if err := WriteJSON(&object, 7, checks); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Connections int
		OK          bool
		Checks      []Check
	}
	if err := json.Unmarshal(object.Bytes(), &back); err != nil || back.Connections != 7 || back.OK || len(back.Checks) != 2 || back.Checks[1] != checks[1] {
		t.Errorf("%+v, %v from %s", back, err, object.String())
	}
	if Failed(checks[:1]) {
		t.Error("Failed without a failure")
	}
}
