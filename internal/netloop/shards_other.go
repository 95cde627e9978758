//go:build !linux || !(amd64 || arm64)

package netloop

import (
	"errors"
	"net"
	"time"
)

// shards do not exist here.
type shards struct{}

func newShards(*Loop) (*shards, error) {
	return nil, errors.New("needs Linux on amd64 or arm64")
}

func (*shards) form() string                   { return "" }
func (*shards) adopt(net.Conn, Reader) Conn    { return nil }
func (*shards) hangUp()                        {}
func (*shards) uncorked()                      {}
func (*shards) stats(*Stats)                   {}
func (*shards) close()                         {}
func (*shards) hanging(time.Duration) []string { return nil }
