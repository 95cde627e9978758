package node

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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
	URL                  string         `default:"" secret:"url" placeholder:"URL" help:"Redis that connects the nodes: redis://[[user]:password@]host[:port][/db], rediss:// for TLS, unix:// for a socket. Sentinels: redis://host:port?addr=host:port&master_name=NAME. Redis Cluster: redis://host:port?addr=host:port."`
	URLFile              string         `default:"" content:"" placeholder:"FILE" help:"File that holds the URL, which may have a password in it."`
	Addrs                []string       `default:"" placeholder:"HOST:PORT,..." help:"Redis without a URL: a server, all Sentinels of --redis.master, or some nodes of a Redis Cluster."`
	Master               string         `default:"" placeholder:"NAME" help:"Name under which Sentinels know the master."`
	Mode                 string         `default:"" enum:",standalone,sentinel,cluster" placeholder:"standalone|sentinel|cluster" help:"Kind of deployment. Empty: sentinel if there is the name of a master, cluster if there is more than one address, else standalone."`
	Username             string         `default:"" help:"User of Redis, if the URL has none."`
	Password             string         `default:"" secret:"" placeholder:"SECRET" help:"Password of Redis, if the URL has none. Better as a variable or a file than as a flag."`
	PasswordFile         string         `default:"" content:"" placeholder:"FILE" help:"File that holds the password."`
	SentinelUsername     string         `default:"" help:"User of the Sentinels, if the URL has none."`
	SentinelPassword     string         `default:"" secret:"" placeholder:"SECRET" help:"Password of the Sentinels, if the URL has none."`
	SentinelPasswordFile string         `default:"" content:"" placeholder:"FILE" help:"File that holds it."`
	TLS                  redisTLSConfig `embed:"" prefix:"tls."`
	Prefix               string         `default:"socket.io" help:"Prefix of the channels, as in Node's adapter."`
	Subscription         string         `default:"" enum:",rooms,pattern,static,dynamic,dynamic-private" placeholder:"rooms|pattern|static|dynamic|dynamic-private" help:"How rooms are heard. With redis: rooms, only those that have members here, or pattern, all of them as in Node's adapter. With redis-sharded, the same on all nodes, subscriptionMode of Node's adapter: rooms with a channel of their own are none (static), all but those of single sockets (dynamic) or all (dynamic-private). Empty: rooms, or dynamic."`
	RequestsTimeout      time.Duration  `default:"5s" help:"How long other nodes may take to answer a request; requestsTimeout of Node's adapter."`
	Stream               streamConfig   `embed:"" prefix:"stream."`
	Watchdog             time.Duration  `default:"3s" help:"A connection that does not answer for this long is made anew; at least 2s."`

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
	Enabled  bool   `help:"Use TLS whatever the URL says; any of the others says so too."`
	CA       string `default:"" content:"" placeholder:"FILE" help:"Certificates that sign Redis' certificate, if they are not the system's."`
	Cert     string `default:"" content:"" placeholder:"FILE" help:"Certificate of this node, where Redis asks for one."`
	Key      string `default:"" content:"" placeholder:"FILE" help:"Its key."`
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
		return invalidf("redis.subscription", "%s is not for --adapter=%s, which has %q", s, name, subscriptions[name])
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

// given reports whether there is a Redis.
func (r *redisConfig) given() bool { return r.URL != "" || r.URLFile != "" || len(r.Addrs) > 0 }

// from is the flag that says where Redis is.
func (r *redisConfig) from() string {
	switch {
	case r.URLFile != "":
		return "redis.url-file"
	case len(r.Addrs) > 0:
		return "redis.addrs"
	}
	return "redis.url"
}

// url returns where Redis is as one URL, whichever way it was given.
func (r *redisConfig) url() (*url.URL, error) {
	text, err := readSecret("redis.url", r.URL, r.URLFile)
	if err != nil {
		return nil, err
	}
	var u *url.URL
	if len(r.Addrs) == 0 {
		if u, err = url.Parse(text); err != nil {
			return nil, err
		}
		if misread(u) {
			return nil, errNotURL
		}
	} else {
		if text != "" {
			return nil, invalidf("redis.addrs", "there is a URL too")
		}
		for _, addr := range r.Addrs {
			if err := validateAddr("redis.addrs", addr); err != nil {
				return nil, err
			}
		}
		u = &url.URL{Scheme: "redis", Host: r.Addrs[0], RawQuery: url.Values{"addr": r.Addrs[1:]}.Encode()}
	}
	if q := u.Query(); r.Master != "" {
		if name := q.Get("master_name"); name != "" && name != r.Master {
			return nil, invalidf("redis.master", "is %q, and the URL says %q", r.Master, name)
		}
		q.Set("master_name", r.Master)
		u.RawQuery = q.Encode()
	}
	return u, nil
}

