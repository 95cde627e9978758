//go:build !linux || !(amd64 || arm64)

package netloop

func newBatchSubmitter() submitter { return nil }
