package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"example.com/chorus/internal/doctor"
)

// doctorConnections is how many connections a node is judged for if nobody says.
const doctorConnections = 10_000

// certificateSoon is how long before its end a certificate should have been renewed.
const certificateSoon = 14 * 24 * time.Hour

// doctorCommand looks for what would keep a node from its work, without starting one.
type doctorCommand struct {
	settings
	Connections int           `default:"0" env:"-" placeholder:"N" help:"Connections that the node is to carry. 0: --limits.connections, or 10000."`
	JSON        bool          `env:"-" help:"Print JSON."`
	Timeout     time.Duration `default:"5s" env:"-" help:"How long Redis may take for all of its answers."`
}

func (*doctorCommand) tellsProblems() {}

func (c *doctorCommand) validate() error {
	var negative, hasty error
	if c.Connections < 0 {
		negative = invalidf("connections", "must be at least 0, got %d", c.Connections)
	}
	if c.Timeout <= 0 {
		hasty = invalidf("timeout", "must be positive, got %s", c.Timeout)
	}
	return errors.Join(negative, hasty, c.settings.validate())
}

// Run prints the findings and fails if one of them is a hard miss.
func (c *doctorCommand) Run(p *process) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	connections := cmp.Or(c.Connections, c.Limits.Connections, doctorConnections)
	checks := c.examine(ctx, p.loaded, connections)
	write := func() error { return doctor.WriteTable(p.stdout, checks) }
	if c.JSON {
		write = func() error { return doctor.WriteJSON(p.stdout, connections, checks) }
	}
	if err := write(); err != nil {
		return err
	}
	if doctor.Failed(checks) {
		return errTold
	}
	return nil
}

func (c *doctorCommand) examine(ctx context.Context, l *loaded, connections int) []doctor.Check {
	machine := os.DirFS("/")
	limit, known := doctor.OpenFiles()
	checks := examineSettings(l)
	checks = append(checks, doctor.Descriptors(limit, known, connections), doctor.Memory(machine, debug.SetMemoryLimit(-1)))
	checks = append(checks, doctor.Kernel(machine, connections)...)
	if len(l.problems) > 0 { // they may be about what comes now
		return checks
	}
	if c.TLS.Cert != "" {
		checks = append(checks, c.examineCertificate(time.Now()))
	}
	if c.adapterName() == adapterMemory {
		return checks
	}
	if allLoopback(c.Redis.addrs()) {
		checks = append(checks, doctor.Overcommit(machine))
	}
	return append(append(checks, c.examineRedis(ctx)...), c.examineAdvertised())
}

// examineSettings tells of each setting that cannot work.
func examineSettings(l *loaded) []doctor.Check {
	var checks []doctor.Check
	for _, problem := range l.problems {
		checks = append(checks, doctor.Check{Status: doctor.Fail, Area: "settings", Name: "value", Found: problem})
	}
	for _, name := range l.unknown {
		checks = append(checks, doctor.Check{Status: doctor.Warn, Area: "settings", Name: "variable", Found: name, Wanted: "one of docs/configuration.md"})
	}
	if len(checks) == 0 {
		checks = append(checks, doctor.Check{Status: doctor.OK, Area: "settings", Name: "values", Found: "all can work"})
	}
	return checks
}

func (c *doctorCommand) examineCertificate(now time.Time) doctor.Check {
	check := doctor.Check{Status: doctor.OK, Area: "settings", Name: "tls.cert", Wanted: "valid for 14 days"}
	loaded, err := c.TLS.load()
	if err != nil {
		check.Status, check.Found = doctor.Fail, err.Error()
		return check
	}
	end := loaded.leaf().NotAfter
	check.Found = "valid until " + end.UTC().Format(time.RFC3339)
	switch {
	case now.After(end):
		check.Status = doctor.Fail
	case now.Add(certificateSoon).After(end):
		check.Status = doctor.Warn
	default:
		return check
	}
	check.Remedy = "renew it"
	return check
}

// examineAdvertised judges what other nodes are told about where this one is.
func (c *doctorCommand) examineAdvertised() doctor.Check {
	check := doctor.Check{Status: doctor.OK, Area: "cluster", Name: "cluster.advertise"}
	if !c.Node.Forward || c.InternalAddr == "" {
		check.Found = "requests are not passed on between nodes"
		return check
	}
	redis := c.Redis.addrs()
	check.Found = advertisedAddress(c.InternalAddr, c.Cluster.Advertise, redis)
	if host, port := splitAdvertised(check.Found); isLoopback(host) && !allLoopback(redis) {
		check.Status, check.Wanted = doctor.Warn, "no loopback"
		check.Remedy = fmt.Sprintf("--internal-addr :%s or --cluster.advertise; --no-node.forward if the balancer routes by session", port)
	}
	return check
}

// mebibytes writes a number of bytes.
func mebibytes(n int64) string {
	if n == 0 {
		return "unlimited"
	}
	return strings.ToLower(strings.TrimSuffix(size(n).String(), "iB")) + "b"
}
