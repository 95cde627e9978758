package node

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const maxPort = 65535

// config is what one node needs to know, as flags of the command line. Each flag is an environment variable
// too; defaults are in the tags, and validate checks what tags cannot say.
type config struct {
	Path            string   `default:"/socket.io/" group:"Socket.IO" help:"Path under which Socket.IO is served."`
	Events          []string `default:"chat message" group:"Socket.IO" help:"Events that are relayed to everyone in their namespace."`
	AllowTransports []string `default:"polling,websocket" enum:"polling,websocket" group:"Socket.IO" help:"Transports that clients may use (${enum})."`

	PingInterval   time.Duration `default:"25s" group:"Socket.IO" help:"Time between two pings of a client."`
	PingTimeout    time.Duration `default:"20s" group:"Socket.IO" help:"How long a ping may stay unanswered."`
	UpgradeTimeout time.Duration `default:"10s" group:"Socket.IO" help:"How long a change of transport may take."`
	ConnectTimeout time.Duration `default:"45s" group:"Socket.IO" help:"How long a client may take to join a namespace."`
	WriteTimeout   time.Duration `default:"10s" group:"Socket.IO" help:"How long a client may take no bytes before it is closed."`
	MaxPayload     size          `default:"1MB" group:"Socket.IO" help:"Largest message of a client: bytes, or with a unit such as 64kB or 1MiB."`

	AllowEIO3   bool              `name:"allow-eio3" env:"CHORUS_ALLOW_EIO3" group:"Socket.IO" help:"Serve clients of Socket.IO 2 too, which speak protocol 3."`
	CORS        corsConfig        `embed:"" prefix:"cors." group:"Socket.IO"`
	Compression compressionConfig `embed:"" prefix:"compression." group:"Socket.IO"`
	Recovery    recoveryConfig    `embed:"" prefix:"recovery." group:"Socket.IO"`

	Queue  queueConfig  `embed:"" prefix:"queue." group:"Limits"`
	Limits limitsConfig `embed:"" prefix:"limits." group:"Limits"`

	Adapter string      `default:"" enum:",memory,redis,redis-sharded,redis-streams" group:"Cluster" placeholder:"memory|redis|redis-sharded|redis-streams" help:"Line to the other nodes: memory (none), redis (Pub/Sub, as Node's redis-adapter), redis-sharded (sharded Pub/Sub of Redis 7, as Node's createShardedAdapter) or redis-streams (as Node's redis-streams-adapter). Empty: redis if --redis.url is given, else memory."`
	Redis   redisConfig `embed:"" prefix:"redis." group:"Cluster"`

	Page   bool         `default:"true" negatable:"" group:"Pages" help:"Serve the chat page at /."`
	Client clientConfig `embed:"" prefix:"client." group:"Pages"`

	NetLoop      string      `default:"auto" name:"netloop" env:"CHORUS_NETLOOP" enum:"auto,fast,portable" group:"Operation" help:"How connections are read and written: fast (plain TCP on Linux, a few goroutines for all of them), portable (a goroutine each) or auto (fast where the system can)."`
	PublicReadyz bool        `group:"Operation" help:"Serve /readyz on the public address too."`
	Drain        drainConfig `embed:"" prefix:"drain." group:"Operation"`
	Log          logConfig   `embed:"" prefix:"log." group:"Operation"`

	embedded bool `kong:"-"` // Redis is started with the program
}

type corsConfig struct {
	Origins     []string `default:"" placeholder:"ORIGIN,..." help:"Origins of pages that may connect besides the node's own: exact such as https://example.com, with one asterisk such as https://*.example.com, or * for all. Empty: only the node's own."`
	Credentials bool     `help:"Let those pages send cookies."`
}

type compressionConfig struct {
	HTTP      bool `name:"http" default:"true" negatable:"" help:"Compress polling answers."`
	WebSocket bool `name:"websocket" help:"Offer permessage-deflate on WebSockets. Costs CPU and saves bandwidth."`
	Threshold size `default:"1KiB" help:"Messages and answers that are smaller stay as they are."`
}

type recoveryConfig struct {
	Enabled     *bool         `negatable:"" help:"Keep sessions and missed events of clients over short interruptions: on a node without Redis, or on all nodes of redis-streams, whose default it is. Events then have an offset as their last argument, as with Node's server."`
	Window      time.Duration `default:"2m" help:"How long they are kept."`
	MaxMessages int           `default:"10000" help:"Events that a node keeps in memory at most; a client that missed more begins anew, or gets them from the streams as far as they reach."`
}

