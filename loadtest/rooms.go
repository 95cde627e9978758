//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// Events of the servers under test: a client joins rooms, and what it sends
// to one is relayed to its members.
const (
	joinEvent = "join"         // names of rooms, with an acknowledgement
	roomEvent = "room message" // text, name of the room
)

type roomsCmd struct {
	options   `embed:""`
	sending   `embed:""`
	drawing   `embed:""`
	Rooms     int     `default:"100" help:"Rooms to which messages are sent in turn (default: ${default})."`
	Members   int     `default:"10" help:"Members of each, of which one sends (default: ${default})."`
	IdleRooms []int   `default:"0,10000" help:"Rooms besides, of one member each, to which nobody sends: a run for each number (default: ${default})."`
	Rate      float64 `default:"1000" help:"Messages per second, to all rooms together (default: ${default})."`
}

// maxIdleRooms bounds the rooms that one run makes.
const maxIdleRooms = 1_000_000

// Validate is called when the flags have been read.
func (r *roomsCmd) Validate() error {
	err := errors.Join(
		r.options.validate(),
		r.sending.validate(),
		between("rooms", r.Rooms, 1, maxClients),
		between("members", r.Members, 1, maxClients/max(1, r.Rooms)),
		between("rate", r.Rate, 0.1, maxRate),
	)
	if len(r.IdleRooms) == 0 {
		err = errors.Join(err, errors.New("--idle-rooms: want at least one number"))
	}
	for _, n := range r.IdleRooms {
		err = errors.Join(err, between("idle-rooms", n, 0, maxIdleRooms))
	}
	return err
}

func (r *roomsCmd) Run(ctx context.Context) error {
	set, end, err := r.begin(ctx, r.Rooms*r.Members)
	if err != nil {
		return err
	}
	defer end()
	result := &roomsResult{}
	var curves []curve
	for _, idle := range r.IdleRooms {
		step, err := runRooms(ctx, set, roomsPlan{r.sending, r.Members, idle, r.Rate})
		if err != nil {
			return err
		}
		result.Steps = append(result.Steps, step)
		for _, c := range step.curves() {
			curves = append(curves, curve{fmt.Sprintf("%d idle rooms, %s", idle, c.name), c.h})
		}
	}
	title := fmt.Sprintf("%g messages/s to %d rooms of %d members", r.Rate, r.Rooms, r.Members)
	return errors.Join(r.draw(title, curves), r.publish(result))
}

// A roomsPlan says what is sent; the clients are spread over rooms of so many
// members.
type roomsPlan struct {
	sending
	members   int
	idleRooms int
	rate      float64
}

func runRooms(ctx context.Context, set *setting, plan roomsPlan) (*trafficResult, error) {
	rooms := set.clients / plan.members
	t, err := newTraffic(set, crowd{
		clients: rooms * plan.members, senders: rooms, members: plan.members, event: roomEvent, size: plan.Size,
	})
	if err != nil {
		return nil, err
	}
	r, err := t.run(ctx, func(ctx context.Context) error {
		if err := t.joinRooms(ctx, plan.idleRooms); err != nil {
			return err
		}
		return t.sendAtRate(ctx, plan.rate, plan.sending)
	}, plan.Drain)
	if err != nil {
		return nil, err
	}
	r.IdleRooms = &plan.idleRooms
	r.Load = fmt.Sprintf("%g messages/s of %d B to %s of %s in turn, on %s, beside %s", plan.rate, plan.Size, several(rooms, "room"),
		several(plan.members, "member"), several(len(set.targets), "node"), several(plan.idleRooms, "idle room"))
	return r, nil
}

// joinBatch bounds the rooms of one join, whose packet must fit a server's
// limit.
const joinBatch = 1000

// joinRooms lets every client join its room and its share of the idle ones,
// and waits for the answers.
func (t *traffic) joinRooms(ctx context.Context, idle int) error {
	asked := int64(0)
	for _, c := range t.clients {
		names := []string{roomName(c.first)}
		for i := c.number; i < idle; i += len(t.clients) {
			names = append(names, "idle"+strconv.Itoa(i))
		}
		for len(names) > 0 {
			some := names[:min(joinBatch, len(names))]
			names = names[len(some):]
			packet, err := json.Marshal([]any{joinEvent, some})
			if err != nil {
				return err
			}
			if c.send(appendFrame(nil, opText, append([]byte("421"), packet...))) == nil {
				asked++
			}
		}
	}
	if err := await(ctx, t.set.timeout, func() bool { return t.total().acks >= asked }); err != nil {
		return err
	}
	if got := t.total().acks; got < asked {
		return fmt.Errorf("%d of %d joins were acknowledged: does the server know the event %q?", got, asked, joinEvent)
	}
	return nil
}

// roomsResult has a run for each number of idle rooms.
type roomsResult struct {
	Steps []*trafficResult `json:"steps"`
}

func (r *roomsResult) faults() bool {
	for _, s := range r.Steps {
		if s.faults() {
			return true
		}
	}
	return false
}

func (r *roomsResult) table(w io.Writer) {
	for _, s := range r.Steps {
		s.table(w)
		fmt.Fprintln(w)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "idle rooms\tCPU, us per message\tper delivery\tp50, ms\tp99, ms\t\n")
	for _, s := range r.Steps {
		own := s.Own
		if own == nil {
			own = &latency{}
		}
		fmt.Fprintf(t, "%d\t%.1f\t%.2f\t%.1f\t%.1f\t\n", *s.IdleRooms, s.EmitMicros, s.ServerMicros, own.P50, own.P99)
	}
	t.Flush()
}
