package forward

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// commandHeader carries the ticket of a command.
const commandHeader = "X-Chorus-Command"

const commandPurpose = "command"

// ErrCommand is the error of VerifyCommand.
var ErrCommand = errors.New("forward: command is not believed")

// SignCommand signs a request by which an operator tells one node to do something, such as to drain, with the secret of the
// cluster. The signature covers method, target and host, and is good for 5 s and for one request. The target must name the node, since another
// one would believe it too. Bodies are not signed. It fails for a secret that is too short.
func SignCommand(r *http.Request, secret []byte) error {
	if len(secret) < MinSecret {
		return fmt.Errorf("forward: a secret has %d bytes, must have at least %d", len(secret), MinSecret)
	}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	s := &secrets{current: secret}
	r.Header.Set(commandHeader, s.sign(r, &claim{purpose: commandPurpose, method: r.Method, target: r.URL.RequestURI(), host: host, header: r.Header}))
	return nil
}

// IsCommand reports whether a request claims to be signed by SignCommand.
func IsCommand(r *http.Request) bool { return len(r.Header[commandHeader]) > 0 }

// IsForwarded reports whether a request claims to be passed on by another node. It is for Internal alone, whatever its path.
func IsForwarded(r *http.Request) bool { return len(r.Header[header]) > 0 }

// VerifyCommand returns nil for a request that SignCommand signed with the secret of the cluster, else an ErrCommand that says
// what is wrong. The caller must look whether the target names its own node.
func (f *Forwarder) VerifyCommand(r *http.Request) error {
	values := r.Header[commandHeader]
	s := f.secrets.Load()
	switch {
	case len(values) == 0:
		return fmt.Errorf("%w: %s", ErrCommand, refusedUnsigned)
	case s == nil:
		return fmt.Errorf("%w: %s", ErrCommand, refusedNoSecret)
	}
	t, err := parseTicket(values[0])
	if err != nil || len(values) > 1 {
		return fmt.Errorf("%w: %s", ErrCommand, refusedMalformed)
	}
	if !s.fits(t, &claim{purpose: commandPurpose, method: r.Method, target: r.RequestURI, host: r.Host, header: r.Header}) {
		return fmt.Errorf("%w: %s: this is not the cluster's secret", ErrCommand, refusedSignature)
	}
	if age := time.Since(t.time); age >= freshness || age <= -freshness {
		return fmt.Errorf("%w: %s: the clocks differ by %v", ErrCommand, refusedStale, age.Round(time.Millisecond))
	}
	if reason := f.seen.add(t); reason != "" {
		return fmt.Errorf("%w: %s", ErrCommand, reason)
	}
	return nil
}
