package doctor

import (
	"fmt"
	"io/fs"
	"math"
	"math/bits"
	"path"
	"strconv"
	"strings"
)

// spare are descriptors that are no connections of clients: listeners, Redis, other nodes, files.
const spare = 64

// sysctl is one setting of the kernel and what a node wants of it.
type sysctl struct {
	area, name string
	// bad returns what is wanted of the numbers found and, if they are something else, how bad that is.
	judge func(found []int64) (wanted string, status Status)
}

// Kernel judges the settings of the kernel below root, which has proc and sys, for a number of connections.
func Kernel(root fs.FS, connections int) []Check {
	var checks []Check
	for _, s := range sysctls(int64(connections)) {
		checks = append(checks, s.check(root))
	}
	return append(checks, ports(root, connections), conntrack(root, connections), conntrackTimeout(root))
}

func sysctls(n int64) []sysctl {
	backlog := min(max(n/15, 4096), 65535)
	return []sysctl{
		{"kernel", "fs.nr_open", atLeast(max(1<<20, power(n*11/10)), n+spare)},
		{"kernel", "fs.file-max", atLeast(max(1<<16, power(4*n)), n+spare)},
		{"kernel", "net.core.somaxconn", atLeast(backlog, 0)},
		{"kernel", "net.ipv4.tcp_max_syn_backlog", atLeast(backlog, 0)},
		{"kernel", "net.core.netdev_max_backlog", atLeast(min(max(n/15, 1000), 65535), 0)},
		{"kernel", "net.ipv4.tcp_rmem", buffers("4096 4096 4194304")},
		{"kernel", "net.ipv4.tcp_wmem", buffers("4096 16384 4194304")},
		{"kernel", "net.ipv4.tcp_mem", pages(2 * n)},
		{"kernel", "net.ipv4.tcp_keepalive_time", atMost(300)},
		{"kernel", "net.ipv4.tcp_keepalive_intvl", atMost(30)},
		{"kernel", "net.ipv4.tcp_keepalive_probes", atMost(4)},
		{"kernel", "net.ipv4.tcp_slow_start_after_idle", atMost(0)},
		{"kernel", "vm.swappiness", atMost(1)},
		{"balancer", "net.ipv4.tcp_tw_reuse", exactly(1)},
		{"balancer", "net.ipv4.tcp_fin_timeout", atMost(15)},
	}
}

// Overcommit judges what Redis wants of the machine it runs on.
func Overcommit(root fs.FS) Check {
	return sysctl{"redis", "vm.overcommit_memory", exactly(1)}.check(root)
}

func (s sysctl) check(root fs.FS) Check {
	c := Check{Area: s.area, Name: s.name}
	found, err := numbers(root, path.Join("proc/sys", strings.ReplaceAll(s.name, ".", "/")))
	if err != nil {
		c.Status, c.Found = Unknown, "cannot be read here"
		return c
	}
	c.Found = join(found)
	c.Wanted, c.Status = s.judge(found)
	if c.Status != OK {
		c.Remedy = fmt.Sprintf("sysctl -w %s='%s'", s.name, strings.TrimLeft(c.Wanted, "<>= "))
	}
	return c
}

// atLeast wants a number; below hard nothing works.
func atLeast(want, hard int64) func([]int64) (string, Status) {
	return func(found []int64) (string, Status) {
		wanted := fmt.Sprintf(">= %d", want)
		switch {
		case found[0] < hard:
			return wanted, Fail
		case found[0] < want:
			return wanted, Warn
		}
		return wanted, OK
	}
}

func atMost(want int64) func([]int64) (string, Status) {
	return func(found []int64) (string, Status) {
		if found[0] > want {
			return fmt.Sprintf("<= %d", want), Warn
		}
		return fmt.Sprintf("<= %d", want), OK
	}
}

func exactly(want int64) func([]int64) (string, Status) {
	return func(found []int64) (string, Status) {
		if found[0] != want {
			return strconv.FormatInt(want, 10), Warn
		}
		return strconv.FormatInt(want, 10), OK
	}
}

// buffers wants a small least and a large most size: most sockets are idle, and few send much.
func buffers(want string) func([]int64) (string, Status) {
	return func(found []int64) (string, Status) {
		if len(found) != 3 || found[0] > 4096 || found[2] < 4<<20 {
			return want, Warn
		}
		return want, OK
	}
}

// pages wants room for the buffers of all sockets, in pages of memory.
func pages(want int64) func([]int64) (string, Status) {
	return func(found []int64) (string, Status) {
		wanted := fmt.Sprintf("%d %d %d", want/2, want*3/4, want)
		if len(found) != 3 || found[2] < want {
			return wanted, Warn
		}
		return wanted, OK
	}
}

// ports judges how many connections a balancer on a machine like this can have to one address and port of a node.
func ports(root fs.FS, connections int) Check {
	c := Check{Area: "balancer", Name: "net.ipv4.ip_local_port_range", Wanted: "1024 65535"}
	found, err := numbers(root, "proc/sys/net/ipv4/ip_local_port_range")
	if err != nil || len(found) != 2 {
		c.Status, c.Found = Unknown, "cannot be read here"
		return c
	}
	n := found[1] - found[0] + 1
	c.Found = fmt.Sprintf("%s (%d ports)", join(found), n)
	if c.Status = OK; n < int64(connections) {
		c.Status, c.Remedy = Warn, "sysctl -w net.ipv4.ip_local_port_range='1024 65535'"
		if connections > 64512 {
			c.Remedy += "; and several ports in --addr, or several source addresses: one pair has 64512 at most"
		}
	}
	return c
}

// conntrack judges the table in which a firewall keeps connections: a full one drops new ones without a word.
func conntrack(root fs.FS, connections int) Check {
	const name = "net.netfilter.nf_conntrack_max"
	c := sysctl{"kernel", name, atLeast(power(2*int64(connections)), int64(connections))}.check(root)
	if c.Status == Unknown {
		c.Status, c.Found = OK, "connections are not tracked"
	}
	return c
}

func conntrackTimeout(root fs.FS) Check {
	c := sysctl{"kernel", "net.netfilter.nf_conntrack_tcp_timeout_established", atLeast(3600, 0)}.check(root)
	if c.Status == Unknown {
		c.Status, c.Found = OK, "connections are not tracked"
	}
	return c
}

// power rounds up to a power of two.
func power(n int64) int64 {
	if n <= 1 {
		return 1
	}
	return 1 << min(bits.Len64(uint64(n-1)), 62)
}

// numbers reads a file of the kernel. A number that is too large for us is as large as can be.
func numbers(root fs.FS, file string) ([]int64, error) {
	text, err := fs.ReadFile(root, file)
	if err != nil {
		return nil, err
	}
	var list []int64
	for field := range strings.FieldsSeq(string(text)) {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil && n != math.MaxInt64 {
			return nil, err
		}
		list = append(list, n)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s is empty", file)
	}
	return list, nil
}

func join(list []int64) string {
	texts := make([]string, len(list))
	for i, n := range list {
		texts[i] = strconv.FormatInt(n, 10)
	}
	return strings.Join(texts, " ")
}
