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
		certificate: certificate, forwarding: forwarding, drainable: true,
	}, failed, log)
	if err != nil {
		return err
	}
	defer newReloader(p, n, &level).start(hangups)()
	select {
	case signal := <-p.signals:
		if signal == syscall.SIGTERM {
			return c.drain(n, signal.String(), true, p.signals)
		}
		return c.end(n, p.signals)
	case who := <-n.drain.asked:
		return c.drain(n, who, false, p.signals)
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

// end stops the node after SIGINT, which comes from a person at a terminal: clients are told and go, all at once. A second
// signal does not even wait for that.
func (c *serveCommand) end(n *node, signals <-chan os.Signal) error {
	ctx, done := untilNextSignal(signals, false)
	defer done()
	polite, cancel := context.WithTimeout(ctx, politeEnd)
	defer cancel()
	open := n.server.Connections()
	n.log.Info("shutting down", "cause", os.Interrupt.String(), "timeout", politeEnd.String(), "connections", open)
	return cutShort(ctx, open, n.shutdown(polite))
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
