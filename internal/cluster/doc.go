// Package cluster keeps account of the other nodes: who is alive, who must answer a request, and who did. It does no
// I/O; adapters tell it what they hear.
package cluster
