//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// adaptersCmd compares what a message between nodes costs, without clients: one process publishes, another receives.
type adaptersCmd struct {
	Peer     string  `default:"loadtest/node" help:"Folder of the Node.js peer, with npm ci done (default: ${default})."`
	Runs     int     `default:"3" help:"Runs of each adapter and each contender (default: ${default})."`
	Messages int     `default:"25000" help:"Messages of each run (default: ${default})."`
	Rate     float64 `default:"5000" help:"Messages per second (default: ${default})."`
	Size     int     `default:"100" help:"Bytes of a message's text (default: ${default})."`
	Write    string  `placeholder:"FILE" help:"Replace the table between the markers of this Markdown file."`
	Quiet    bool    `help:"Show no progress."`
}

// Validate is called when the flags have been read.
func (c *adaptersCmd) Validate() error {
	return errors.Join(
		between("runs", c.Runs, 1, 20),
		between("messages", c.Messages, 100, 1_000_000),
		between("rate", c.Rate, 1, maxRate),
		between("size", c.Size, 1, maxSize),
	)
}

// adapterModes are the adapters by the name that both peers know.
var adapterModes = []string{"classic", "sharded", "streams"}

// runPatience bounds what a run takes besides the time of its messages.
const runPatience = 30 * time.Second

func (c *adaptersCmd) Run(ctx context.Context) error {
	versions, err := readVersions(ctx, "", c.Peer)
	if err != nil {
		return err
	}
	var tables []*table
	for _, mode := range adapterModes {
		t := newTable(mode, []string{
			"publishing node, CPU us per message", "receiving node, CPU us per message", "Redis, CPU us per message",
		})
		tables = append(tables, t)
		for run := range c.Runs {
			for i := range t.contenders {
				who := (run + i) % len(t.contenders) // each goes first in turn
				if !c.Quiet {
					fmt.Fprintf(os.Stderr, "%s, run %d of %d: %s\n", mode, run+1, c.Runs, t.contenders[who])
				}
				o, err := c.measure(ctx, mode, who)
				if err != nil {
					return fmt.Errorf("%s: %s: %w", mode, t.contenders[who], err)
				}
				t.add(who, o)
			}
		}
	}
	text := versions + renderTables(tables)
	fmt.Print(text)
	if c.Write != "" {
		if err := replaceMarked(c.Write, "adapters", text); err != nil {
			return fmt.Errorf("--write: %w", err)
		}
	}
	return nil
}

// measure runs two peers of one contender against a Redis of their own.
func (c *adaptersCmd) measure(ctx context.Context, mode string, contender int) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, runPatience+time.Duration(float64(c.Messages)/c.Rate*float64(time.Second)))
	defer cancel()
	broker, addr, err := startRedis(ctx)
	if err != nil {
		return outcome{}, err
	}
	defer broker.stop()
	receiver, err := c.start(ctx, contender, mode, "receive", addr)
	if err != nil {
		return outcome{}, err
	}
	defer receiver.stop()
	publisher, err := c.start(ctx, contender, mode, "publish", addr)
	if err != nil {
		return outcome{}, err
	}
	defer publisher.stop()
	if r, err := receiver.next(); err != nil || !r.Ready {
		return outcome{}, fmt.Errorf("receiver is not ready: %w", err)
	}
	before, err := readUsage(broker.pid())
	if err != nil {
		return outcome{}, err
	}
	busy, err := machineBusy()
	if err != nil {
		return outcome{}, err
	}
	start := time.Now()
	if err := errors.Join(receiver.begin(), publisher.begin()); err != nil {
		return outcome{}, err
	}
	sent, err := publisher.next()
	if err != nil {
		return outcome{}, fmt.Errorf("publisher: %w", err)
	}
	got, err := receiver.next()
	if err != nil {
		return outcome{}, fmt.Errorf("receiver: %w", err)
	}
	after, err := readUsage(broker.pid())
	if err != nil {
		return outcome{}, err
	}
	all, err := machineBusy()
	if err != nil {
		return outcome{}, err
	}
	ours := time.Duration(sent.CPU+got.CPU)*time.Microsecond + after.cpu - before.cpu
	n := float64(c.Messages)
	return outcome{
		figures: []float64{float64(sent.CPU) / n, float64(got.CPU) / n, float64((after.cpu - before.cpu).Microseconds()) / n},
		noise:   max(0, (all-busy-ours).Seconds()/time.Since(start).Seconds()/float64(runtime.NumCPU())),
	}, nil
}

// peer is one end of an adapter in a process of its own, which ends when its input does.
type peer struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

func (c *adaptersCmd) start(ctx context.Context, contender int, mode, role, addr string) (*peer, error) {
	args := []string{mode, role, "redis://" + addr, strconv.Itoa(c.Messages), strconv.FormatFloat(c.Rate, 'f', -1, 64), strconv.Itoa(c.Size)}
	var cmd *exec.Cmd
	if contender == 0 {
		cmd = exec.CommandContext(ctx, "node", append([]string{filepath.Join(c.Peer, "adapter.mjs")}, args...)...)
	} else {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cmd = exec.CommandContext(ctx, self, append([]string{"adapter-peer"}, args...)...)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us; we end it
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &peer{cmd, in, bufio.NewScanner(out)}, cmd.Start()
}

func (p *peer) begin() error {
	_, err := io.WriteString(p.in, "go\n")
	return err
}

// next returns the next report.
func (p *peer) next() (r report, err error) {
	if !p.lines.Scan() {
		return r, errors.Join(errors.New("it ended, or took too long"), p.lines.Err())
	}
	return r, json.Unmarshal(p.lines.Bytes(), &r)
}

func (p *peer) stop() {
	_ = p.in.Close()
	_ = p.cmd.Process.Kill() // Node.js peers wait for their Redis
	_ = p.cmd.Wait()
}
