package node

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// healthcheckCommand asks a running node, for images that have no other program to do so.
type healthcheckCommand struct {
	Node    askedNode     `embed:""`
	Ready   bool          `env:"-" help:"Ask whether it should get new clients (/readyz), not whether it lives (/healthz)."`
	Timeout time.Duration `default:"3s" env:"-" help:"How long the answer may take."`
}

func (c *healthcheckCommand) validate() error {
	if c.Timeout <= 0 {
		return invalidf("timeout", "must be positive, got %s", c.Timeout)
	}
	return c.Node.validate()
}

// Run prints what the node answers and fails unless it is well.
func (c *healthcheckCommand) Run(p *process) error {
	path := "/healthz"
	if c.Ready {
		path = "/readyz"
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.Node.address()+path, nil)
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