type queueConfig struct {
	Bytes    size   `default:"1MiB" help:"Bytes that may wait for one client."`
	Messages int    `default:"4096" help:"Messages that may wait for one client."`
	Policy   string `default:"close" enum:"close,drop_volatile" help:"What happens to a client whose queue is full: close it, or drop_volatile messages only and refuse the others."`
}

type limitsConfig struct {
	HandshakesPerSecond int `default:"0" help:"New connections per second; further ones are answered 503. 0: no limit."`
}

type clientConfig struct {
	Serve bool   `default:"true" negatable:"" help:"Serve the client's bundle (socket.io.js) below the path."`
	Dir   string `default:"" placeholder:"DIR" help:"Folder of the bundle, such as node_modules/socket.io-client/dist. Empty: the one that is built in."`
}

type drainConfig struct {
	LameDuck time.Duration `default:"5s" help:"On SIGTERM: how long the node says that it is not ready before it closes connections. Longer than the balancer's check."`
	Timeout  time.Duration `default:"35s" help:"On SIGTERM: the whole time to end."`
	Status   int           `default:"503" enum:"404,503" help:"Status of /readyz while draining: 503, or 404 for HAProxy's disable-on-404."`
}

type logConfig struct {
	Level  string `default:"info" enum:"debug,info,warn,error" help:"Least level that is logged: debug (shows the text of messages), info, warn or error."`
	Format string `default:"${log_format}" enum:"json,text" help:"Form of the log on stderr: json or text."`
}

// nodeConfig is what a node that is alone in its process needs besides.
type nodeConfig struct {
	Addr         []string `default:":3000" group:"Addresses" help:"Public addresses: clients, page and client bundle."`
	InternalAddr string   `default:"127.0.0.1:9464" group:"Addresses" help:"Internal address: /metrics, /healthz, /readyz, /version, requests that other nodes pass on. Empty: none."`
	Node         struct {
		ID       string `default:"" placeholder:"NAME" help:"Name of the node in logs and metrics. Empty: random."`
		RouteTag string `default:"" placeholder:"TAG" help:"Put in front of every session id as TAG_, so that a balancer can route by it: at most 32 letters and digits. Empty: made from the node's id when Redis is used, else none."`
		Forward  bool   `default:"true" negatable:"" help:"Pass requests for sessions of other nodes on to those nodes, through their internal addresses, so that a balancer needs no affinity."`
	} `embed:"" prefix:"node." group:"Cluster"`
	Cluster clusterConfig `embed:"" prefix:"cluster." group:"Cluster"`
}

const (
	adapterMemory  = "memory"
	adapterRedis   = "redis"
	adapterSharded = "redis-sharded"
	adapterStreams = "redis-streams"
)

// adapterName returns the adapter to use.
func (c *config) adapterName() string {
	switch {
	case c.Adapter != "":
		return c.Adapter
	case c.Redis.URL != "":
		return adapterRedis
	}
	return adapterMemory
}

// keepsSessions reports whether the adapter can.
func (c *config) keepsSessions() bool {
	name := c.adapterName()
	return name == adapterMemory || name == adapterStreams
}

// recovers reports whether sessions are kept.
func (c *config) recovers() bool {
	if c.Recovery.Enabled != nil {
		return *c.Recovery.Enabled
	}
	return c.adapterName() == adapterStreams
}

var (
	validPath = regexp.MustCompile(`^/([A-Za-z0-9._~-]+/)*([A-Za-z0-9._~-]+)?$`)
	// A scheme, a host with at most one asterisk, perhaps a port; no path.
	validOrigin = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://[^/*?#\s]*\*?[^/*?#\s]*$`)
	validTag    = regexp.MustCompile(`^[A-Za-z0-9]{1,32}$`)
)

// reservedEvents cannot be sent by a client (Socket.IO reserves them for its own life cycle).
var reservedEvents = []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}

