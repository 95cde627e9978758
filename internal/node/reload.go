package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// reloader reads the settings again on SIGHUP and takes over what a running node can change.
type reloader struct {
	node    *node
	load    func() (*loaded, error)
	level   *slog.LevelVar
	running []setting // what the node works with
}

func newReloader(p *process, n *node, level *slog.LevelVar) *reloader {
	return &reloader{
		node: n, level: level, running: p.loaded.settings(),
		load: func() (*loaded, error) { return load(p.args, io.Discard, io.Discard) },
	}
}

// catchHangups catches SIGHUP, which would end the process, until stop is called. One that comes while another is handled
// is not lost.
func catchHangups() (hangups <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// start reloads on hangups until stop is called.
func (r *reloader) start(hangups <-chan os.Signal) (stop func()) {
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-hangups:
				r.reload()
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		running.Wait()
	}
}

// reload takes over what changed, or nothing if anything cannot work.
func (r *reloader) reload() {
	log := r.node.log
	l, err := r.load()
	var fresh *certificate
	if err == nil && len(l.problems) == 0 {
		fresh, err = l.cli.Serve.TLS.load()
	}
	if err != nil || len(l.problems) > 0 {
		problems := []string{fmt.Sprint(err)}
		if l != nil && len(l.problems) > 0 {
			problems = l.problems
		}
		log.Error("settings are not reloaded, those before stay", "problems", problems)
		r.node.countReload(errTold)
		return
	}
	changed, later := r.compare(l.settings(), fresh)
	next := &l.cli.Serve
	r.level.Set(next.Log.level())
	r.node.server.SetCORS(next.CORS.policy())
	if fresh != nil && r.node.certificate != nil && r.node.certificate.replace(fresh) {
		changed = append(changed, "certificate until "+r.node.certificate.leaf().NotAfter.String())
	}
	told := slog.NewRecord(time.Now(), slog.LevelInfo, "settings are reloaded", 0)
	told.Add("changed", changed, "need_restart", later)
	_ = log.Handler().Handle(context.Background(), told) // whatever the level is now
	r.node.countReload(nil)
}

// compare tells which settings changed, and which of them a running node cannot take over. Secrets are named only.
func (r *reloader) compare(next []setting, fresh *certificate) (changed, later []string) {
	changed, later = []string{}, []string{}
	for i, now := range next {
		before := r.running[i]
		switch {
		case now.value == before.value:
		case !now.reloads || now.isTLS() && (fresh == nil || r.node.certificate == nil):
			later = append(later, now.key)
		default:
			changed = append(changed, fmt.Sprintf("%s: %s (was %s)", now.key, now.shown, before.shown))
			r.running[i] = now
		}
	}
	return changed, later
}

// newReloadsMetric counts attempts to take over settings or certificates.
func newReloadsMetric() *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: program, Name: "config_reloads_total", Help: "Times that settings or a certificate were read again.",
	}, []string{"result"})
	c.WithLabelValues("ok")
	c.WithLabelValues("error")
	return c
}

func (n *node) countReload(err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	n.reloads.WithLabelValues(result).Inc()
}
