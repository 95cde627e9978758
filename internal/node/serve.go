package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"
)

// politeEnd is the time to end on SIGINT: enough to tell the clients, too short to annoy a developer.
const politeEnd = 500 * time.Millisecond

type serveCommand struct{ settings }

// Run serves until a signal comes or a listener fails.
func (c *serveCommand) Run(p *process) error {
	hangups, release := catchHangups()
	defer release()
	who := c.identity()
	var level slog.LevelVar
	level.Set(c.Log.level())
	log := c.config.logger(p, &level).With("node", who.id)

	forwarding, err := c.Cluster.forwarding(c.Node.Forward)
	if err != nil {
		return err
	}
	certificate, err := c.TLS.load()
	if err != nil {
		return err
	}
	failed := make(failures, 1)
	n, err := startNode(&c.config, who, addresses{
		public: c.Addr, publicFlag: "addr", internal: c.InternalAddr, internalFlag: "internal-addr",
		certificate: certificate, forwarding: forwarding,
	}, failed, log)
	if err != nil {
		return err
	}
	defer newReloader(p, n, &level).start(hangups)()
	select {
	case signal := <-p.signals:
		return c.end(n, signal, p.signals)
	case err := <-failed:
		ctx, cancel := context.WithTimeout(context.Background(), politeEnd)
		defer cancel()
		return errors.Join(err, n.shutdown(ctx))
	}
}

// identity returns the names of the node: those of the settings, or made ones.
func (s *settings) identity() identity {
	who := identity{id: s.Node.ID, tag: s.Node.RouteTag}
	if who.id == "" {
		who.id = freshID()
	}
	if who.tag == "" && s.adapterName() != adapterMemory {
		who.tag = tagOf(who.id)
	}
	return who
}

// errSecondSignal says that somebody did not want to wait.
var errSecondSignal = errors.New("a second signal ended the program before all connections were closed")

// end stops the node. SIGTERM comes from a supervisor behind a balancer, which must see that the node is not
// ready before its connections close; SIGINT comes from a person at a terminal.
func (c *serveCommand) end(n *node, signal os.Signal, signals <-chan os.Signal) error {
	ctx, hurry := context.WithCancelCause(context.Background())
	defer hurry(nil)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-signals:
			hurry(errSecondSignal)
		case <-done:
		}
	}()

	limit, lameDuck := politeEnd, time.Duration(0)
	if signal == syscall.SIGTERM {
		limit, lameDuck = c.Drain.Timeout, c.Drain.LameDuck
	}
	n.log.Info("shutting down", "signal", signal.String(), "lame_duck", lameDuck.String(), "timeout", limit.String(), "connections", n.connections())
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	n.drain()
	wait := time.NewTimer(lameDuck)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
	open := n.connections()
	err := n.shutdown(ctx)
	if context.Cause(ctx) != errSecondSignal {
		return err
	}
	if open == 0 {
		return nil // there was nothing to cut short
	}
	return errSecondSignal
}

// freshID makes a name for a node that was given none: that of its host, by which people find it, and a random end, since a
// host may have several nodes.
func freshID() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "node"
	}
	return host + "-" + strings.ToLower(rand.Text()[:4])
}

// tagOf makes a route tag of a node's name. It is a digest because the tag goes to every client, and names of
// hosts and pods are not for the public.
func tagOf(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:4])
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(p *process) error {
	v := readVersion()
	_, err := fmt.Fprintf(p.stdout, "%s %s (%s, revision %s)\n", program, v.Version, v.GoVersion, v.Revision)
	return err
}
