//go:build unix && !linux

package netloop

// limitKernelBuffer does nothing: the system's own bounds hold.
func limitKernelBuffer(int) {}
