package node

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxPort = 65535
	maxID   = 253 // bytes, as the name of a host
)

var (
	validPath = regexp.MustCompile(`^/([A-Za-z0-9._~-]+/)*([A-Za-z0-9._~-]+)?$`)
	// A scheme, a host with at most one asterisk, perhaps a port; no path.
	validOrigin = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://[^/*?#\s]*\*?[^/*?#\s]*$`)
	validTag    = regexp.MustCompile(`^[A-Za-z0-9]{1,32}$`)
)

// reservedEvents cannot be sent by a client (Socket.IO reserves them for its own life cycle).
var reservedEvents = []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}

// validate returns what cannot work, all of it, and brings values into their one form.
func (s *settings) validate() error {
	return errors.Join(s.nodeConfig.validate(), s.config.validate())
}

// validate is that of all commands that run nodes.
func (c *config) validate() error {
	return errors.Join(
		c.validatePath(),
		c.validateEvents(),
		c.validateAdapter(),
		c.validateOrigins(),
		c.validateClient(),
		c.validateDurations(),
		c.validateNumbers(),
		c.Metrics.validate(),
	)
}

func (c *config) validatePath() error {
	if !validPath.MatchString(c.Path) || path.Clean(c.Path) != strings.TrimSuffix(c.Path, "/") && c.Path != "/" {
		return invalidf("path", "%q is not a path such as /socket.io/ (letters, digits, - . _ ~)", c.Path)
	}
	if !strings.HasSuffix(c.Path, "/") {
		c.Path += "/"
	}
	if c.Page && c.Path == "/" {
		return invalidf("path", "/ is the place of the chat page; choose another path or --no-page")
	}
	return nil
}

func (c *config) validateEvents() error {
	for _, event := range c.Events {
		if event == "" || slices.Contains(reservedEvents, event) {
			return invalidf("events", "%q is not an event that a client can send", event)
		}
	}
	slices.Sort(c.Events)
	c.Events = slices.Compact(c.Events) // one named twice would be relayed twice
	if len(c.AllowTransports) == 0 {
		return invalidf("allow-transports", "needs at least one of polling, websocket")
	}
	return nil
}

func (c *config) validateAdapter() error {
	var lost, unnamed, nameless error
	if c.adapterName() != adapterMemory && !c.Redis.given() && !c.embedded {
		return invalidf("adapter", "%s needs --redis.url or --redis.addrs", c.Adapter)
	}
	if c.recovers() && !c.keepsSessions() {
		lost = invalidf("recovery.enabled", "only a node without Redis and nodes of --adapter=redis-streams can keep sessions")
	}
	if c.Redis.Prefix == "" {
		unnamed = invalidf("redis.prefix", "must not be empty")
	}
	if c.Redis.Stream.Name == "" {
		nameless = invalidf("redis.stream.name", "must not be empty")
	}
	return errors.Join(c.Redis.validate(), c.validateSubscription(), lost, unnamed, nameless)
}

func (c *config) validateOrigins() error {
	for _, origin := range c.CORS.Origins {
		if origin != "*" && !validOrigin.MatchString(origin) {
			return invalidf("cors.origins", "%q is not an origin such as https://example.com or https://*.example.com, nor *", origin)
		}
	}
	return nil
}

func (c *config) validateClient() error {
	if !c.Client.Serve || c.Client.Dir == "" {
		return nil
	}
	if info, err := os.Stat(c.Client.Dir); err != nil {
		return invalidf("client.dir", "%w", err)
	} else if !info.IsDir() {
		return invalidf("client.dir", "%s is not a folder", c.Client.Dir)
	}
	return nil
}

