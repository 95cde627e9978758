//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

type drainCmd struct {
	options   `embed:""`
	drawing   `embed:""`
	drainPlan `embed:""`
	Internal  string `placeholder:"HOST:PORT" help:"Internal address of the last of the nodes of --url, which is drained. Without it, nodes are started."`
	Chorus    string `default:"bin/chorus" help:"Chorus program for nodes that are started (default: ${default})."`
	Nodes     int    `default:"3" help:"Nodes that are started (default: ${default})."`
	Clients   int    `default:"5000" help:"Connections, spread over all nodes (default: ${default})."`
}

// Validate is called when the flags have been read.
func (d *drainCmd) Validate() error {
	return errors.Join(
		d.options.validate(),
		d.drainPlan.validate(),
		between("nodes", d.Nodes, 2, 16),
		between("clients", d.Clients, 2, maxClients),
	)
}

func (d *drainCmd) Run(ctx context.Context) error {
	set, end, err := d.start(ctx)
	if err != nil {
		return err
	}
	defer end()
	result, err := runDrain(ctx, set, d.drainPlan)
	if err != nil {
		return err
	}
	return errors.Join(d.draw("Draining one node", result.curves()), d.publish(result))
}

func (d *drainCmd) start(ctx context.Context) (*setting, func(), error) {
	if d.Internal == "" {
		set, end, err := start(ctx, chorus{d.Chorus}, d.spec(d.Nodes), d.Clients)
		if err == nil && !d.Quiet {
			set.progress = terminal()
		}
		return set, end, err
	}
	set, end, err := d.begin(ctx, d.Clients)
	if err == nil {
		set.internal = d.Internal
	}
	if err == nil && len(set.targets) < 2 {
		end()
		return nil, nil, errors.New("--url: a drain needs at least two nodes")
	}
	return set, end, err
}

// A drainPlan says what is sent meanwhile and how the node drains.
type drainPlan struct {
	Rate     float64       `default:"4" help:"Messages per second to all clients, from one that stays (default: ${default})."`
	Size     int           `default:"100" help:"Bytes of a message's text (default: ${default})."`
	Before   time.Duration `default:"10s" help:"Time that is measured before the drain (default: ${default})."`
	Relayed  float64       `default:"0.5" help:"Share of the clients whose WebSocket is relayed by another node than the one that has their session, as behind a balancer without affinity (default: ${default})."`
	LameDuck time.Duration `default:"2s" help:"--drain.lame-duck of nodes that are started (default: ${default})."`
	Spread   time.Duration `default:"20s" help:"--drain.spread of nodes that are started (default: ${default})."`
	Limit    int           `default:"0" help:"--limits.handshakes-per-second of nodes that are started; 0: none (default: ${default})."`
	Patience time.Duration `default:"60s" help:"Time from the end of the drain until all must be back (default: ${default})."`
}

func (p *drainPlan) validate() error {
	return errors.Join(
		between("rate", p.Rate, 0.1, maxRate),
		between("size", p.Size, maxHeader, maxSize),
		between("before", p.Before, 100*time.Millisecond, maxDuration),
		between("relayed", p.Relayed, 0, 1),
		between("lame-duck", p.LameDuck, 0, time.Minute),
		between("spread", p.Spread, 0, time.Minute),
		between("limit", p.Limit, 0, maxRate),
		between("patience", p.Patience, time.Second, maxDuration),
	)
}

// spec says how nodes are started for the plan. There is time for a pace that
// the limit makes slower.
func (p *drainPlan) spec(nodes int) clusterSpec {
	return clusterSpec{nodes: nodes, redis: true, args: []string{
		"--drain.lame-duck", p.LameDuck.String(), "--drain.spread", p.Spread.String(), "--drain.timeout", (p.LameDuck + p.Spread + time.Minute).String(),
		"--limits.handshakes-per-second", fmt.Sprint(p.Limit),
	}}
}
