package node

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/redisadapter"
)

// Kinds of Redis deployments besides a single server.
const (
	modeSentinel = "sentinel"
	modeCluster  = "cluster"
)

type redisConfig struct {
	URL             string         `default:"" placeholder:"URL" help:"Redis that connects the nodes: redis://[[user]:password@]host[:port][/db], rediss:// for TLS, unix:// for a socket. Sentinels: redis://host:port?addr=host:port&master_name=NAME. Redis Cluster: redis://host:port?addr=host:port."`
	Mode            string         `default:"" enum:",standalone,sentinel,cluster" placeholder:"standalone|sentinel|cluster" help:"Kind of deployment. Empty: sentinel if the URL has a master_name, cluster if it has more than one address, else standalone."`
	Username        string         `default:"" help:"User of Redis, if the URL has none."`
	Password        string         `default:"" placeholder:"SECRET" help:"Password of Redis, if the URL has none. Better as a variable or a file than as a flag."`
	PasswordFile    string         `default:"" placeholder:"FILE" help:"File that holds the password."`
	TLS             redisTLSConfig `embed:"" prefix:"tls."`
	Prefix          string         `default:"socket.io" help:"Prefix of the channels, as in Node's adapter."`
	Subscription    string         `default:"" enum:",rooms,pattern,static,dynamic,dynamic-private" placeholder:"rooms|pattern|static|dynamic|dynamic-private" help:"How rooms are heard. With redis: rooms, only those that have members here, or pattern, all of them as in Node's adapter. With redis-sharded, the same on all nodes, subscriptionMode of Node's adapter: rooms with a channel of their own are none (static), all but those of single sockets (dynamic) or all (dynamic-private). Empty: rooms, or dynamic."`
	RequestsTimeout time.Duration  `default:"5s" help:"How long other nodes may take to answer a request; requestsTimeout of Node's adapter."`
	Stream          streamConfig   `embed:"" prefix:"stream."`
	Watchdog        time.Duration  `default:"3s" help:"A connection that does not answer for this long is made anew; at least 2s."`

	PublishQueue int    `default:"8192" help:"Messages that may wait to be published; then emitting waits, or fails while Redis is away."`
	PublishBatch int    `default:"256" help:"Messages that are sent to Redis together at most."`
	Degraded     string `default:"serve" enum:"serve,refuse" help:"Readiness while Redis is away: serve (ready, clients of this node still reach each other) or refuse (not ready)."`

	secrets []string `kong:"-"` // passwords, of the URL too
}

type streamConfig struct {
	Name   string `default:"socket.io" help:"Key of the stream of redis-streams, or the first part of the keys of several; streamName of Node's adapter."`
	Count  int    `default:"1" help:"Streams over which the namespaces are spread; the same on all nodes. streamCount of Node's adapter."`
	MaxLen int    `default:"10000" help:"About how many entries a stream keeps: the history for clients and nodes that were away. maxLen of Node's adapter."`
}

type redisTLSConfig struct {
	CA       string `default:"" placeholder:"FILE" help:"Certificates that sign Redis' certificate, if they are not the system's. Given, TLS is used whatever the URL says."`
	Cert     string `default:"" placeholder:"FILE" help:"Certificate of this node, where Redis asks for one."`
	Key      string `default:"" placeholder:"FILE" help:"Its key."`
	Insecure bool   `help:"Do not check Redis' certificate."`
}

// redisClient returns a client of Redis. It connects when it is used.
func (c *config) redisClient() (redis.UniversalClient, error) {
	o, err := c.Redis.options()
	switch {
	case err != nil:
		return nil, err
	case o.sentinel != nil:
		return redis.NewFailoverClient(o.sentinel), nil
	case o.cluster != nil:
		return redis.NewClusterClient(o.cluster), nil
	}
	return redis.NewClient(o.single), nil
}

// redisAdapter returns the adapter over Redis that is configured.
func (c *config) redisAdapter(rdb redis.UniversalClient, self adapter.Node, log *slog.Logger) adapter.Adapter {
	common := redisadapter.Options{
		Prefix:       c.Redis.Prefix,
		PublishQueue: c.Redis.PublishQueue,
		PublishBatch: c.Redis.PublishBatch,
		Watchdog:     c.Redis.Watchdog,
		Node:         self,
		Logger:       log,

		RequestTimeout: c.Redis.RequestsTimeout,
	}
	switch c.adapterName() {
	case adapterStreams:
		o := c.Redis.streams()
		o.Options = common
		return redisadapter.NewStreams(rdb, o)
	case adapterSharded:
		return redisadapter.NewSharded(rdb, &redisadapter.ShardedOptions{
			Options: common, SubscriptionMode: redisadapter.SubscriptionMode(c.Redis.Subscription), // empty: its default
		})
	}
	if c.Redis.Subscription == "pattern" {
		common.Subscription = redisadapter.SubscribePattern
	}
	return redisadapter.NewPubSub(rdb, &common)
}

// subscriptions are the values of --redis.subscription that each adapter knows.
var subscriptions = map[string][]string{
	adapterRedis:   {"rooms", "pattern"},
	adapterSharded: {"static", "dynamic", "dynamic-private"},
}

// validateSubscription refuses what the adapter would ignore.
func (c *config) validateSubscription() error {
	name := c.adapterName()
	if s := c.Redis.Subscription; s != "" && !slices.Contains(subscriptions[name], s) {
		return fmt.Errorf("--redis.subscription: %s is not for --adapter=%s, which has %q", s, name, subscriptions[name])
	}
	return nil
}

