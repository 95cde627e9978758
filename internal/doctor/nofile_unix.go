//go:build unix

package doctor

import "syscall"

// OpenFiles returns how many files this process may have open. The Go runtime has raised it as far as it may.
func OpenFiles() (limit uint64, ok bool) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0, false
	}
	return uint64(r.Max), true
}
