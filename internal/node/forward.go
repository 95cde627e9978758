package node

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio/forward"
)

// clusterConfig is how nodes pass requests on to each other.
type clusterConfig struct {
	Secret     string `default:"" secret:"" placeholder:"SECRET" help:"Signs the requests that nodes pass on: the same on all nodes, unknown to others, at least 16 characters. Empty: a random one that the nodes keep in Redis. Better as a variable or a file than as a flag."`
	SecretFile string `default:"" content:"" placeholder:"FILE" help:"File that holds the secret."`
	Advertise  string `default:"" placeholder:"HOST[:PORT]" help:"Where other nodes reach the internal address. Empty: found from the interfaces."`
}

// forwarding is what a node needs to know to pass requests on.
type forwarding struct {
	enabled   bool
	secret    []byte // nil: kept in Redis
	advertise string // empty: found from the interfaces
}

// forwarding reads the configuration; enabled is --node.forward.
func (c *clusterConfig) forwarding(enabled bool) (forwarding, error) {
	f := forwarding{enabled: enabled, advertise: c.Advertise}
	secret, err := readSecret("cluster.secret", c.Secret, c.SecretFile)
	if err != nil || secret == "" && c.SecretFile == "" {
		return f, err
	}
	if len(secret) < forward.MinSecret {
		flag := "cluster.secret"
		if c.SecretFile != "" {
			flag = "cluster.secret-file"
		}
		return f, invalidf(flag, "has %d characters, must have at least %d", len(secret), forward.MinSecret)
	}
	f.secret = []byte(secret)
	return f, nil
}

func (c *clusterConfig) validateAdvertise() error {
	if c.Advertise == "" {
		return nil
	}
	host, port := splitAdvertised(c.Advertise)
	if _, err := strconv.ParseUint(port, 10, 16); port != "" && err != nil || host == "" || port == "0" || strings.ContainsAny(host, "/@ []") ||
		strings.Contains(host, ":") && net.ParseIP(host) == nil {
		return invalidf("cluster.advertise", "%q is not an address such as 10.0.0.7:9464 or node1.example", c.Advertise)
	}
	return nil
}

// splitAdvertised divides an address whose port may be missing.
func splitAdvertised(addr string) (host, port string) {
	if host, port, err := net.SplitHostPort(addr); err == nil {
		return host, port
	}
	return strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]"), ""
}

// self is what the other nodes are told about this one.
func (n *node) self(f forwarding) adapter.Node {
	self := adapter.Node{Name: n.id, Tag: n.tag}
	if f.enabled && n.internal != nil && n.tag != "" {
		self.Address = n.advertised(f.advertise)
	}
	return self
}

// advertised returns the address of the internal listener as other nodes reach it.
func (n *node) advertised(configured string) string {
	redis := n.config.Redis.addrs()
	address := advertisedAddress(n.internal.addrs()[0], configured, redis)
	if host, port := splitAdvertised(address); isLoopback(host) && !allLoopback(redis) {
		n.log.Warn("nodes on other hosts cannot pass requests on to this one: its internal address is a loopback", "advertised", address,
			"remedy", "--internal-addr :"+port+" or --cluster.advertise in a network of your own; or --no-node.forward if the balancer routes by session")
	}
	return address
}

// advertisedAddress returns where other nodes reach an internal address: as configured, else found out.
func advertisedAddress(internal, configured string, redis []string) string {
	host, port, err := net.SplitHostPort(internal)
	if err != nil {
		return "" // a listener of TCP has a port
	}
	if configured != "" {
		configuredHost, configuredPort := splitAdvertised(configured)
		if host = configuredHost; configuredPort != "" {
			port = configuredPort
		}
	} else if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = ownIP(ip.To4() != nil, redis)
	}
	return net.JoinHostPort(host, port)
}

// ownIP returns the address of this host from which Redis is reached, since there the other nodes are; else the first
// that is no loopback.
func ownIP(onlyV4 bool, redis []string) string {
	network := "udp"
	if onlyV4 {
		network = "udp4"
	}
	for _, addr := range redis {
		c, err := (&net.Dialer{Timeout: time.Second}).Dial(network, addr) // sends nothing
		if err != nil {
			continue
		}
		ip := c.LocalAddr().(*net.UDPAddr).IP
		_ = c.Close() // was never used
		if !ip.IsLoopback() && !ip.IsUnspecified() {
			return ip.String()
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "127.0.0.1"
	}
	found := "127.0.0.1"
	for _, a := range addrs {
		network, ok := a.(*net.IPNet)
		if !ok || !network.IP.IsGlobalUnicast() {
			continue
		}
		if network.IP.To4() != nil {
			return network.IP.String()
		}
		if !onlyV4 && found == "127.0.0.1" {
			found = network.IP.String()
		}
	}
	return found
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// allLoopback reports whether Redis is on this host, so that all nodes are.
func allLoopback(addrs []string) bool {
	for _, addr := range addrs {
		if host, _, err := net.SplitHostPort(addr); err != nil || !isLoopback(host) {
			return false
		}
	}
	return true
}

// startForwarding puts a Forwarder before the server, if it is wanted and can work.
func (n *node) startForwarding(f forwarding) error {
	members, ok := n.adapter.(adapter.Member)
	switch {
	case !f.enabled || !ok:
		return nil
	case n.internal == nil || n.tag == "":
		n.log.Warn("requests for sessions of other nodes are not passed on: there is no internal address or no route tag",
			"remedy", "--internal-addr and --node.route-tag; or --no-node.forward if the balancer routes by session")
		return nil
	}
	o := &forward.Options{Members: members, Secret: f.secret, WriteTimeout: n.config.WriteTimeout, UpgradeTimeout: n.config.UpgradeTimeout,
		Logger: n.log}
	var shared *sharedSecret
	if f.secret == nil {
		shared = newSharedSecret(n.redis, n.config.Redis.Prefix, n.log)
		o.Doubt = shared.look
	}
	var err error
	if n.forward, err = forward.New(n.server, o); err != nil {
		return err
	}
	if shared != nil {
		n.asking.Go(func() { shared.run(n.watch, n.forward.SetSecret) })
	}
	return nil
}

// clients is the handler of what clients ask below the path.
func (n *node) clients() http.Handler {
	if n.forward != nil {
		return n.forward
	}
	return n.server
}

// shutdownServer closes the connections of clients, and the WebSockets that pass through from other nodes' clients. Their
// polls are passed on until nobody can ask any more, which may be long after the own clients are told: their sessions live on elsewhere.
func (n *node) shutdownServer(ctx context.Context) error {
	if n.forward != nil {
		n.forward.Drain()
	}
	err := n.server.Shutdown(ctx)
	if err != nil && ctx.Err() != nil {
		n.log.Warn("time is up: what was left is cut", "error", err)
		err = nil
	}
	n.public.shutdown(ctx)
	if n.forward != nil {
		if err := n.forward.Close(ctx); err != nil {
			n.log.Warn("connections of other nodes' clients were cut", "error", err)
		}
	}
	return err
}
