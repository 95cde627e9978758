package node

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// healthcheckCommand asks a running node, for images that have no other program to do so.
type healthcheckCommand struct {
	Addr         string        `default:"" env:"-" placeholder:"HOST:PORT" help:"Internal address of the node. Empty: that of --internal-addr."`
	InternalAddr string        `default:"127.0.0.1:9464" help:"Internal address, as the node has it."`
	Ready        bool          `env:"-" help:"Ask whether it should get new clients (/readyz), not whether it lives (/healthz)."`
	Timeout      time.Duration `default:"3s" env:"-" help:"How long the answer may take."`
}

func (c *healthcheckCommand) validate() error {
	if c.Timeout <= 0 {
		return invalidf("timeout", "must be positive, got %s", c.Timeout)
	}
	if c.Addr != "" {
		return validateAddr("addr", c.Addr)
	}
	if c.InternalAddr == "" {
		return invalidf("internal-addr", "is empty: a node without an internal address cannot be asked")
	}
	return validateAddr("internal-addr", c.InternalAddr)
}

// Run prints what the node answers and fails unless it is well.
func (c *healthcheckCommand) Run(p *process) error {
	addr, path := c.InternalAddr, "/healthz"
	if c.Addr != "" {
		addr = c.Addr
	}
	if c.Ready {
		path = "/readyz"
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachable(addr)+path, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy of the environment
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("healthcheck: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("healthcheck: %w", err)
	}
	text := strings.TrimSpace(string(body))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("healthcheck: %s: %s", response.Status, text)
	}
	_, err = fmt.Fprintln(p.stdout, text)
	return err
}

// reachable returns an address on which a node listens as one to connect to: all interfaces have the loopback among them.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	switch ip := net.ParseIP(host); {
	case host == "" || ip.Equal(net.IPv4zero):
		host = "127.0.0.1"
	case ip.Equal(net.IPv6zero):
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