// validate returns the first value that cannot work, named by its flag, and brings values into their one form.
func (c *config) validate() error {
	if !validPath.MatchString(c.Path) || path.Clean(c.Path) != strings.TrimSuffix(c.Path, "/") && c.Path != "/" {
		return fmt.Errorf("--path: %q is not a path such as /socket.io/ (letters, digits, - . _ ~)", c.Path)
	}
	if !strings.HasSuffix(c.Path, "/") {
		c.Path += "/"
	}
	if c.Page && c.Path == "/" {
		return errors.New("--path: / is the place of the chat page; choose another path or --no-page")
	}
	if len(c.AllowTransports) == 0 {
		return errors.New("--allow-transports: needs at least one of polling, websocket")
	}
	for _, event := range c.Events {
		if event == "" || slices.Contains(reservedEvents, event) {
			return fmt.Errorf("--events: %q is not an event that a client can send", event)
		}
	}
	slices.Sort(c.Events)
	c.Events = slices.Compact(c.Events) // one named twice would be relayed twice
	if c.adapterName() != adapterMemory && c.Redis.URL == "" && !c.embedded {
		return fmt.Errorf("--adapter: %s needs --redis.url", c.Adapter)
	}
	if err := c.Redis.validate(); err != nil {
		return err
	}
	if err := c.validateSubscription(); err != nil {
		return err
	}
	for _, origin := range c.CORS.Origins {
		if origin != "*" && !validOrigin.MatchString(origin) {
			return fmt.Errorf("--cors.origins: %q is not an origin such as https://example.com or https://*.example.com, nor *", origin)
		}
	}
	if c.recovers() && !c.keepsSessions() {
		return errors.New("--recovery.enabled: only a node without Redis and nodes of --adapter=redis-streams can keep sessions")
	}
	if c.Redis.Prefix == "" {
		return errors.New("--redis.prefix: must not be empty")
	}
	if c.Redis.Stream.Name == "" {
		return errors.New("--redis.stream.name: must not be empty")
	}
	if err := c.validateClient(); err != nil {
		return err
	}
	return c.validateNumbers()
}

func (c *config) validateClient() error {
	if !c.Client.Serve || c.Client.Dir == "" {
		return nil
	}
	if info, err := os.Stat(c.Client.Dir); err != nil {
		return fmt.Errorf("--client.dir: %w", err)
	} else if !info.IsDir() {
		return fmt.Errorf("--client.dir: %s is not a folder", c.Client.Dir)
	}
	return nil
}

func (c *config) validateNumbers() error {
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
			return fmt.Errorf("--%s: must be at least %s, got %s", d.flag, d.min, d.value)
		}
	}
	for _, n := range []struct {
		flag       string
		value, min int
	}{
		{"max-payload", int(c.MaxPayload), 1}, {"queue.bytes", int(c.Queue.Bytes), 1}, {"queue.messages", c.Queue.Messages, 1},
		{"limits.handshakes-per-second", c.Limits.HandshakesPerSecond, 0},
		{"recovery.max-messages", c.Recovery.MaxMessages, 1}, {"compression.threshold", int(c.Compression.Threshold), 1},
		{"redis.publish-queue", c.Redis.PublishQueue, 1}, {"redis.publish-batch", c.Redis.PublishBatch, 1},
		{"redis.stream.count", c.Redis.Stream.Count, 1}, {"redis.stream.max-len", c.Redis.Stream.MaxLen, 1},
	} {
		if n.value < n.min {
			return fmt.Errorf("--%s: must be at least %d, got %d", n.flag, n.min, n.value)
		}
	}
	if c.Drain.LameDuck < 0 || c.Drain.LameDuck >= c.Drain.Timeout {
		return fmt.Errorf("--drain.lame-duck: must be between 0s and --drain.timeout (%s), got %s", c.Drain.Timeout, c.Drain.LameDuck)
	}
	return nil
}

func (c *nodeConfig) validate() error {
	if len(c.Addr) == 0 {
		return errors.New("--addr: needs at least one address")
	}
	for _, addr := range c.Addr {
		if err := validateAddr("addr", addr); err != nil {
			return err
		}
	}
	if c.InternalAddr != "" {
		if err := validateAddr("internal-addr", c.InternalAddr); err != nil {
			return err
		}
	}
	if _, err := c.Cluster.forwarding(c.Node.Forward); err != nil {
		return err
	}
	if tag := c.Node.RouteTag; tag != "" && !validTag.MatchString(tag) {
		return fmt.Errorf("--node.route-tag: %q must be 1 to 32 letters and digits", tag)
	}
	return nil
}

func validateAddr(flag, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("--%s: %q is not an address such as :3000 or 127.0.0.1:3000", flag, addr)
	}
	return nil
}
