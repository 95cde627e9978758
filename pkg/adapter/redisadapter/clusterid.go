package redisadapter

import (
	"crypto/rand"
	"encoding/hex"
)

// newClusterID returns a random uid or request id in the form of Node's ClusterAdapter: 16 hexadecimal digits.
func newClusterID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