func (c *config) validateDurations() error {
	var errs []error
	for _, d := range []struct {
		flag       string
		value, min time.Duration
	}{
		{"ping-interval", c.PingInterval, time.Millisecond},
		{"ping-timeout", c.PingTimeout, time.Millisecond},
		{"upgrade-timeout", c.UpgradeTimeout, time.Millisecond},
		{"connect-timeout", c.ConnectTimeout, time.Millisecond},
		{"write-timeout", c.WriteTimeout, time.Millisecond},
		{"redis.watchdog", c.Redis.Watchdog, 2 * time.Second},
		{"redis.requests-timeout", c.Redis.RequestsTimeout, time.Millisecond},
		{"drain.timeout", c.Drain.Timeout, time.Millisecond},
		{"recovery.window", c.Recovery.Window, time.Millisecond},
	} {
		if d.value < d.min {
			errs = append(errs, invalidf(d.flag, "must be at least %s, got %s", d.min, d.value))
		}
	}
	return errors.Join(append(errs, c.Drain.validate())...)
}

func (c *config) validateNumbers() error {
	var errs []error
	for _, n := range []struct {
		flag       string
		value, min int
	}{
		{"max-payload", int(c.MaxPayload), 1}, {"queue.bytes", int(c.Queue.Bytes), 1}, {"queue.messages", c.Queue.Messages, 1},
		{"limits.connections", c.Limits.Connections, 0}, {"limits.handshakes-per-second", c.Limits.HandshakesPerSecond, 0},
		{"drain.rate", c.Drain.Rate, 0},
		{"limits.events-per-second", c.Limits.EventsPerSecond, 0}, {"limits.rooms-per-socket", c.Limits.RoomsPerSocket, 0},
		{"recovery.max-messages", c.Recovery.MaxMessages, 1}, {"compression.threshold", int(c.Compression.Threshold), 1},
		{"redis.publish-queue", c.Redis.PublishQueue, 1}, {"redis.publish-batch", c.Redis.PublishBatch, 1},
		{"redis.stream.count", c.Redis.Stream.Count, 1}, {"redis.stream.max-len", c.Redis.Stream.MaxLen, 1},
	} {
		switch {
		case n.value < n.min:
			errs = append(errs, invalidf(n.flag, "must be at least %d, got %d", n.min, n.value))
		case n.value > math.MaxInt32:
			errs = append(errs, invalidf(n.flag, "must be at most %d, got %d", math.MaxInt32, n.value))
		}
	}
	return errors.Join(errs...)
}

func (c *nodeConfig) validate() error {
	var errs []error
	if len(c.Addr) == 0 {
		errs = append(errs, invalidf("addr", "needs at least one address"))
	}
	for _, addr := range c.Addr {
		errs = append(errs, validateAddr("addr", addr))
	}
	if c.InternalAddr != "" {
		errs = append(errs, validateAddr("internal-addr", c.InternalAddr))
	}
	if n := len(c.Node.ID); n > maxID { // it is a label, and told to all nodes
		errs = append(errs, invalidf("node.id", "must have at most %d bytes, got %d", maxID, n))
	}
	if tag := c.Node.RouteTag; tag != "" && !validTag.MatchString(tag) {
		errs = append(errs, invalidf("node.route-tag", "%q must be 1 to 32 letters and digits", tag))
	}
	_, err := c.Cluster.forwarding(c.Node.Forward)
	return errors.Join(append(errs, err, c.Cluster.validateAdvertise(), c.TLS.validate())...)
}

func validateAddr(flag, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return invalidf(flag, "%q is not an address such as :3000 or 127.0.0.1:3000", addr)
	}
	return nil
}

// network is a range of addresses, or a single one.
type network netip.Prefix

// UnmarshalText reads what the user wrote.
func (n *network) UnmarshalText(text []byte) error {
	if addr, err := netip.ParseAddr(string(text)); err == nil && addr.Zone() == "" {
		*n = network(netip.PrefixFrom(addr, addr.BitLen()))
		return nil
	}
	prefix, err := netip.ParsePrefix(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a network such as 10.0.0.0/8, nor an address", text)
	}
	*n = network(prefix.Masked())
	return nil
}

// String writes it as a range.
func (n network) String() string { return netip.Prefix(n).String() }

// proxies are the networks of --trusted-proxies.
func (c *config) proxies() []netip.Prefix {
	list := make([]netip.Prefix, len(c.TrustedProxies))
	for i, n := range c.TrustedProxies {
		list[i] = netip.Prefix(n)
	}
	return list
}
