package node

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/forward"
)

const (
	// askTimeout is how long a node may take to answer one question.
	askTimeout = 5 * time.Second
	// endPatience is how long a node may take from its last connection to its end.
	endPatience = 15 * time.Second
	// endPoll is how often it is looked whether the node has ended.
	endPoll = 100 * time.Millisecond
)

// drainCommand asks a running node to drain.
type drainCommand struct {
	Node    askedNode     `embed:""`
	Wait    bool          `env:"-" help:"Show the progress, and return when the node has ended."`
	Timeout time.Duration `default:"5m" env:"-" help:"How long it may take at most, with --wait."`
	Cluster struct {
		Secret     string `default:"" placeholder:"SECRET" help:"That of the nodes, to ask a node on another host. Better as a variable or a file than as a flag."`
		SecretFile string `default:"" placeholder:"FILE" help:"File that holds the secret."`
	} `embed:"" prefix:"cluster."`

	secret []byte
}

func (c *drainCommand) validate() error {
	var hasty error
	if c.Timeout <= 0 {
		hasty = invalidf("timeout", "must be positive, got %s", c.Timeout)
	}
	f, err := (&clusterConfig{Secret: c.Cluster.Secret, SecretFile: c.Cluster.SecretFile}).forwarding(true)
	c.secret = f.secret
	return errors.Join(c.Node.validate(), hasty, err)
}

// Run asks, and shows what the node says.
func (c *drainCommand) Run(p *process) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), c.Timeout, fmt.Errorf("--timeout (%s) is over", c.Timeout))
	defer cancel()
	interrupted, done := untilNextSignal(p.signals, false)
	defer done()
	defer context.AfterFunc(interrupted, cancel)()
	client := &http.Client{Transport: &http.Transport{Proxy: nil}} // it is the internal network
	defer client.CloseIdleConnections()
	err := c.drain(ctx, client, p.stdout)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

func (c *drainCommand) drain(ctx context.Context, client *http.Client, out io.Writer) error {
	node, err := c.look(ctx, client)
	if err != nil {
		return err
	}
	answer, err := c.ask(ctx, client, node.Node)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	fmt.Fprintf(out, "node %s drains: %d connections\n", node.Node, node.Connections)
	if !c.Wait {
		return nil
	}
	last, err := follow(answer.Body, out)
	if err != nil {
		return err
	}
	if err := c.awaitEnd(ctx, client, node); err != nil {
		return err
	}
	fmt.Fprintf(out, "node %s has ended\n", node.Node)
	if last.Cut > 0 {
		return fmt.Errorf("%d connections were cut: %s", last.Cut, last.Error)
	}
	return nil
}

// url returns the address of something on the internal listener.
func (c *drainCommand) url(path, query string) string {
	return (&url.URL{Scheme: "http", Host: c.Node.address(), Path: path, RawQuery: query}).String()
}

// look asks which node this is and how it does.
func (c *drainCommand) look(ctx context.Context, client *http.Client) (health, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url("/readyz", ""), nil)
	if err != nil {
		return health{}, err
	}
	answer, err := client.Do(r)
	if err != nil {
		return health{}, err
	}
	defer answer.Body.Close()
	var h health
	if err := json.NewDecoder(io.LimitReader(answer.Body, 64<<10)).Decode(&h); err != nil || h.Node == "" {
		return health{}, fmt.Errorf("%s is not the internal address of a node (%s)", c.Node.address(), answer.Status)
	}
	return h, nil
}

// ask tells the node to drain. The body of the answer is to be closed.
func (c *drainCommand) ask(ctx context.Context, client *http.Client, node string) (*http.Response, error) {
	query := url.Values{"node": {node}}
	if c.Wait {
		query.Set("wait", "")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url("/drain", query.Encode()), nil)
	if err != nil {
		return nil, err
	}
	if c.secret != nil {
		if err := forward.SignCommand(r, c.secret); err != nil {
			return nil, err
		}
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusAccepted {
		defer answer.Body.Close()
		var refusal struct{ Error string }
		_ = json.NewDecoder(io.LimitReader(answer.Body, 64<<10)).Decode(&refusal) // the status says it too
		return nil, fmt.Errorf("node %s refuses: %s %s", node, answer.Status, refusal.Error)
	}
	return answer, nil
}

// follow shows the progress that the node tells until the drain has ended.
func follow(body io.Reader, out io.Writer) (last socketio.DrainProgress, err error) {
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		var p socketio.DrainProgress
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			return last, fmt.Errorf("progress: %w", err)
		}
		fmt.Fprintf(out, "%-9s  %d open, %d closed, %.0f/s, %d nodes take clients\n", p.Phase, p.Open, p.Closed, p.Rate, p.Takers)
		last = p
	}
	if err := lines.Err(); err != nil {
		return last, fmt.Errorf("progress: %w", err)
	}
	if !drained(&last) {
		return last, errors.New("the node ended before its drain did")
	}
	return last, nil
}

// awaitEnd waits until the node has ended, or another one is in its place.
func (c *drainCommand) awaitEnd(ctx context.Context, client *http.Client, node health) error {
	ctx, cancel := context.WithTimeoutCause(ctx, endPatience, errors.New("the node does not end"))
	defer cancel()
	tick := time.NewTicker(endPoll)
	defer tick.Stop()
	for {
		if now, err := c.look(ctx, client); err != nil && ctx.Err() == nil || err == nil && !now.Since.Equal(node.Since) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
