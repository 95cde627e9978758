package doctor

import (
	"fmt"
	"io/fs"
	"math"
)

// Descriptors judges how many files this process may have open; ok is false if that is not known.
func Descriptors(limit uint64, ok bool, connections int) Check {
	want := uint64(max(connections*11/10, 1024))
	c := Check{Area: "process", Name: "nofile", Found: fmt.Sprint(limit), Wanted: fmt.Sprintf(">= %d", want), Status: OK}
	switch {
	case !ok:
		c.Status, c.Found = Unknown, "cannot be read here"
		return c
	case limit < uint64(connections)+spare:
		c.Status = Fail
	case limit < want:
		c.Status = Warn
	}
	if c.Status != OK {
		c.Remedy = fmt.Sprintf("LimitNOFILE=%d (systemd), ulimits: {nofile: %d} (compose), or ulimit -n %d", want, want, want)
	}
	return c
}

// Memory judges the limit of the garbage collector against that of the container. A process that does not know its
// limit grows until it is killed.
func Memory(root fs.FS, goLimit int64) Check {
	c := Check{Area: "process", Name: "GOMEMLIMIT", Found: "not set", Status: OK}
	if goLimit != math.MaxInt64 {
		c.Found = fmt.Sprint(goLimit)
	}
	for _, file := range []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		limit, err := numbers(root, file)
		if err != nil || limit[0] >= math.MaxInt64/2 { // "max", or what version 1 says for it
			continue
		}
		want := limit[0] / 10 * 9
		c.Wanted = fmt.Sprintf("<= %d, 90 %% of the container's", want)
		if goLimit > limit[0] {
			c.Status, c.Remedy = Warn, fmt.Sprintf("GOMEMLIMIT=%d", want)
		}
		return c
	}
	c.Wanted = "no limit of a container found"
	return c
}
