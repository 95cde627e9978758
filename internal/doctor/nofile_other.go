//go:build !unix

package doctor

// OpenFiles returns how many files this process may have open.
func OpenFiles() (limit uint64, ok bool) { return 0, false }
