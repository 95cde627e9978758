package node

import (
	"encoding/json"
	"net/http"
	"time"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio"
)

// health is the body of /readyz.
type health struct {
	Status      string    `json:"status"` // ready, degraded, starting, unavailable, draining
	Node        string    `json:"node"`
	Redis       string    `json:"redis"` // up, down, off
	Error       string    `json:"error,omitempty"`
	Adapter     string    `json:"adapter"`
	Nodes       int       `json:"nodes"` // of the cluster that this one knows, itself among them
	Connections int       `json:"connections"`
	Draining    bool      `json:"draining"`
	Since       time.Time `json:"since"` // the start of the node

	Drain *socketio.DrainProgress `json:"drain,omitempty"`
}

// ready tells whether the node should get new clients, and the status that says so.
func (n *node) ready() (int, health) {
	h := health{
		Status: "ready", Node: n.id, Redis: "off", Adapter: n.config.adapterName(), Nodes: 1,
		Connections: n.server.Connections(), Draining: n.draining.Load(), Since: n.started,
	}
	if m, ok := n.adapter.(adapter.Member); ok {
		h.Nodes += len(m.Members())
	}
	h.Drain, _ = n.drain.get()
	code := http.StatusOK
	if broker, ok := n.adapter.(adapter.Status); ok {
		h.Redis = "up"
		if err := broker.Ready(); err != nil {
			h.Redis, h.Error = "down", n.config.hideSecrets(err.Error())
			switch {
			case !n.hasJoined():
				code, h.Status = http.StatusServiceUnavailable, "starting"
			case n.config.Redis.Degraded == "refuse":
				code, h.Status = http.StatusServiceUnavailable, "unavailable"
			default:
				h.Status = "degraded" // clients of this node still reach each other
			}
		}
	}
	if h.Draining {
		code, h.Status = n.config.Drain.Status, "draining"
	}
	return code, h
}

// hasJoined reports whether Redis has ever been reached.
func (n *node) hasJoined() bool {
	select {
	case <-n.joined:
		return true
	default:
		return false
	}
}

func (n *node) serveReady(w http.ResponseWriter, _ *http.Request) {
	code, h := n.ready()
	writeJSON(w, code, h)
}

// stuck is how long what serves connections may make no progress.
const stuck = 10 * time.Second

// livePoll is how often it is asked for a sign of life. A probe that comes for the first time must know, too.
const livePoll = time.Second

// liveness is the body of /healthz.
type liveness struct {
	Status string   `json:"status"` // ok, hanging
	Node   string   `json:"node"`
	Hangs  []string `json:"hangs,omitempty"`
}

// serveHealth says that the process answers and serves its connections. Redis does not matter here: a restart would not
// bring it back.
func (n *node) serveHealth(w http.ResponseWriter, _ *http.Request) {
	code, l := n.alive(n.server.Hanging(stuck))
	writeJSON(w, code, l)
}

func (n *node) alive(hangs []string) (int, liveness) {
	if len(hangs) > 0 {
		return http.StatusServiceUnavailable, liveness{"hanging", n.id, hangs}
	}
	return http.StatusOK, liveness{"ok", n.id, nil}
}

// watchLoops asks what serves connections for signs of life, and tells the log when it owes one.
func (n *node) watchLoops() {
	n.watching.Go(func() {
		tick := time.NewTicker(livePoll)
		defer tick.Stop()
		hung := false
		for {
			select {
			case <-tick.C:
			case <-n.watch.Done():
				return
			}
			hangs := n.server.Hanging(stuck)
			if len(hangs) > 0 && !hung {
				n.log.Error("connections are not served", "hangs", hangs, "for", stuck.String())
			}
			hung = len(hangs) > 0
		}
	})
}

func serveVersion(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, readVersion())
}

func writeJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the prober went away
}

// readyPoll is how often a starting node asks whether Redis is there.
const readyPoll = 50 * time.Millisecond

// watchRedis notes when Redis was reached for the first time; from then on its loss is no reason to be taken
// out of service.
func (n *node) watchRedis() {
	broker, ok := n.adapter.(adapter.Status)
	if !ok {
		close(n.joined)
		return
	}
	n.watching.Go(func() {
		tick := time.NewTicker(readyPoll)
		defer tick.Stop()
		for broker.Ready() != nil {
			select {
			case <-tick.C:
			case <-n.watch.Done():
				return
			}
		}
		close(n.joined)
		n.log.Info("redis is connected", "after", time.Since(n.started).Round(time.Millisecond).String())
	})
}