// streams returns the options of streams alone.
func (r *redisConfig) streams() *redisadapter.StreamsOptions {
	return &redisadapter.StreamsOptions{StreamName: r.Stream.Name, StreamCount: r.Stream.Count, MaxLen: int64(r.Stream.MaxLen)}
}

// redisOptions are those of one kind of deployment; the others are nil.
type redisOptions struct {
	single   *redis.Options
	sentinel *redis.FailoverOptions
	cluster  *redis.ClusterOptions

	// What they have in common.
	addrs              []string // empty for a socket in the file system
	username, password *string
	tls                **tls.Config
}

// options reads the configuration. What the URL says wins. The error never shows the URL, which may hold a password.
func (r *redisConfig) options() (*redisOptions, error) {
	o, err := r.parseURL()
	if err != nil {
		if invalid := (*url.Error)(nil); errors.As(err, &invalid) {
			err = errors.New("not a URL of the form redis://[[user]:password@]host[:port][/db]")
		}
		return nil, fmt.Errorf("--redis.url: %w", err)
	}
	for _, addr := range o.addrs {
		if _, port, err := net.SplitHostPort(addr); err == nil {
			if n, err := strconv.Atoi(port); err != nil || n < 1 || n > maxPort {
				return nil, fmt.Errorf("--redis.url: port %q is not between 1 and %d", port, maxPort)
			}
		}
	}
	password, err := r.password()
	if err != nil {
		return nil, err
	}
	*o.username, *o.password = cmp.Or(*o.username, r.Username), cmp.Or(*o.password, password)
	return o, r.TLS.apply(o.tls)
}

// parseURL reads the URL by the rules of its kind of deployment. A publish is never tried twice, because a lost reply
// would make it arrive twice.
func (r *redisConfig) parseURL() (*redisOptions, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, err
	}
	mode := r.Mode
	switch {
	case mode != "":
	case u.Query().Has("master_name"):
		mode = modeSentinel
	case u.Query().Has("addr"):
		mode = modeCluster
	}
	switch mode {
	case modeSentinel:
		o, err := redis.ParseFailoverURL(r.URL)
		if err != nil {
			return nil, err
		}
		if o.MasterName == "" {
			return nil, errors.New("sentinels need the name of the master: ?master_name=NAME")
		}
		// The user in front of the host is the Sentinels'; where nothing names another, Redis knows the same.
		o.MaxRetries = -1
		o.Username, o.Password = cmp.Or(o.Username, r.Username, o.SentinelUsername), cmp.Or(o.Password, r.Password, o.SentinelPassword)
		return &redisOptions{sentinel: o, addrs: o.SentinelAddrs, username: &o.Username, password: &o.Password, tls: &o.TLSConfig}, nil
	case modeCluster:
		o, err := redis.ParseClusterURL(r.URL)
		if err != nil {
			return nil, err
		}
		if db := strings.Trim(u.Path, "/"); db != "" && db != "0" {
			return nil, fmt.Errorf("a Redis Cluster has only database 0, not %q", db)
		}
		o.MaxRetries = -1
		return &redisOptions{cluster: o, addrs: o.Addrs, username: &o.Username, password: &o.Password, tls: &o.TLSConfig}, nil
	}
	o, err := redis.ParseURL(r.URL)
	if err != nil {
		return nil, err
	}
	o.MaxRetries = -1
	result := &redisOptions{single: o, username: &o.Username, password: &o.Password, tls: &o.TLSConfig}
	if o.Network == "tcp" {
		result.addrs = []string{o.Addr}
	}
	return result, nil
}

func (r *redisConfig) password() (string, error) {
	if r.PasswordFile == "" {
		return r.Password, nil
	}
	if r.Password != "" {
		return "", errors.New("--redis.password-file: there is a --redis.password too")
	}
	text, err := os.ReadFile(r.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("--redis.password-file: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// apply puts certificates into the configuration, which may be nil.
func (t *redisTLSConfig) apply(to **tls.Config) error {
	if *t == (redisTLSConfig{}) {
		return nil
	}
	if *to == nil {
		*to = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	c := *to
	c.InsecureSkipVerify = c.InsecureSkipVerify || t.Insecure
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return fmt.Errorf("--redis.tls.ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("--redis.tls.ca: %s holds no certificate", t.CA)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		return errors.New("--redis.tls.cert: a certificate and its --redis.tls.key go together")
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return fmt.Errorf("--redis.tls.cert: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// addrs returns the addresses of Redis; none for a socket in the file system.
func (r *redisConfig) addrs() []string {
	o, err := r.options()
	if err != nil { // which validate excludes
		return nil
	}
	return o.addrs
}

// place says where Redis is, without secrets.
func (r *redisConfig) place() string {
	o, err := r.options()
	switch {
	case err != nil: // which validate excludes
		return ""
	case o.addrs == nil:
		return o.single.Addr
	}
	return strings.Join(o.addrs, ", ")
}

// validate reads everything once, so that mistakes are known at start, and remembers what must not be shown.
func (r *redisConfig) validate() error {
	if r.URL == "" {
		return nil
	}
	o, err := r.options()
	if err != nil {
		return err
	}
	secrets := []string{*o.password}
	if o.sentinel != nil {
		secrets = append(secrets, o.sentinel.SentinelPassword)
	}
	for _, secret := range secrets {
		if secret != "" {
			r.secrets = append(r.secrets, secret)
		}
	}
	return nil
}

// hideSecrets returns text without the passwords of Redis. A server that refuses a command may answer with its
// arguments, AUTH not excepted.
func (c *config) hideSecrets(text string) string {
	for _, secret := range c.Redis.secrets {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}
