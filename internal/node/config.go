package node

import "time"

// config is what one node needs to know, as flags of the command line. Each flag is an environment variable and a key of
// configuration files too; defaults are in the tags, and validate checks what tags cannot say. The tag secret marks what
// is never shown, reload what a node takes over while it runs, content a file that it reads at start only.
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

	NetLoop        string        `default:"auto" name:"netloop" env:"CHORUS_NETLOOP" enum:"auto,fast,portable" group:"Operation" help:"How connections are read and written: fast (plain TCP on Linux, a few goroutines for all of them), portable (a goroutine each) or auto (fast where the system can)."`
	TrustedProxies []network     `default:"" placeholder:"NETWORK,..." group:"Operation" help:"Networks of balancers, such as 10.0.0.0/8, or single addresses, whose X-Forwarded-For tells the address of the client."`
	PublicReadyz   bool          `group:"Operation" help:"Serve /readyz on the public address too."`
	Drain          drainConfig   `embed:"" prefix:"drain." group:"Operation"`
	Metrics        metricsConfig `embed:"" prefix:"metrics." group:"Operation"`
	Log            logConfig     `embed:"" prefix:"log." group:"Operation"`
	Debug          debugConfig   `embed:"" prefix:"debug." group:"Operation"`

	embedded bool `kong:"-"` // Redis is started with the program
}

type corsConfig struct {
	Origins     []string `default:"" reload:"" placeholder:"ORIGIN,..." help:"Origins of pages that may connect besides the node's own: exact such as https://example.com, with one asterisk such as https://*.example.com, or * for all. Empty: only the node's own."`
	Credentials bool     `reload:"" help:"Let those pages send cookies."`
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
	Connections         int `default:"0" help:"Connections at a time; further ones are answered 503. 0: no limit."`
	HandshakesPerSecond int `default:"0" help:"New connections per second; further ones wait up to a second, then are answered 503. 0: no limit."`
	EventsPerSecond     int `default:"0" help:"Events per second of one connection, after a burst of as many; one that sends more is read no faster, and loses nothing. 0: no limit."`
	RoomsPerSocket      int `default:"0" help:"Rooms that one socket may be in besides its own; it joins no further ones. 0: no limit."`
}

type clientConfig struct {
	Serve bool   `default:"true" negatable:"" help:"Serve the client's bundle (socket.io.js) below the path."`
	Dir   string `default:"" placeholder:"DIR" help:"Folder of the bundle, such as node_modules/socket.io-client/dist. Empty: the one that is built in."`
}

type drainConfig struct {
	LameDuck time.Duration `default:"5s" help:"On SIGTERM: how long the node says that it is not ready before it closes connections. Longer than the balancer's check."`
	Spread   time.Duration `default:"20s" help:"Then: the time over which connections are closed, so that their clients come to the other nodes one by one."`
	Rate     int           `default:"0" help:"Connections closed per second, instead of what --drain.spread asks for. 0: from --drain.spread. Never more than half of --limits.handshakes-per-second for each other node."`
	Timeout  time.Duration `default:"35s" help:"The whole time to end; what is connected then is cut."`
	Status   int           `default:"503" enum:"404,503" help:"Status of /readyz while draining: 503, or 404 for HAProxy's disable-on-404."`
}

type debugConfig struct {
	Pprof bool `help:"Serve profiles at /debug/pprof/ on the internal address."`
}

type logConfig struct {
	Level  string `default:"info" reload:"" enum:"debug,info,warn,error" help:"Least level that is logged: debug (shows the text of messages), info, warn or error."`
	Format string `default:"${log_format}" enum:"json,text" help:"Form of the log on stderr: json or text."`
}

// settings are those of a node that is alone in its process: what configuration files may have.
type settings struct {
	nodeConfig
	config
}

// nodeConfig is what a node that is alone in its process needs besides.
type nodeConfig struct {
	Addr         []string  `default:":3000" group:"Addresses" help:"Public addresses: clients, page and client bundle."`
	InternalAddr string    `default:"127.0.0.1:9464" group:"Addresses" help:"Internal address: /metrics, /healthz, /readyz, /version, requests that other nodes pass on. Empty: none."`
	TLS          tlsConfig `embed:"" prefix:"tls." group:"Addresses"`
	Node         struct {
		ID       string `default:"" placeholder:"NAME" help:"Name of the node in logs and metrics. Empty: the name of the host and a random end."`
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
	case c.Redis.given():
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
