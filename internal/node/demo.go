package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// demoNodes is how many nodes the demo runs: enough to see that the third hears the first two.
const demoNodes = 3

// demoPatience is how long the demo waits for Redis before it says where to look.
const demoPatience = 2 * time.Second

type demoCommand struct {
	Addr         string `default:":3000" group:"Addresses" help:"Address of the front, which spreads clients over the nodes."`
	NodeAddr     string `default:"" group:"Addresses" placeholder:"HOST:PORT" help:"Address of the first node; the others take the next ports. Empty: the ports after the front's."`
	InternalAddr string `default:"127.0.0.1:9464" group:"Addresses" help:"Internal address of the first node (/metrics and more); the others take the next ports."`
	config
}

func (c *demoCommand) validate() error {
	if c.Adapter == adapterMemory {
		return invalidf("adapter", "the nodes of the demo need redis (without --redis.url one is embedded)")
	}
	if c.Adapter == "" {
		c.Adapter = adapterRedis
	}
	c.embedded = !c.Redis.given()
	if c.embedded && c.Adapter == adapterSharded {
		return invalidf("adapter", "redis-sharded: the embedded Redis of the demo has no sharded Pub/Sub, give --redis.url")
	}
	for _, a := range []struct{ flag, addr string }{{"addr", c.Addr}, {"node-addr", c.NodeAddr}, {"internal-addr", c.InternalAddr}} {
		if a.addr == "" && a.flag == "node-addr" {
			continue
		}
		if err := validateAddr(a.flag, a.addr); err != nil {
			return err
		}
		_, port, _ := net.SplitHostPort(a.addr)
		if n, err := strconv.Atoi(port); err == nil && n > maxPort-demoNodes {
			return invalidf(a.flag, "the demo needs the %d ports after %s, and the last one is %d", demoNodes, port, maxPort)
		}
	}
	return c.config.validate()
}

// cluster is what the demo runs.
type cluster struct {
	front *front
	nodes []*node
	redis *miniredis.Miniredis // nil with a Redis of the user
	log   *slog.Logger

	failed failures
}

// Run runs the cluster until a signal comes or a listener fails.
func (c *demoCommand) Run(p *process) error {
	log := c.config.logger(p, c.Log.level())
	cl, err := c.start(log)
	if err != nil {
		return err
	}
	if cl.awaitRedis(p.signals) {
		cl.print(p.stdout)
		select {
		case <-p.signals:
		case err = <-cl.failed:
		}
	}
	return errors.Join(err, cl.stop(p))
}

// start starts Redis, nodes and front. On failure it ends what it started.
func (c *demoCommand) start(log *slog.Logger) (cl *cluster, err error) {
	cl = &cluster{log: log, failed: make(failures, 1)}
	defer func() {
		if err != nil {
			ctx, cancel := context.WithTimeout(context.Background(), politeEnd)
			defer cancel()
			err = errors.Join(err, cl.shutdown(ctx))
		}
	}()
	frontEnd, err := listen("addr", c.Addr)
	if err != nil {
		return cl, err
	}
	cl.front = newFront(frontEnd, c.Path, log)
	if c.embedded {
		cl.redis = miniredis.NewMiniRedis()
		if err := cl.redis.Start(); err != nil {
			return cl, fmt.Errorf("embedded redis: %w", err)
		}
		c.Redis.URL = "redis://" + cl.redis.Addr()
	}
	first := c.NodeAddr
	if first == "" {
		first = nth(c.Addr, 1)
	}
	for i := range demoNodes {
		who := identity{id: fmt.Sprintf("node%d", i+1), tag: fmt.Sprintf("n%d", i+1)}
		n, err := startNode(&c.config, who, addresses{
			public: []string{nth(first, i)}, publicFlag: "node-addr",
			internal: nth(c.InternalAddr, i), internalFlag: "internal-addr",
			forwarding: forwarding{enabled: true},
		}, cl.failed, log.With("node", who.id))
		if err != nil {
			return cl, err
		}
		cl.nodes = append(cl.nodes, n)
		cl.front.add(who.tag, n.public.addrs()[0])
	}
	cl.front.serve(cl.failed)
	return cl, nil
}

// nth returns the address whose port is i higher. Port 0 is any free port and stays so.
func nth(addr string, i int) string {
	host, port, _ := net.SplitHostPort(addr)
	n, err := strconv.Atoi(port)
	if err != nil || n == 0 {
		return addr
	}
	return net.JoinHostPort(host, strconv.Itoa(n+i))
}

// awaitRedis waits a moment until all nodes hear each other. It returns false if a signal came meanwhile.
func (cl *cluster) awaitRedis(signals <-chan os.Signal) bool {
	patience := time.NewTimer(demoPatience)
	defer patience.Stop()
	for _, n := range cl.nodes {
		select {
		case <-n.joined:
		case <-patience.C:
			_, h := n.ready()
			cl.log.Warn("redis cannot be reached yet: nodes do not hear each other", "node", n.id, "error", h.Error)
			return true
		case <-signals:
			return false
		}
	}
	return true
}

// print tells what runs where.
func (cl *cluster) print(w io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, "A cluster of %d nodes. Open the chat in two tabs: each lands on the next node.\n\n", len(cl.nodes))
	fmt.Fprintf(&b, "  chat   %s\n", link(cl.front.endpoint.addrs()[0]))
	for _, n := range cl.nodes {
		fmt.Fprintf(&b, "  %s  %s   metrics %s/metrics\n", n.id, link(n.public.addrs()[0]), link(n.internal.addrs()[0]))
	}
	if cl.redis != nil {
		fmt.Fprintf(&b, "  redis  %s (embedded)\n", cl.redis.Addr())
	} else {
		fmt.Fprintf(&b, "  redis  %s\n", cl.nodes[0].config.Redis.place())
	}
	b.WriteString("\nCtrl-C ends all of it.\n")
	_, _ = io.WriteString(w, b.String()) // a closed terminal does not stop the cluster
}

// link returns an address as something to click on: all interfaces are this machine.
func link(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// stop ends the cluster, at once on a second signal.
func (cl *cluster) stop(p *process) error {
	ctx, cancel := context.WithTimeout(context.Background(), politeEnd)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-p.signals:
			cancel()
		case <-done:
		}
	}()
	return cl.shutdown(ctx)
}

// shutdown ends the nodes together, then the front, whose WebSockets end with those of the nodes, then Redis.
func (cl *cluster) shutdown(ctx context.Context) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for _, n := range cl.nodes {
		wg.Go(func() {
			err := n.shutdown(ctx)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	wg.Wait()
	if cl.front != nil {
		cl.front.shutdown(ctx)
	}
	if cl.redis != nil {
		cl.redis.Close()
	}
	return errors.Join(errs...)
}
