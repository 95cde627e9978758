package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// tlsConfig is TLS of the public listener.
type tlsConfig struct {
	Cert   string        `default:"" reload:"" placeholder:"FILE" help:"Certificate of the public addresses with those that sign it, in PEM: they speak TLS then. A fresh one is taken over on SIGHUP."`
	Key    string        `default:"" reload:"" placeholder:"FILE" help:"Its key."`
	Reload time.Duration `default:"0s" help:"How often the files are looked at for a fresh certificate, as for one that Kubernetes renews; at least 1s. 0s: on SIGHUP only."`
}

// validate reads the files once, so that mistakes are known at start.
func (t *tlsConfig) validate() error {
	if t.Reload != 0 && t.Reload < time.Second {
		return invalidf("tls.reload", "must be 0s or at least 1s, got %s", t.Reload)
	}
	_, err := t.load()
	return err
}

// load reads the certificate; nil if there is none.
func (t *tlsConfig) load() (*certificate, error) {
	if (t.Cert == "") != (t.Key == "") {
		return nil, invalidf("tls.cert", "a certificate and its --tls.key go together")
	}
	if t.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, invalidf("tls.cert", "%w", err)
	}
	c := &certificate{}
	c.current.Store(&loadedPair{files: *t, pair: &pair})
	return c, nil
}

// certificate is what the public listener shows, and may be changed while it is served.
type certificate struct {
	current atomic.Pointer[loadedPair]
}

type loadedPair struct {
	files tlsConfig
	pair  *tls.Certificate
}

func (c *certificate) leaf() *x509.Certificate { return c.current.Load().pair.Leaf }

// config returns the settings of a listener.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load().pair, nil
		},
	}
}

// replace takes over another certificate and reports whether it is another.
func (c *certificate) replace(fresh *certificate) bool {
	next := fresh.current.Load()
	return c.current.Swap(next).differs(next)
}

// renew is replace for one that was read again from the files of before, unless other files were named meanwhile.
func (c *certificate) renew(before *loadedPair, fresh *certificate) bool {
	next := fresh.current.Load()
	return before.differs(next) && c.current.CompareAndSwap(before, next)
}

func (p *loadedPair) differs(next *loadedPair) bool {
	return !bytes.Equal(p.pair.Leaf.Raw, next.pair.Leaf.Raw)
}

// watchCertificate looks for fresh files, if it is to. They are read whole each time: a renewal may replace them, or the
// folder that a symbolic link leads to.
func (n *node) watchCertificate() {
	if n.certificate == nil {
		return
	}
	interval := n.certificate.current.Load().files.Reload
	if interval == 0 {
		return
	}
	n.watching.Go(func() { n.certificate.watch(n.watch, interval, n.log, n.countReload) })
}

// watch takes over fresh certificates until ctx ends. A complaint is logged once: while files are replaced, they may not
// fit for a moment, and while they are broken, nothing is new about it.
func (c *certificate) watch(ctx context.Context, interval time.Duration, log *slog.Logger, count func(error)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	complaint := ""
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		before := c.current.Load()
		fresh, err := before.files.load()
		switch {
		case err != nil:
			if err.Error() != complaint {
				complaint = err.Error()
				log.Error("a fresh certificate cannot be used, the one before stays", "error", err, "until", c.leaf().NotAfter)
				count(err)
			}
			continue
		case c.renew(before, fresh):
			log.Info("certificate changed", "until", c.leaf().NotAfter)
			count(nil)
		}
		complaint = ""
	}
}

// onlyHTTP1 are the protocols of the public listener. A WebSocket is a connection of HTTP/1.1, and polling gains nothing
// from another.
func onlyHTTP1() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	return &p
}

// serverLog is for what net/http has to say. Of connections that fail in the TLS handshake, as those of port scanners and
// of balancers' checks, there can be any number.
func serverLog(l *slog.Logger) *log.Logger {
	return log.New(serverLogWriter{l}, "", 0)
}

type serverLogWriter struct{ log *slog.Logger }

func (w serverLogWriter) Write(line []byte) (int, error) {
	level, text := slog.LevelWarn, strings.TrimSuffix(string(line), "\n")
	if strings.HasPrefix(text, "http: TLS handshake error") {
		level = slog.LevelDebug
	}
	w.log.Log(context.Background(), level, text)
	return len(line), nil
}