var errNotURL = errors.New("not a URL of the form redis://[[user]:password@]host[:port][/db]")

// misread reports whether what was meant for user, password and host is elsewhere in the URL, as after a missing slash or
// with a # or ? in the password: Redis would be looked for at the wrong place, and the password shown as what it is not.
func misread(u *url.URL) bool {
	inQuery := slices.ContainsFunc(slices.Collect(maps.Keys(u.Query())), func(name string) bool { return strings.Contains(name, "@") })
	return u.Opaque != "" || u.Fragment != "" || inQuery || u.Scheme != "unix" && strings.Contains(u.Path, "@")
}

// options reads the configuration. What the URL says wins. The error never shows the URL, which may hold a password.
func (r *redisConfig) options() (*redisOptions, error) {
	password, err := readSecret("redis.password", r.Password, r.PasswordFile)
	if err != nil {
		return nil, err
	}
	sentinelPassword, err := readSecret("redis.sentinel-password", r.SentinelPassword, r.SentinelPasswordFile)
	if err != nil {
		return nil, err
	}
	u, err := r.url()
	var o *redisOptions
	if err == nil {
		o, err = r.kind(u, sentinelPassword, password)
	}
	if err != nil {
		if _, named := errors.AsType[*invalid](err); named {
			return nil, err
		}
		if _, malformed := errors.AsType[*url.Error](err); malformed {
			err = errNotURL
		}
		return nil, &invalid{r.from(), err}
	}
	for _, addr := range o.addrs {
		if _, port, err := net.SplitHostPort(addr); err == nil {
			if n, err := strconv.Atoi(port); err != nil || n < 1 || n > maxPort {
				return nil, invalidf(r.from(), "port %q is not between 1 and %d", port, maxPort)
			}
		}
	}
	*o.username, *o.password = cmp.Or(*o.username, r.Username), cmp.Or(*o.password, password)
	return o, r.TLS.apply(o.tls)
}

// kind reads the URL by the rules of its kind of deployment. A publish is never tried twice, because a lost reply
// would make it arrive twice.
func (r *redisConfig) kind(u *url.URL, sentinelPassword, password string) (*redisOptions, error) {
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
		o, err := redis.ParseFailoverURL(u.String())
		if err != nil {
			return nil, err
		}
		if o.MasterName == "" {
			return nil, errors.New("sentinels need the name of the master: ?master_name=NAME or --redis.master")
		}
		// The user in front of the host is the Sentinels'; where nothing names another, Redis knows the same.
		o.MaxRetries = -1
		o.SentinelUsername, o.SentinelPassword = cmp.Or(o.SentinelUsername, r.SentinelUsername), cmp.Or(o.SentinelPassword, sentinelPassword)
		o.Username, o.Password = cmp.Or(o.Username, r.Username, o.SentinelUsername), cmp.Or(o.Password, password, o.SentinelPassword)
		return &redisOptions{sentinel: o, addrs: o.SentinelAddrs, username: &o.Username, password: &o.Password, tls: &o.TLSConfig}, nil
	case modeCluster:
		o, err := redis.ParseClusterURL(u.String())
		if err != nil {
			return nil, err
		}
		if db := strings.Trim(u.Path, "/"); db != "" && db != "0" {
			return nil, fmt.Errorf("a Redis Cluster has only database 0, not %q", db)
		}
		o.MaxRetries = -1
		return &redisOptions{cluster: o, addrs: o.Addrs, username: &o.Username, password: &o.Password, tls: &o.TLSConfig}, nil
	}
	o, err := redis.ParseURL(u.String())
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
			return invalidf("redis.tls.ca", "%w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return invalidf("redis.tls.ca", "%s holds no certificate", t.CA)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		return invalidf("redis.tls.cert", "a certificate and its --redis.tls.key go together")
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return invalidf("redis.tls.cert", "%w", err)
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
	if !r.given() {
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
