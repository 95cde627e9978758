package redisadapter

import (
	"fmt"
	"strings"
)

// channels are the names of the channels of one namespace, as @socket.io/redis-adapter 8 forms them.
type channels struct{ prefix, namespace string }

// broadcast is the channel of everything that does not go to exactly one room.
func (c channels) broadcast() string { return c.prefix + "#" + c.namespace + "#" }

func (c channels) room(room string) string { return c.prefix + "#" + c.namespace + "#" + room + "#" }

// all is the pattern of the two above.
func (c channels) all() string { return globLiteral.Replace(c.broadcast()) + "*" }

// globLiteral makes Redis take a text literally in a pattern.
var globLiteral = strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `\`, `\\`)

// roomOf takes the room out of the name of a channel, which is empty for that of broadcasts.
func (c channels) roomOf(channel string) string {
	rest := channel[min(len(c.broadcast()), len(channel)):]
	return strings.TrimSuffix(rest, "#")
}

// request is the channel of requests; the number of its subscribers is Node's number of servers.
func (c channels) request() string { return c.prefix + "-request#" + c.namespace + "#" }

// response is the channel of answers that every server hears.
func (c channels) response() string { return c.prefix + "-response#" + c.namespace + "#" }

// private is the channel of answers to one server.
func (c channels) private(uid string) string { return c.response() + uid + "#" }

// check refuses a name whose channels could be those of a room of another namespace.
func (c channels) check() error {
	if c.namespace == "" || strings.Contains(c.namespace, "#") {
		return fmt.Errorf("redisadapter: join: namespace %q: must not be empty or contain #", c.namespace)
	}
	return nil
}
